"""The second suite: other data and networks than the development suite.

It was the unseen suite until 2026-11-28, when the table of a controller on it led to other trainings to learn on
(docs/looks.md). Each problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_FASHION = {
    "name": "fashion_mnist",
    "crop": 20,
    "image_size": 10,
    "max_examples": 12_000,
    **FEW_HELD_OUT,
}
_CIFAR = {"name": "cifar10", "max_examples": 12_000, **FEW_HELD_OUT}
_CIFAR_GREY = {**_CIFAR, "crop": 24, "image_size": 12, "grey": True}
# A part of the text that the development suite reads neither for training nor for testing.
_TEXT = {"name": "tinyshakespeare", "text_start": 0.4, "max_examples": 8_000, **FEW_HELD_OUT}
_PATCHES = {"name": "noisy_patches", "standardize_targets": True}
_CATEGORIES = {"name": "generated_categories"}
_EMBEDDINGS = {"name": "tabular", "cardinalities": (24, 12, 6, 3)}

SECOND = (
    Problem(
        "Fashion-MNIST 10x10 crops, mixer, AdamW, 300 steps",
        _FASHION,
        {"name": "mixer", "patch": 5, "features": 32, "patch_features": 8, "num_blocks": 2},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        peaks=ADAM_PEAKS,
    ).of_steps(300),
    Problem(
        "CIFAR-10 12x12 grey, ResNet-14, momentum, weight decay, 120 steps",
        _CIFAR_GREY,
        {"name": "resnet14", "channels": 4},
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(120),
    Problem(
        "CIFAR-10 16x16 crops, mixer of three blocks, Adam, 100 steps",
        {**_CIFAR, "crop": 16},
        {"name": "mixer", "patch": 4, "features": 24, "patch_features": 16, "num_blocks": 3},
        optimizer="adam",
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
    Problem(
        "characters, LSTM, Adam, 240 steps",
        {**_TEXT, "sequence_length": 32},
        {"name": "lstm", "features": (32,)},
        optimizer="adam",
        batch_size=16,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(240),
    Problem(
        "characters, wider Transformer, AdamW, 150 steps",
        {**_TEXT, "sequence_length": 16},
        {"name": "transformer", "features": 64, "num_blocks": 2, "max_length": 16},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=8,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "diabetes, regression by an MLP, AdamW, 600 steps",
        {"name": "diabetes", "standardize_targets": True},
        {"name": "mlp", "features": (32, 32), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(600),
    Problem(
        "breast cancer, residual dense blocks, momentum, 900 steps",
        {"name": "breast_cancer"},
        {"name": "tabular", "features": 16, "num_blocks": 2},
        weight_decay=(1e-3, 1e-3),
        batch_size=8,
        peaks=(1e-4, 0.3),
    ).of_steps(900),
    Problem(
        "teacher with irrelevant inputs, residual dense blocks, Adam, 10,000 steps",
        {"name": "generated_teacher"},
        {"name": "tabular", "features": 12, "num_blocks": 1},
        optimizer="adam",
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "categories, embeddings, AdamW, batches of 512, 400 steps",
        _CATEGORIES,
        {**_EMBEDDINGS, "features": 16, "num_blocks": 1},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=512,
        peaks=ADAM_PEAKS,
    ).of_steps(400),
    Problem(
        "categories, wider embeddings, Adam, batches of 16, 3,000 steps",
        {**_CATEGORIES, "max_examples": 6_000},
        {**_EMBEDDINGS, "embed_features": 8, "features": 24, "num_blocks": 1},
        optimizer="adam",
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(3_000),
    Problem(
        "waves, regression by a deep MLP, Adam, batches of 128, 1,200 steps",
        {"name": "generated_waves"},
        {"name": "mlp", "features": (32, 32, 32), "activation": "gelu"},
        optimizer="adam",
        batch_size=128,
        peaks=ADAM_PEAKS,
    ).of_steps(1_200),
    Problem(
        "noisy photographs, denoising autoencoder, AdamW, 600 steps",
        _PATCHES,
        {"name": "autoencoder", "features": (48, 24, 48), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-3, 1e-3),
        batch_size=64,
        peaks=ADAM_PEAKS,
    ).of_steps(600),
    Problem(
        "noisy photographs, denoising by one tanh layer, RMSprop, 1,500 steps",
        _PATCHES,
        {"name": "autoencoder", "features": (32,), "activation": "tanh"},
        optimizer="rmsprop",
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(1_500),
)
