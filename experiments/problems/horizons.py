"""Problems for one direction, of horizons from 90 to 12,000 steps.

Members differ in what no schedule knows: wrong labels, how many examples there are and so how often each is seen, the
scale of the weights, the width. Many passes do harm where labels are wrong and none where they are right, so both are
there: in every kind a third to a half of the members have no wrong label (a probability below 0 is none). Of the
generated ones each member is about something else (`sources.many_sets`), smooth or rough, clean or nearly all chance.
No optimizer is named.
"""

from experiments.problems.broad_data import (
    MNIST,
    MNIST_4,
    MNIST_5,
    MNIST_7,
    MNIST_8,
    RESCALED,
    SCALE,
    SHARE,
    WIDTH,
)
from experiments.problems.generated_kinds import GENERATED
from experiments.problems.problem import Problem

_WRONG = (-0.25, 0.5)


REAL = (
    Problem(
        "digits, MLP 64-32-10, 600 steps",
        {"name": "digits"},
        {"name": "mlp", "features": (32,)},
        varied={"label_noise": _WRONG, "data_fraction": (0.1, 1.0), "weight_scale": SCALE},
    ),
    Problem(
        "digits, MLP 64-16-10, batches of 16, 6000 steps",
        {"name": "digits"},
        {"name": "mlp", "features": (16,)},
        batch_size=16,
        interval=200,
        varied={"label_noise": (-0.15, 0.3), "data_fraction": (0.2, 1.0), "weight_scale": SCALE},
    ),
    Problem(
        "wine, MLP 13-16-3, batches of 16, 900 steps",
        {"name": "wine"},
        {"name": "mlp", "features": (16,), "activation": "tanh"},
        batch_size=16,
        interval=30,
        num_reward=40,
        varied={"label_noise": (-0.15, 0.3), "weight_scale": SCALE},
    ),
    Problem(
        "MNIST 4x4, MLP 16-64-10, 2100 steps",
        MNIST_4,
        {"name": "mlp", "features": (64,)},
        interval=70,
        num_reward=512,
        varied={"data_fraction": (0.01, 1.0), **WIDTH, **RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP 25-32-10, batches of 8, 3000 steps",
        MNIST_5,
        {"name": "mlp", "features": (32,)},
        batch_size=8,
        interval=100,
        num_reward=512,
        varied={"label_noise": (-0.2, 0.4), "data_fraction": (0.02, 1.0), **WIDTH},
    ),
    Problem(
        "MNIST 5x5, two tanh layers, 600 steps",
        MNIST_5,
        {"name": "mlp", "features": (32, 32), "activation": "tanh"},
        num_reward=512,
        varied={"label_noise": (-0.15, 0.3), **WIDTH, **RESCALED},
    ),
    Problem(
        "MNIST 14x14, MLP 196-48-10, 300 steps",
        {**MNIST, "image_size": 14},
        {"name": "mlp", "features": (48,)},
        interval=10,
        num_reward=512,
        varied={"label_noise": _WRONG, "data_fraction": SHARE, "weight_scale": SCALE},
    ),
    Problem(
        "MNIST 8x8, four hidden layers, 300 steps",
        MNIST_8,
        {"name": "mlp", "features": (32, 32, 32, 32), "activation": "gelu"},
        batch_size=32,
        interval=10,
        num_reward=512,
        varied={"label_noise": (-0.15, 0.3), "data_fraction": SHARE, **WIDTH},
    ),
    Problem(
        "MNIST 28x28, two hidden layers, 120 steps",
        {**MNIST, "max_examples": 30_000},
        {"name": "mlp", "features": (48, 32), "activation": "silu"},
        interval=4,
        num_reward=512,
        varied={"label_noise": (-0.2, 0.2), "data_fraction": SHARE, **RESCALED},
    ),
    Problem(
        "MNIST 7x7, autoencoder, 600 steps",
        MNIST_7,
        {"name": "autoencoder", "features": (32, 12, 32)},
        batch_size=32,
        num_reward=256,
        varied={"data_fraction": SHARE, "weight_scale": SCALE},
    ),
    Problem(
        "MNIST 7x7, CNN, 210 steps",
        MNIST_7,
        {"name": "cnn", "channels": (8, 16)},
        batch_size=32,
        interval=7,
        varied={"label_noise": (-0.2, 0.4), "data_fraction": SHARE, **RESCALED},
    ),
    Problem(
        "MNIST 8x8, CNN, batches of 16, 150 steps",
        MNIST_8,
        {"name": "cnn", "channels": (4, 8), "activation": "gelu"},
        batch_size=16,
        interval=5,
        varied={"label_noise": (-0.2, 0.2), "weight_scale": SCALE},
    ),
    Problem(
        "MNIST 5x5, residual network, 90 steps",
        MNIST_5,
        {"name": "resnet8", "channels": 4},
        batch_size=16,
        interval=3,
        varied={"label_noise": (-0.2, 0.4), "data_fraction": SHARE},
    ),
    Problem(
        "MNIST 8x8, vision transformer, 150 steps",
        MNIST_8,
        {"name": "vit", "patch": 4, "features": 16, "num_blocks": 1},
        batch_size=16,
        interval=5,
        varied={"label_noise": (-0.2, 0.2), "data_fraction": SHARE},
    ),
    Problem(
        "grammar, GRU, batches of 16, 210 steps",
        {"name": "generated_grammar"},
        {"name": "gru", "features": (24,)},
        batch_size=16,
        interval=7,
        num_reward=128,
        varied={"data_fraction": SHARE},
    ),
    Problem(
        "grammar, transformer, batches of 16, 150 steps",
        {"name": "generated_grammar"},
        {"name": "transformer", "features": 16, "num_blocks": 1, "max_length": 16},
        batch_size=16,
        interval=5,
        num_reward=128,
        varied={"data_fraction": SHARE},
    ),
    Problem(
        "digits, MLP 64-48-10, batches of 8, 1500 steps",
        {"name": "digits"},
        {"name": "mlp", "features": (48,), "activation": "gelu"},
        batch_size=8,
        interval=50,
        varied={"label_noise": (-0.2, 0.2), "data_fraction": (0.1, 1.0), "weight_scale": SCALE},
    ),
    Problem(
        "textures, CNN, batches of 16, 120 steps",
        {"name": "generated_textures"},
        {"name": "cnn", "channels": (6, 12)},
        batch_size=16,
        interval=4,
        varied={"data_fraction": SHARE, **RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP 64-32-10, batches of 32, 9000 steps",
        MNIST_8,
        {"name": "mlp", "features": (32,), "activation": "silu"},
        batch_size=32,
        interval=300,
        num_reward=512,
        varied={"label_noise": (-0.2, 0.2), "data_fraction": (0.2, 1.0)},
    ),
)

HORIZONS = (*REAL, *GENERATED)
