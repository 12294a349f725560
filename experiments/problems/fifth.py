"""The fifth suite: data and networks that neither the development suite nor the three before this one have.

It was the unseen suite until 2026-11-29, when its selection splits were asked why agents harm in three problems
(docs/looks.md). Each problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_FASHION = {"name": "fashion_mnist", "max_examples": 6_000, **FEW_HELD_OUT}
_CIFAR = {"name": "cifar10", "max_examples": 6_000, **FEW_HELD_OUT}
# A part of the text that no other suite trains on.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.7,
    "sequence_length": 28,
    "max_examples": 6_000,
    **FEW_HELD_OUT,
}

FIFTH = (
    Problem(
        "games, embeddings, Adam, 1,500 steps",
        {"name": "generated_games"},
        {
            "name": "tabular",
            "cardinalities": (3,) * 9,
            "embed_features": 3,
            "features": 20,
            "num_blocks": 1,
        },
        optimizer="adam",
        batch_size=64,
        peaks=ADAM_PEAKS,
    ).of_steps(1_500),
    Problem(
        "swings, regression by two silu layers, AdamW, batches of 16, 10,000 steps",
        {"name": "generated_swings", "standardize_targets": True},
        {"name": "mlp", "features": (28, 14), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "prices, regression by one elu layer, momentum, batches of 8, 3,000 steps",
        {"name": "generated_prices", "standardize_targets": True},
        {"name": "mlp", "features": (40,), "activation": "elu"},
        batch_size=8,
        peaks=(1e-3, 1.0),
    ).of_steps(3_000),
    Problem(
        "discs, CNN of two silu layers, AdamW, 180 steps",
        {"name": "generated_discs", **FEW_HELD_OUT},
        {"name": "cnn", "channels": (6, 10), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(180),
    Problem(
        "echoes, LSTM of two layers, Adam, 200 steps",
        {"name": "generated_echoes"},
        {"name": "lstm", "features": (16, 16), "embed_features": 8},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(200),
    Problem(
        "Fashion-MNIST 11x11, two tanh layers, SGD, batches of 128, 1,000 steps",
        {**_FASHION, "image_size": 11},
        {"name": "mlp", "features": (36, 18), "activation": "tanh"},
        optimizer="sgd",
        batch_size=128,
        peaks=(1e-3, 1.0),
    ).of_steps(1_000),
    Problem(
        "CIFAR-10 5x5 crops, three gelu layers, RMSprop, batches of 512, 400 steps",
        {**_CIFAR, "crop": 20, "image_size": 5},
        {"name": "mlp", "features": (56, 40, 24), "activation": "gelu"},
        optimizer="rmsprop",
        batch_size=512,
        peaks=ADAM_PEAKS,
    ).of_steps(400),
    Problem(
        "Fashion-MNIST 7x7 crops, narrow autoencoder, Adam, batches of 8, 4,000 steps",
        {**_FASHION, "crop": 21, "image_size": 7},
        {"name": "autoencoder", "features": (24, 8, 24), "activation": "silu"},
        optimizer="adam",
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(4_000),
    Problem(
        "CIFAR-10 14x14 crops, CNN of three elu layers, Nesterov momentum, weight decay, 120 steps",
        {**_CIFAR, "crop": 28, "image_size": 14},
        {"name": "cnn", "channels": (6, 8, 12), "activation": "elu"},
        optimizer="nesterov",
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        peaks=(1e-3, 1.0),
    ).of_steps(120),
    Problem(
        "Fashion-MNIST 9x9 crops, residual network, AdamW, 100 steps",
        {**_FASHION, "crop": 18, "image_size": 9},
        {"name": "resnet8", "channels": 5},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
    Problem(
        "characters, small GRU, AdamW, batches of 64, 150 steps",
        _TEXT,
        {"name": "gru", "features": (36,), "embed_features": 20},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=64,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "characters, Transformer of two blocks, Adam, batches of 16, 140 steps",
        _TEXT,
        {"name": "transformer", "features": 20, "num_blocks": 2, "max_length": 28},
        optimizer="adam",
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(140),
)
