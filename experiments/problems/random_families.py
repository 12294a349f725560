"""Training problems drawn at random, for the head start of the broad controller.

What makes the best size of updates large or small is in the network, the data, the optimizer and the budget. From the
25 kinds of `broad_families` alone it cannot be told for a kind that is not among them; from many it can, the better the
more there are (docs/notes/ablations.md). Digits and MNIST only, as there.
"""

from typing import Any

import numpy as np

from experiments.problems.problem import Problem

_OPTIMIZERS = {
    "sgd": 0.18,
    "momentum": 0.26,
    "nesterov": 0.06,
    "rmsprop": 0.16,
    "adam": 0.14,
    "adamw": 0.14,
    "lion": 0.06,
}
_ACTIVATIONS = {"relu": 0.4, "tanh": 0.25, "gelu": 0.12, "silu": 0.12, "elu": 0.11}
_IMAGE_SIZES = {4: 0.15, 5: 0.2, 6: 0.15, 7: 0.15, 8: 0.2, 10: 0.1, 14: 0.05}
_DEPTHS = {1: 0.45, 2: 0.25, 3: 0.2, 4: 0.1}
_BATCHES = {16: 0.15, 32: 0.35, 64: 0.4, 128: 0.1}
_INTERVALS = {5: 0.15, 10: 0.3, 20: 0.4, 30: 0.15}
SHARE_OF_CNNS, SHARE_OF_DIGITS = 0.15, 0.05
_SEED = 1000


def draw(number: int) -> Problem:
    """The problem of that number; the same whenever it is asked for."""
    rng = np.random.default_rng(_SEED + number)

    def one_of(shares: dict[Any, float]) -> Any:
        values = list(shares)
        return values[int(rng.choice(len(values), p=list(shares.values())))]

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability)

    convolutional = happens(SHARE_OF_CNNS)
    size = 8 if convolutional else one_of(_IMAGE_SIZES)
    optimizer = one_of(_OPTIMIZERS)
    examples = int(rng.choice([3_000, 12_000, 30_000]))
    data = {"name": "mnist", "image_size": size, "max_examples": examples}
    if happens(SHARE_OF_DIGITS):
        data = {"name": "digits"}
    network: dict[str, Any] = {"activation": one_of(_ACTIVATIONS)}
    if convolutional:
        network |= {"name": "cnn", "channels": (8, 16) if happens(0.7) else (8, 16, 16)}
    else:
        width = int(np.exp(rng.uniform(np.log(16), np.log(128))))
        network |= {"name": "mlp", "features": (width,) * one_of(_DEPTHS)}
    varied = {"rescaling": (0.3, 3.0)}
    if happens(0.55):
        most = float(rng.choice([0.1, 0.2, 0.3, 0.5]))
        varied["label_noise"] = (float(rng.choice([0.0, most / 2])), most)
    if happens(0.35):
        varied["data_fraction"] = (0.1, 1.0)
    if happens(0.3):
        varied["weight_scale"] = (0.5, 2.0)
    if not convolutional and happens(0.5):
        varied["width"] = (0.4, 1.0)
    weight_decay = (1e-4, 1e-2) if happens(0.3) else (1e-6, 1e-3)
    if optimizer == "adamw":  # decoupled from the gradient
        weight_decay = (1e-4, 1e-1)
    return Problem(
        f"random kind {number}",
        data,
        network,
        optimizer=optimizer,
        weight_decay=weight_decay,
        batch_size=32 if convolutional else one_of(_BATCHES),
        interval=int(rng.choice([5, 8, 10])) if convolutional else one_of(_INTERVALS),
        varied=varied,
    )
