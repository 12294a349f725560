"""Real trainings: data at full size, thousands of steps, and the optimizer that a user would take for them.

No setting is chosen by them (docs/trainings.md says what was known when). Fashion-MNIST, CIFAR-10, the text and the
generated table are, at other sizes and with other networks, in suites that settings were chosen by; controllers learned
on small MNIST images (docs/suites.md).
"""

from typing import Any

from experiments.problems.problem import ADAM_PEAKS, Problem

_CIFAR = {"name": "cifar10", "max_held_out": 4_000}
_TEXT = {"name": "tinyshakespeare"}


def _adamw(
    name: str, data: dict, network: dict, steps: int, batch_size: int, **more: Any
) -> Problem:
    return Problem(
        name,
        data,
        network,
        optimizer="adamw",
        weight_decay=(1e-2, 1e-2),
        batch_size=batch_size,
        peaks=ADAM_PEAKS,
        **more,
    ).of_steps(steps)


SERIES = _adamw(
    "series, regression by a deep MLP, 10,000 steps",
    {"name": "generated_waves", "standardize_targets": True},
    {"name": "mlp", "features": (128, 128, 64), "activation": "gelu"},
    steps=10_000,
    batch_size=64,
)
TABLE = _adamw(
    "table, embeddings of categories, 20,000 steps",
    {"name": "generated_categories"},
    {"name": "tabular", "cardinalities": (24, 12, 6, 3), "features": 64, "num_blocks": 3},
    steps=20_000,
    batch_size=64,
)
TRAININGS = (
    _adamw(
        "MNIST 28x28, autoencoder, 14 epochs",
        {"name": "mnist"},
        {"name": "autoencoder", "features": (128, 32, 128)},
        steps=6_000,
        batch_size=128,
    ),
    SERIES,
    TABLE,
    _adamw(
        "Fashion-MNIST 28x28, CNN, 10 epochs",
        {"name": "fashion_mnist"},
        {"name": "cnn", "channels": (16, 32)},
        steps=4_200,
        batch_size=128,
    ),
    _adamw(
        "characters, GRU, 2,000 steps",
        _TEXT,
        {"name": "gru", "features": (96,), "embed_features": 32},
        steps=2_000,
        batch_size=16,
    ),
    _adamw(
        "characters, Transformer of four blocks, 2,000 steps",
        _TEXT,
        {"name": "transformer", "features": 64, "num_blocks": 4, "max_length": 64},
        steps=2_000,
        batch_size=16,
    ),
    _adamw(
        "CIFAR-10 32x32, residual network, crops and flips, 5 epochs",
        _CIFAR,
        {"name": "resnet8", "channels": 8},
        steps=1_800,
        batch_size=128,
        augmentation={"padding": 4, "flip": True},
    ),
    _adamw(
        "CIFAR-10 32x32, vision transformer, 5 epochs",
        _CIFAR,
        {"name": "vit", "patch": 4, "features": 48, "num_blocks": 3},
        steps=3_600,
        batch_size=64,
    ),
    _adamw(
        "cart and pole, policy gradient, 2,000 steps",
        {"name": "generated_episodes"},
        {"name": "cart_pole"},
        steps=2_000,
        batch_size=16,
    ),
)
