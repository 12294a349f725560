"""The seventh suite: data and networks that no other suite has, and that no shipped controller learned on.

It was the unseen suite until 2026-12-01, when a base was to be changed by people who had seen it (docs/looks.md). Each
problem has the optimizer and the decay that a user would take for it; sizes were chosen by cost. In four problems the
runs differ, as trainings do, in what nobody tells the optimizer: how many labels are wrong, how many examples there
are, how large initial weights are, how wide the network is. In the others they differ in their seeds.
"""

from experiments.problems.problem import ADAM_PEAKS, FEW_HELD_OUT, Problem

_OTHERS = {**FEW_HELD_OUT, "first_test": 5_000}  # than the second to the sixth suite report on
_FASHION = {"name": "fashion_mnist", "max_examples": 6_000, **_OTHERS}
_CIFAR = {"name": "cifar10", "max_examples": 6_000, **_OTHERS}
# A part of the text that no other small suite trains on; the trainings train on four fifths of all of it.
_TEXT = {
    "name": "tinyshakespeare",
    "text_start": 0.632,
    "sequence_length": 26,
    "max_examples": 2_800,
    **FEW_HELD_OUT,
}
_WRONG = {"label_noise": (0.0, 0.4)}

SEVENTH = (
    Problem(
        "trips, regression by embeddings, AdamW, 2,500 steps",
        {"name": "generated_trips", "standardize_targets": True},
        {
            "name": "tabular",
            "cardinalities": (30, 30, 24, 7),
            "embed_features": 4,
            "features": 20,
            "num_blocks": 1,
        },
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        peaks=ADAM_PEAKS,
    ).of_steps(2_500),
    Problem(
        "reactions, regression by three elu layers, Adam, batches of 16, 10,000 steps",
        {"name": "generated_reactions", "standardize_targets": True},
        {"name": "mlp", "features": (20, 16, 12), "activation": "elu"},
        optimizer="adam",
        batch_size=16,
        peaks=ADAM_PEAKS,
    ).of_steps(10_000),
    Problem(
        "spectra, two relu layers, Nesterov momentum, 3,000 steps; wrong labels, examples vary",
        {"name": "generated_spectra"},
        {"name": "mlp", "features": (36, 18)},
        optimizer="nesterov",
        weight_decay=(1e-4, 1e-4),
        batch_size=32,
        varied={**_WRONG, "data_fraction": (0.05, 1.0)},
        peaks=(1e-3, 1.0),
    ).of_steps(3_000),
    Problem(
        "shapes, CNN of two tanh layers, AdamW, 150 steps",
        {"name": "generated_shapes", **FEW_HELD_OUT},
        {"name": "cnn", "channels": (8, 10), "activation": "tanh"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(150),
    Problem(
        "maxima, GRU, Adam, batches of 32, 200 steps",
        {"name": "generated_maxima"},
        {"name": "gru", "features": (20,), "embed_features": 8},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(200),
    Problem(
        "Fashion-MNIST 8x8, three silu layers, Adam, 1,500 steps; wrong labels, examples, weights vary",
        {**_FASHION, "crop": 24, "image_size": 8},
        {"name": "mlp", "features": (40, 24, 16), "activation": "silu"},
        optimizer="adam",
        batch_size=64,
        varied={**_WRONG, "data_fraction": (0.05, 1.0), "weight_scale": (0.5, 2.0)},
        peaks=ADAM_PEAKS,
    ).of_steps(1_500),
    Problem(
        "CIFAR-10 8x8 grey, one wide relu layer, SGD, batches of 512, 500 steps; wrong labels, width vary",
        {**_CIFAR, "image_size": 8, "grey": True},
        {"name": "mlp", "features": (120,)},
        optimizer="sgd",
        batch_size=512,
        varied={**_WRONG, "width": (0.25, 1.0)},
        peaks=(1e-2, 10.0),
    ).of_steps(500),
    Problem(
        "Fashion-MNIST 6x6 crops, autoencoder, RMSprop, batches of 8, 4,000 steps",
        {**_FASHION, "crop": 18, "image_size": 6},
        {"name": "autoencoder", "features": (28, 10, 28), "activation": "tanh"},
        optimizer="rmsprop",
        batch_size=8,
        peaks=ADAM_PEAKS,
    ).of_steps(4_000),
    Problem(
        "Fashion-MNIST 16x16 crops, vision transformer of two blocks, AdamW, 100 steps",
        {**_FASHION, "crop": 16},
        {"name": "vit", "patch": 4, "features": 16, "num_blocks": 2},
        optimizer="adamw",
        weight_decay=(5e-2, 5e-2),
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(100),
    Problem(
        "CIFAR-10 8x8 crops, ResNet-14, momentum, weight decay, 120 steps; wrong labels, examples vary",
        {**_CIFAR, "crop": 24, "image_size": 8},
        {"name": "resnet14", "channels": 6},
        weight_decay=(5e-4, 5e-4),
        batch_size=16,
        num_reward=64,
        varied={**_WRONG, "data_fraction": (0.05, 1.0)},
        peaks=(1e-3, 1.0),
    ).of_steps(120),
    Problem(
        "characters, LSTM of two layers, Adam, batches of 32, 140 steps",
        _TEXT,
        {"name": "lstm", "features": (24, 24), "embed_features": 14},
        optimizer="adam",
        batch_size=32,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ).of_steps(140),
    Problem(
        "characters, Transformer of two blocks, AdamW, batches of 16, 120 steps",
        _TEXT,
        {"name": "transformer", "features": 40, "num_blocks": 2, "max_length": 26},
        optimizer="adamw",
        weight_decay=(1e-1, 1e-1),
        batch_size=16,
        num_reward=64,
        peaks=ADAM_PEAKS,
    ).of_steps(120),
)
