"""The sixth suite: data and networks that neither the development suite nor the four before this one have.

It was the unseen suite until 2026-12-01, when it had been run with two default controllers (docs/looks.md). Each
problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_OTHERS = {**FEW_HELD_OUT, "first_test": 4_000}  # than the suites before report on
_FASHION = {"name": "fashion_mnist", "max_examples": 6_000, **_OTHERS}
_CIFAR = {"name": "cifar10", "max_examples": 6_000, "grey": True, **_OTHERS}
# A part of the text that no other suite trains on.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.87,
    "sequence_length": 22,
    "max_examples": 5_000,
    **FEW_HELD_OUT,
}

SIXTH = (
    Problem(
        "hands, embeddings, Adam, 2,000 steps",
        {"name": "generated_hands"},
        {
            "name": "tabular",
            "cardinalities": (13,) * 5 + (4,) * 5,
            "embed_features": 5,
            "features": 24,
            "num_blocks": 1,
        },
        optimizer="adam",
        batch_size=64,
        peaks=ADAM_PEAKS,
    ).of_steps(2_000),
    Problem(
        "impedance, regression by two gelu layers, AdamW, batches of 16, 10,000 steps",
        {"name": "generated_impedance", "standardize_targets": True},
        {"name": "mlp", "features": (20, 10), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "pixels of photographs, regression by two silu layers, momentum, batches of 8, 3,000 steps",
        {"name": "middle_pixels", "standardize_targets": True},
        {"name": "mlp", "features": (40, 20), "activation": "silu"},
        batch_size=8,
        peaks=(1e-4, 0.3),
    ).of_steps(3_000),
    Problem(
        "letters, CNN, Adam, 150 steps",
        {"name": "generated_letters", **FEW_HELD_OUT},
        {"name": "cnn", "channels": (8, 12)},
        optimizer="adam",
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "sums, LSTM, AdamW, batches of 32, 200 steps",
        {"name": "generated_sums"},
        {"name": "lstm", "features": (28,), "embed_features": 10},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(200),
    Problem(
        "Fashion-MNIST 6x6, one wide tanh layer, a fifth of the labels wrong, AdamW, 5,000 steps",
        {**_FASHION, "image_size": 6},
        {"name": "mlp", "features": (80,), "activation": "tanh"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        varied={"label_noise": (0.2, 0.2)},
        peaks=ADAM_PEAKS,
    ).of_steps(5_000),
    Problem(
        "CIFAR-10 9x9 grey, three elu layers, RMSprop, batches of 512, 300 steps",
        {**_CIFAR, "crop": 27, "image_size": 9},
        {"name": "mlp", "features": (64, 48, 32), "activation": "elu"},
        optimizer="rmsprop",
        batch_size=512,
        peaks=ADAM_PEAKS,
    ).of_steps(300),
    Problem(
        "Fashion-MNIST 5x5 crops, autoencoder, SGD, batches of 128, 1,200 steps",
        {**_FASHION, "crop": 20, "image_size": 5},
        {"name": "autoencoder", "features": (20, 6, 20)},
        optimizer="sgd",
        batch_size=128,
        peaks=(1e-2, 10.0),
    ).of_steps(1_200),
    Problem(
        "Fashion-MNIST 15x15 crops, mixer, AdamW, 120 steps",
        {**_FASHION, "crop": 15},
        {"name": "mixer", "patch": 5, "features": 28, "patch_features": 12, "num_blocks": 1},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(120),
    Problem(
        "CIFAR-10 10x10 grey crops, ResNet-14, Nesterov momentum, weight decay, 100 steps",
        {**_CIFAR, "crop": 20, "image_size": 10},
        {"name": "resnet14", "channels": 5},
        optimizer="nesterov",
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(100),
    Problem(
        "characters, GRU of two layers, Adam, batches of 32, 160 steps",
        _TEXT,
        {"name": "gru", "features": (24, 24), "embed_features": 12},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(160),
    Problem(
        "characters, wide Transformer of one block, AdamW, batches of 16, 100 steps",
        _TEXT,
        {"name": "transformer", "features": 72, "num_blocks": 1, "max_length": 22},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
)
