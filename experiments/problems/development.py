"""The problems of the development suite: settings of shipped controllers were chosen by looking at them.

No shipped controller was trained on them: the broad controller learns on digits and MNIST with dense, convolutional
and small residual networks (`problems.broad_families`), and here every problem differs from those in its data set,
its kind of network, or both. docs/looks.md says what was chosen by which look.
"""

import dataclasses
from typing import Any

from experiments.problems.problem import ADAM_PEAKS, Problem

_FASHION_8 = {"name": "fashion_mnist", "image_size": 8, "max_examples": 12_000}
_FASHION_14 = {"name": "fashion_mnist", "image_size": 14, "max_examples": 12_000}
_CIFAR_8 = {"name": "cifar10", "image_size": 8, "max_examples": 12_000}
_TEXT = {"name": "tinyshakespeare", "sequence_length": 24, "max_examples": 8_000}

DEVELOPMENT = (
    Problem("Fashion-MNIST 8x8, MLP, momentum", _FASHION_8, {"name": "mlp", "features": (32,)}),
    Problem(
        "Fashion-MNIST 8x8, wide MLP, SGD, weight decay",
        _FASHION_8,
        {"name": "mlp", "features": (128,)},
        optimizer="sgd",
        weight_decay=(1e-3, 1e-3),
        batch_size=32,
        peaks=(1e-2, 3.0),
    ),
    Problem(
        "Fashion-MNIST 8x8, deep tanh MLP, Adam",
        _FASHION_8,
        {"name": "mlp", "features": (48, 48, 48), "activation": "tanh"},
        optimizer="adam",
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "Fashion-MNIST 8x8, MLP, RMSprop",
        _FASHION_8,
        {"name": "mlp", "features": (64,)},
        optimizer="rmsprop",
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "Fashion-MNIST 14x14, CNN, momentum",
        _FASHION_14,
        {"name": "cnn", "channels": (8, 16)},
        batch_size=32,
        interval=10,
        peaks=(1e-3, 0.3),
    ),
    Problem(
        "CIFAR-10 8x8, MLP, momentum",
        _CIFAR_8,
        {"name": "mlp", "features": (64,)},
        peaks=(1e-3, 0.3),
    ),
    Problem(
        "CIFAR-10 8x8, CNN, AdamW",
        _CIFAR_8,
        {"name": "cnn", "channels": (8, 16), "activation": "elu"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        interval=10,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "CIFAR-10 8x8, residual network, momentum, weight decay",
        _CIFAR_8,
        {"name": "resnet8", "channels": 4},
        weight_decay=(5e-4, 5e-4),
        batch_size=32,
        interval=6,
        peaks=(1e-3, 1.0),
    ),
    Problem(
        "digits, autoencoder, AdamW",
        {"name": "digits"},
        {"name": "autoencoder"},
        optimizer="adamw",
        weight_decay=(1e-4, 1e-4),
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "digits, vision transformer, AdamW",
        {"name": "digits"},
        {"name": "vit", "patch": 4, "features": 32, "num_blocks": 1},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=32,
        interval=10,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "characters, GRU, Adam",
        _TEXT,
        {"name": "gru", "features": (32,)},
        optimizer="adam",
        batch_size=16,
        interval=10,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "characters, Transformer, AdamW",
        _TEXT,
        {"name": "transformer", "features": 32, "num_blocks": 1, "max_length": 32},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=16,
        interval=10,
        num_reward=128,
        peaks=ADAM_PEAKS,
    ),
)

_FASHION = {"name": "fashion_mnist"}
_CIFAR = {"name": "cifar10"}

PAPER = (
    Problem(
        "Fashion-MNIST, two-layer CNN, momentum",
        _FASHION,
        {"name": "cnn"},
        batch_size=128,
        num_decisions=50,
        interval=50,
        num_reward=2000,
    ),
    *(
        # Figure 4 of Tessera et al. 2023, arXiv:2311.18598: from initial rate 0.001, over weight decays.
        Problem(
            f"CIFAR-10, ResNet-18, momentum, weight decay {decay:g}",
            _CIFAR,
            {"name": "resnet18"},
            weight_decay=(decay, decay),
            initial_rate=(1e-3, 1e-3),
            batch_size=128,
            num_decisions=100,
            interval=100,
            num_reward=2000,
        )
        for decay in (0.0, 1e-5, 1e-4, 5e-4, 1e-3, 1e-2)
    ),
    Problem(
        "CIFAR-10, four-layer CNN, AdamW",
        _CIFAR,
        {"name": "deep_cnn"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=128,
        num_decisions=60,
        interval=100,
        num_reward=2000,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "CIFAR-10, vision transformer, AdamW",
        _CIFAR,
        {"name": "vit"},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=128,
        num_decisions=60,
        interval=100,
        num_reward=2000,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "characters, GRU, Adam",
        {"name": "tinyshakespeare"},
        {"name": "gru", "features": (128,)},
        optimizer="adam",
        num_decisions=50,
        interval=60,
        num_reward=512,
        peaks=ADAM_PEAKS,
    ),
    Problem(
        "characters, Transformer, AdamW",
        {"name": "tinyshakespeare"},
        {"name": "transformer", "features": 128, "num_blocks": 4},
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        num_decisions=50,
        interval=60,
        num_reward=512,
        peaks=ADAM_PEAKS,
    ),
)


def sweeps() -> dict[str, dict[str, Problem]]:
    """One setting at a time, all others as in the first problem: axis, value, problem."""
    base = DEVELOPMENT[0]
    axes: dict[str, dict[str, dict[str, Any]]] = {
        "weight decay": {
            f"{decay:g}": {"weight_decay": (decay, decay)}
            for decay in (0.0, 1e-5, 1e-4, 5e-4, 1e-3, 1e-2)
        },
        "optimizer": {
            "sgd": {"optimizer": "sgd", "peaks": (1e-2, 3.0)},
            "momentum": {},
            "nesterov": {"optimizer": "nesterov"},
            **{
                name: {"optimizer": name, "peaks": ADAM_PEAKS}
                for name in ("rmsprop", "adam", "adamw", "lion")
            },
        },
        "batch size": {str(size): {"batch_size": size} for size in (16, 64, 256)},
        "budget": {str(30 * interval): {"interval": interval} for interval in (7, 20, 70)},
        "hidden units": {str(n): {"network": _mlp((n,))} for n in (8, 32, 128)},
        "hidden layers": {str(n): {"network": _mlp((32,) * n)} for n in (1, 2, 4)},
        "activation": {
            name: {"network": {**_mlp((32,)), "activation": name}}
            for name in ("relu", "tanh", "gelu", "elu")
        },
    }
    return {
        axis: {
            value: dataclasses.replace(base, name=f"{axis} {value}", **changes)
            for value, changes in values.items()
        }
        for axis, values in axes.items()
    }


def _mlp(features: tuple[int, ...]) -> dict[str, Any]:
    return {"name": "mlp", "features": features}
