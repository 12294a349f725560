"""Problems of the broad controller for an accelerator: whole images, wider and deeper networks, up to 5,000 steps."""

from experiments.problems.broad_data import (
    MNIST,
    RESCALED,
)
from experiments.problems.problem import Problem

LARGE = (
    Problem(
        "MNIST 28x28, two-layer CNN, momentum, 2000 steps",
        MNIST,
        {"name": "cnn", "channels": (16, 32)},
        weight_decay=(1e-6, 1e-3),
        interval=67,
        num_reward=512,
        varied={"label_noise": (0.0, 0.4), "width": (0.3, 1.0), **RESCALED},
    ),
    Problem(
        "MNIST 14x14, two-layer CNN, Adam, batch 128, 1000 steps",
        {**MNIST, "image_size": 14},
        {"name": "cnn", "channels": (16, 32), "activation": "silu"},
        optimizer="adam",
        batch_size=128,
        interval=33,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "data_fraction": (0.05, 1.0), **RESCALED},
    ),
    Problem(
        "MNIST 28x28, four-layer CNN, AdamW, 1500 steps",
        MNIST,
        {"name": "deep_cnn", "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-1),
        interval=50,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "width": (0.3, 1.0), **RESCALED},
    ),
    Problem(
        "MNIST 28x28, residual network of 16 to 64 filters, momentum, weight decay, 1000 steps",
        MNIST,
        {"name": "resnet8", "channels": 16},
        weight_decay=(1e-5, 1e-2),
        interval=33,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "data_fraction": (0.02, 1.0)},
    ),
    Problem(
        "MNIST 28x28, MLP 784-256-128-10, Nesterov momentum, batch 256, 3000 steps",
        MNIST,
        {"name": "mlp", "features": (256, 128)},
        optimizer="nesterov",
        weight_decay=(1e-6, 1e-3),
        batch_size=256,
        interval=100,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "width": (0.1, 1.0), **RESCALED},
    ),
    Problem(
        "MNIST 14x14, MLP of three hidden layers, SGD, 5000 steps",
        {**MNIST, "image_size": 14},
        {"name": "mlp", "features": (128, 128, 64), "activation": "elu"},
        optimizer="sgd",
        weight_decay=(1e-6, 1e-2),
        batch_size=32,
        interval=167,
        num_reward=512,
        varied={"label_noise": (0.0, 0.3), "data_fraction": (0.05, 1.0), **RESCALED},
    ),
)
