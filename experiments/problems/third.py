"""The third suite: data and networks that neither the development nor the second suite has.

It was the unseen suite until 2026-11-29, when the table of a controller on it led to other trainings to learn on
(docs/looks.md). Each problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_FASHION = {"name": "fashion_mnist", "max_examples": 10_000, **FEW_HELD_OUT}
_CIFAR = {"name": "cifar10", "max_examples": 10_000, **FEW_HELD_OUT}
# A part of the text that no other suite trains on.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.7,
    "sequence_length": 24,
    "max_examples": 8_000,
    **FEW_HELD_OUT,
}
_SURFACE = {"name": "generated_surface", "standardize_targets": True}

THIRD = (
    Problem(
        "Fashion-MNIST 7x7, two elu layers, Nesterov momentum, batches of 128, 800 steps",
        {**_FASHION, "image_size": 7},
        {"name": "mlp", "features": (48, 24), "activation": "elu"},
        optimizer="nesterov",
        weight_decay=(1e-4, 1e-4),
        batch_size=128,
        peaks=(1e-3, 1.0),
    ).of_steps(800),
    Problem(
        "Fashion-MNIST 12x12 crops, vision transformer, AdamW, 100 steps",
        {**_FASHION, "crop": 24, "image_size": 12},
        {"name": "vit", "patch": 6, "features": 20, "num_blocks": 1},
        optimizer="adamw",
        weight_decay=(5e-2, 5e-2),
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
    Problem(
        "Fashion-MNIST 6x6 crops, autoencoder, RMSprop, batches of 16, 2,000 steps",
        {**_FASHION, "crop": 24, "image_size": 6},
        {"name": "autoencoder", "features": (24, 8, 24), "activation": "tanh"},
        optimizer="rmsprop",
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(2_000),
    Problem(
        "CIFAR-10 8x8 grey crops, four silu layers, AdamW, batches of 512, 400 steps",
        {**_CIFAR, "crop": 16, "image_size": 8, "grey": True},
        {"name": "mlp", "features": (40, 40, 40, 40), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=512,
        peaks=ADAM_PEAKS,
    ).of_steps(400),
    Problem(
        "CIFAR-10 10x10 crops, CNN of three gelu layers, momentum, weight decay, 120 steps",
        {**_CIFAR, "crop": 20, "image_size": 10},
        {"name": "cnn", "channels": (8, 8, 16), "activation": "gelu"},
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(120),
    Problem(
        "characters, wider GRU, Adam, 200 steps",
        _TEXT,
        {"name": "gru", "features": (48,)},
        optimizer="adam",
        batch_size=16,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(200),
    Problem(
        "characters, Transformer of one block, AdamW, batches of 32, 100 steps",
        _TEXT,
        {"name": "transformer", "features": 48, "num_blocks": 1, "max_length": 24},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
    Problem(
        "spirals, two tanh layers, Adam, batches of 8, 10,000 steps",
        {"name": "generated_spirals"},
        {"name": "mlp", "features": (16, 16), "activation": "tanh"},
        optimizer="adam",
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "surface, regression by one wide layer, AdamW, batches of 8, 3,000 steps",
        _SURFACE,
        {"name": "mlp", "features": (96,), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=8,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(3_000),
    Problem(
        "surface, regression by residual dense blocks, momentum, 600 steps",
        _SURFACE,
        {"name": "tabular", "features": 24, "num_blocks": 2},
        weight_decay=(1e-4, 1e-4),
        batch_size=32,
        num_reward=128,
        peaks=(1e-4, 0.3),
    ).of_steps(600),
    Problem(
        "events, LSTM, Adam, batches of 32, 150 steps",
        {"name": "generated_events"},
        {"name": "lstm", "features": (24,)},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "votes, embeddings, AdamW, 1,200 steps",
        {"name": "generated_votes"},
        {
            "name": "tabular",
            "cardinalities": (5, 5, 5, 5, 5, 5, 5, 5),
            "features": 16,
            "num_blocks": 1,
        },
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        peaks=ADAM_PEAKS,
    ).of_steps(1_200),
)
