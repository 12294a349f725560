"""The unseen suite: networks that no other suite has, and no data that the default controller learned on.

No choice may be made by looking at it (docs/looks.md). Each problem has the optimizer and the decay that a user would
take for it; nothing here was chosen by how optimizers compare. Networks have 1,600 to 93,000 parameters, images up to
28x28 pixels, and most examples are seen from two to ninety times; a training takes seconds. Fashion-MNIST at 28x28 and
14x14 pixels is in other suites too. In four problems the runs differ, as trainings do, in what nobody tells the
optimizer: how many labels are wrong, how many examples there are, how large initial weights are. In the others they
differ in their seeds.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_TEST = {**FEW_HELD_OUT, "first_test": 9_000}  # the last of the test images
_FASHION = {"name": "fashion_mnist", **_TEST}
_CIFAR = {"name": "cifar10", "max_examples": 20_000, **_TEST}
# A part of the text that no other small suite trains on; the trainings train on four fifths of all of it.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.345,
    "sequence_length": 30,
    "max_examples": 2_000,
    **FEW_HELD_OUT,
}
_WRONG = {"label_noise": (0.0, 0.4)}

UNSEEN = (
    Problem(
        "visits, regression by embeddings, AdamW, batches of 64, 4,000 steps; examples vary",
        {"name": "generated_visits", "standardize_targets": True},
        {
            "name": "tabular",
            "cardinalities": (40, 12, 7, 4),
            "embed_features": 8,
            "features": 40,
            "num_blocks": 2,
        },
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        varied={"data_fraction": (0.1, 1.0)},
        peaks=ADAM_PEAKS,
    ).of_steps(4_000),
    Problem(
        "throws, regression by three gelu layers, Adam, batches of 32, 10,000 steps",
        {"name": "generated_throws", "standardize_targets": True},
        {"name": "mlp", "features": (32, 24, 24), "activation": "gelu"},
        optimizer="adam",
        batch_size=32,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "cells, two silu layers, AdamW, 3,000 steps; examples vary",
        {"name": "generated_cells"},
        {"name": "mlp", "features": (64, 40), "activation": "silu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        varied={"data_fraction": (0.1, 1.0)},
        peaks=ADAM_PEAKS,
    ).of_steps(3_000),
    Problem(
        "dots, CNN of two relu layers, Adam, 300 steps",
        {"name": "generated_dots", **FEW_HELD_OUT},
        {"name": "cnn", "channels": (12, 16)},
        optimizer="adam",
        batch_size=32,
        peaks=ADAM_PEAKS,
    ).of_steps(300),
    Problem(
        "regimes, GRU, AdamW, batches of 32, 400 steps",
        {"name": "generated_regimes"},
        {"name": "gru", "features": (36,), "embed_features": 12},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(400),
    Problem(
        "Fashion-MNIST 28x28, two relu layers, AdamW, 3,000 steps; wrong labels, examples, weights vary",
        _FASHION,
        {"name": "mlp", "features": (96, 48)},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        varied={**_WRONG, "data_fraction": (0.05, 1.0), "weight_scale": (0.5, 2.0)},
        peaks=ADAM_PEAKS,
    ).of_steps(3_000),
    Problem(
        "CIFAR-10 16x16, three elu layers, Nesterov momentum, weight decay, batches of 512, 500 steps",
        {**_CIFAR, "image_size": 16},
        {"name": "mlp", "features": (80, 48, 24), "activation": "elu"},
        optimizer="nesterov",
        weight_decay=(5e-4, 5e-4),
        batch_size=512,
        peaks=(1e-3, 1.0),
    ).of_steps(500),
    Problem(
        "Fashion-MNIST 14x14, autoencoder, AdamW, batches of 8, 8,000 steps",
        {**_FASHION, "max_examples": 12_000, "image_size": 14},
        {"name": "autoencoder", "features": (48, 16, 48), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(8_000),
    Problem(
        "Fashion-MNIST 14x14, vision transformer of two blocks, AdamW, 300 steps",
        {**_FASHION, "max_examples": 10_000, "image_size": 14},
        {"name": "vit", "patch": 7, "features": 32, "num_blocks": 2},
        optimizer="adamw",
        weight_decay=(5e-2, 5e-2),
        batch_size=64,
        peaks=ADAM_PEAKS,
    ).of_steps(300),
    Problem(
        "CIFAR-10 16x16 crops, ResNet-14, momentum, weight decay, 100 steps; wrong labels, examples vary",
        {**_CIFAR, "crop": 16},
        {"name": "resnet14", "channels": 8},
        weight_decay=(5e-4, 5e-4),
        batch_size=32,
        num_reward=64,
        varied={**_WRONG, "data_fraction": (0.02, 1.0)},
        peaks=(1e-3, 1.0),
    ).of_steps(100),
    Problem(
        "characters, wide LSTM, Adam, batches of 32, 500 steps",
        _TEXT,
        {"name": "lstm", "features": (56,), "embed_features": 20},
        optimizer="adam",
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(500),
    Problem(
        "characters, Transformer of three blocks, AdamW, batches of 16, 400 steps",
        _TEXT,
        {"name": "transformer", "features": 48, "num_blocks": 3, "max_length": 30},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(400),
)
