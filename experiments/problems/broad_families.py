"""The training problems of the broad controller: cheap, and different from each other; `LARGE` ones for an accelerator.

Digits and MNIST only: every other data set is left to the suites. The smaller the images of MNIST, the
more classes overlap; with few examples or wrong labels small updates protect from overfitting, with many examples the
best updates are three times larger (docs/ablations.md). Agents that see only one kind are too timid or too bold
on the other.
"""

from experiments.problems.problem import Problem

_MNIST_4 = {"name": "mnist", "image_size": 4, "max_examples": 30_000}
_MNIST_5 = {"name": "mnist", "image_size": 5, "max_examples": 30_000}
_MNIST_7 = {"name": "mnist", "image_size": 7, "max_examples": 12_000}
_MNIST_8 = {"name": "mnist", "image_size": 8, "max_examples": 12_000}
_MNIST_14 = {"name": "mnist", "image_size": 14, "max_examples": 12_000}
_MNIST_28 = {"name": "mnist", "max_examples": 12_000}
_RESCALED = {"rescaling": (0.3, 3.0)}
_MNIST = {"name": "mnist"}
_FEW = {"label_noise": (0.0, 0.2), "data_fraction": (0.1, 1.0), **_RESCALED}

SMALL = (
    Problem(
        "digits, MLP 64-32-10, momentum",
        {"name": "digits"},
        {"name": "mlp", "features": (32,)},
        weight_decay=(1e-6, 1e-3),
        varied={"label_noise": (0.0, 0.1), "weight_scale": (0.5, 2.0), **_RESCALED},
    ),
    Problem(
        "digits, MLP of three hidden tanh layers, Adam",
        {"name": "digits"},
        {"name": "mlp", "features": (64, 48, 32), "activation": "tanh"},
        optimizer="adam",
        batch_size=32,
        varied={"width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "digits, MLP 64-16-10, momentum, small batch, 3000 steps",
        {"name": "digits"},
        {"name": "mlp", "features": (16,)},
        batch_size=16,
        interval=100,
        weight_decay=(1e-6, 1e-3),
        varied={"label_noise": (0.0, 0.3), "weight_scale": (0.5, 2.0), **_RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP 25-32-10, momentum, 900 steps",
        _MNIST_5,
        {"name": "mlp", "features": (32,)},
        interval=30,
        weight_decay=(1e-6, 1e-3),
        varied={"label_noise": (0.0, 0.4), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP 25-64-10, RMSprop",
        _MNIST_5,
        {"name": "mlp", "features": (64,)},
        optimizer="rmsprop",
        varied={"label_noise": (0.0, 0.2), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP 64-48-10, RMSprop, wrong labels",
        _MNIST_8,
        {"name": "mlp", "features": (48,)},
        optimizer="rmsprop",
        varied={"label_noise": (0.0, 0.5), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP of two hidden tanh layers, Adam",
        _MNIST_5,
        {"name": "mlp", "features": (48, 48), "activation": "tanh"},
        optimizer="adam",
        varied={"width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP 64-96-10, SGD",
        _MNIST_8,
        {"name": "mlp", "features": (96,)},
        optimizer="sgd",
        weight_decay=(1e-6, 1e-2),
        batch_size=32,
        varied={"label_noise": (0.0, 0.3), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP 64-32-10, momentum",
        _MNIST_8,
        {"name": "mlp", "features": (32,)},
        varied={"label_noise": (0.0, 0.1), "width": (0.5, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP of four hidden layers, AdamW, few examples",
        _MNIST_8,
        {"name": "mlp", "features": (48, 48, 48, 48), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-1),
        varied={"width": (0.3, 1.0), **_FEW},
    ),
    Problem(
        "MNIST 8x8, MLP of two hidden layers, momentum, large batch, 210 steps",
        _MNIST_8,
        {"name": "mlp", "features": (64, 64), "activation": "silu"},
        batch_size=128,
        interval=7,
        varied=_RESCALED,
    ),
    Problem(
        "MNIST 4x4, MLP 16-64-10, momentum",
        _MNIST_4,
        {"name": "mlp", "features": (64,)},
        varied={"data_fraction": (0.05, 1.0), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 4x4, MLP of three hidden layers, AdamW",
        _MNIST_4,
        {"name": "mlp", "features": (48, 48, 48), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-1),
        varied={"data_fraction": (0.1, 1.0), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP 25-48-10, AdamW",
        _MNIST_5,
        {"name": "mlp", "features": (48,)},
        optimizer="adamw",
        weight_decay=(1e-5, 1e-2),
        varied={"width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 5x5, MLP 25-48-10, Lion",
        _MNIST_5,
        {"name": "mlp", "features": (48,)},
        optimizer="lion",
        varied={"label_noise": (0.0, 0.2), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 7x7, MLP of two hidden layers, Nesterov momentum, few examples",
        _MNIST_7,
        {"name": "mlp", "features": (64, 32), "activation": "elu"},
        optimizer="nesterov",
        weight_decay=(1e-6, 1e-3),
        varied={"label_noise": (0.0, 0.4), "data_fraction": (0.05, 0.5), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, wide MLP 64-160-10, SGD, weight decay",
        _MNIST_8,
        {"name": "mlp", "features": (160,)},
        optimizer="sgd",
        weight_decay=(1e-4, 1e-2),
        batch_size=32,
        varied={"weight_scale": (0.5, 2.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, MLP of three hidden tanh layers, Adam, 1200 steps",
        _MNIST_8,
        {"name": "mlp", "features": (64, 64, 64), "activation": "tanh"},
        optimizer="adam",
        batch_size=32,
        interval=40,
        varied={"label_noise": (0.0, 0.2), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, CNN, Adam",
        _MNIST_8,
        {"name": "cnn", "channels": (8, 16)},
        optimizer="adam",
        batch_size=32,
        interval=8,
        varied={"label_noise": (0.0, 0.4), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, CNN of three layers, momentum",
        _MNIST_8,
        {"name": "cnn", "channels": (8, 16, 16)},
        weight_decay=(1e-6, 1e-3),
        batch_size=32,
        interval=8,
        varied={"label_noise": (0.0, 0.5), "data_fraction": (0.2, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 7x7, CNN, momentum",
        _MNIST_7,
        {"name": "cnn", "channels": (8, 16)},
        batch_size=32,
        interval=10,
        varied={"label_noise": (0.0, 0.3), **_RESCALED},
    ),
    Problem(
        "MNIST 14x14, CNN, momentum, 210 steps",
        _MNIST_14,
        {"name": "cnn", "channels": (4, 8)},
        weight_decay=(1e-6, 1e-3),
        batch_size=32,
        interval=7,
        varied={"label_noise": (0.0, 0.4), **_RESCALED},
    ),
    Problem(
        "MNIST 8x8, CNN, AdamW, few examples",
        _MNIST_8,
        {"name": "cnn", "channels": (8, 16), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-1),
        batch_size=32,
        interval=8,
        varied=_FEW,
    ),
    Problem(
        "MNIST 5x5, residual network, momentum, weight decay, 90 steps",
        _MNIST_5,
        {"name": "resnet8", "channels": 4},
        weight_decay=(1e-5, 1e-2),
        batch_size=32,
        interval=3,
        varied={"label_noise": (0.0, 0.4), "data_fraction": (0.05, 1.0)},
    ),
    Problem(
        "MNIST 28x28, MLP 784-32-10, SGD, few examples",
        _MNIST_28,
        {"name": "mlp", "features": (32,)},
        optimizer="sgd",
        batch_size=32,
        interval=10,
        varied=_FEW,
    ),
)

# Whole images, wider and deeper networks, up to 5,000 steps.
LARGE = (
    Problem(
        "MNIST 28x28, two-layer CNN, momentum, 2000 steps",
        _MNIST,
        {"name": "cnn", "channels": (16, 32)},
        weight_decay=(1e-6, 1e-3),
        interval=67,
        num_reward=512,
        varied={"label_noise": (0.0, 0.4), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 14x14, two-layer CNN, Adam, batch 128, 1000 steps",
        {**_MNIST, "image_size": 14},
        {"name": "cnn", "channels": (16, 32), "activation": "silu"},
        optimizer="adam",
        batch_size=128,
        interval=33,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "data_fraction": (0.05, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 28x28, four-layer CNN, AdamW, 1500 steps",
        _MNIST,
        {"name": "deep_cnn", "activation": "gelu"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-1),
        interval=50,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "width": (0.3, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 28x28, residual network of 16 to 64 filters, momentum, weight decay, 1000 steps",
        _MNIST,
        {"name": "resnet8", "channels": 16},
        weight_decay=(1e-5, 1e-2),
        interval=33,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "data_fraction": (0.02, 1.0)},
    ),
    Problem(
        "MNIST 28x28, MLP 784-256-128-10, Nesterov momentum, batch 256, 3000 steps",
        _MNIST,
        {"name": "mlp", "features": (256, 128)},
        optimizer="nesterov",
        weight_decay=(1e-6, 1e-3),
        batch_size=256,
        interval=100,
        num_reward=512,
        varied={"label_noise": (0.0, 0.5), "width": (0.1, 1.0), **_RESCALED},
    ),
    Problem(
        "MNIST 14x14, MLP of three hidden layers, SGD, 5000 steps",
        {**_MNIST, "image_size": 14},
        {"name": "mlp", "features": (128, 128, 64), "activation": "elu"},
        optimizer="sgd",
        weight_decay=(1e-6, 1e-2),
        batch_size=32,
        interval=167,
        num_reward=512,
        varied={"label_noise": (0.0, 0.3), "data_fraction": (0.05, 1.0), **_RESCALED},
    ),
)
