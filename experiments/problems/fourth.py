"""The fourth suite: data and networks that neither the development, the second nor the third suite has.

It was the unseen suite until 2026-11-29, when the table of a controller on it led to other trainings to learn on
(docs/looks.md). Each problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_FASHION = {"name": "fashion_mnist", "max_examples": 8_000, **FEW_HELD_OUT}
_CIFAR = {"name": "cifar10", "max_examples": 8_000, **FEW_HELD_OUT}
# A part of the text that no other suite trains on.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.2,
    "sequence_length": 20,
    "max_examples": 8_000,
    **FEW_HELD_OUT,
}

FOURTH = (
    Problem(
        "formulas, two relu layers, Adam, batches of 16, 2,000 steps",
        {"name": "generated_formulas"},
        {"name": "mlp", "features": (24, 12)},
        optimizer="adam",
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(2_000),
    Problem(
        "orbits, regression by three tanh layers, Adam, batches of 8, 10,000 steps",
        {"name": "generated_orbits", "standardize_targets": True},
        {"name": "mlp", "features": (20, 20, 20), "activation": "tanh"},
        optimizer="adam",
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "ratings, regression by embeddings, AdamW, batches of 128, 1,500 steps",
        {"name": "generated_ratings", "standardize_targets": True},
        {
            "name": "tabular",
            "cardinalities": (60, 40),
            "embed_features": 6,
            "features": 16,
            "num_blocks": 1,
        },
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=128,
        peaks=ADAM_PEAKS,
    ).of_steps(1_500),
    Problem(
        "Fashion-MNIST 9x9, three relu layers, Adam, batches of 512, 300 steps",
        {**_FASHION, "image_size": 9},
        {"name": "mlp", "features": (48, 32, 24)},
        optimizer="adam",
        batch_size=512,
        peaks=ADAM_PEAKS,
    ).of_steps(300),
    Problem(
        "CIFAR-10 6x6, one wide tanh layer, RMSprop, 1,000 steps",
        {**_CIFAR, "crop": 24, "image_size": 6},
        {"name": "mlp", "features": (96,), "activation": "tanh"},
        optimizer="rmsprop",
        batch_size=32,
        peaks=ADAM_PEAKS,
    ).of_steps(1_000),
    Problem(
        "CIFAR-10 7x7 grey, autoencoder, AdamW, 900 steps",
        {**_CIFAR, "image_size": 7, "grey": True},
        {"name": "autoencoder", "features": (32, 16, 32), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-3, 1e-3),
        peaks=ADAM_PEAKS,
    ).of_steps(900),
    Problem(
        "brackets, GRU of two layers, Adam, batches of 32, 200 steps",
        {"name": "generated_brackets"},
        {"name": "gru", "features": (16, 16), "embed_features": 8},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(200),
    Problem(
        "characters, narrow Transformer of three blocks, AdamW, batches of 16, 120 steps",
        _TEXT,
        {"name": "transformer", "features": 24, "num_blocks": 3, "max_length": 20},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(120),
    Problem(
        "characters, small LSTM, Adam, batches of 32, 150 steps",
        _TEXT,
        {"name": "lstm", "features": (40,), "embed_features": 16},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "strokes, CNN, momentum, 200 steps",
        {"name": "generated_strokes", **FEW_HELD_OUT},
        {"name": "cnn", "channels": (8, 8)},
        weight_decay=(5e-4, 5e-4),
        batch_size=32,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(200),
    Problem(
        "CIFAR-10 12x12 crops, CNN of one tanh layer, Adam, 150 steps",
        {**_CIFAR, "crop": 24, "image_size": 12},
        {"name": "cnn", "channels": (12,), "pools": 3, "activation": "tanh"},
        optimizer="adam",
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "Fashion-MNIST 8x8 crops, residual network, Nesterov momentum, weight decay, 100 steps",
        {**_FASHION, "crop": 16, "image_size": 8},
        {"name": "resnet8", "channels": 6},
        optimizer="nesterov",
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(100),
)
