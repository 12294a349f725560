"""The rivals of a controller: what a user of Optax would tune, and what one would take without tuning.

Each rival is a `LoopOptimizer`; what its tuning may choose from stands in `settings`.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ganno_jax.baselines import hypergradient_adam
from ganno_jax.baselines.free import schedule_free_average, uniform
from ganno_jax.baselines.hypergradient import multiplicative
from ganno_jax.evaluation.optax_loop import LoopOptimizer
from ganno_jax.inner import InnerOptimizer, Training
from ganno_jax.inner.directions import Hyperparameters
from ganno_jax.policies import SCHEDULES
from ganno_jax.policies.schedule_rises import warmup_cosine
from ganno_jax.tasks.distributions import Constant


def with_decay(
    optimizer: InnerOptimizer,
    hyperparameters: Hyperparameters,
    decay: Float[Array, ""] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A direction with its weight decay, or with another one: as Optax takes it, without a learning rate.

    A decoupled decay is of matrices only.

    Args:
      optimizer: the direction.
      hyperparameters: of the training.
      decay: in the place of its own.
    """
    number = hyperparameters.weight_decay if decay is None else decay
    if decay is None and optimizer.weight_decay is None:
        return optimizer.transformation(hyperparameters)
    if not optimizer.decoupled_decay:
        optimizer = optimizer.replace(weight_decay=Constant(0.0))  # so that the program has one
        return optimizer.transformation(hyperparameters.replace(weight_decay=number))
    bare = optimizer.replace(weight_decay=None).transformation(hyperparameters)

    def matrices(params):
        return jax.tree.map(lambda w: w.ndim > 1, params)

    return optax.chain(bare, optax.add_decayed_weights(number, matrices))


def over_direction(optimizer: InnerOptimizer, total_steps: int, tunes_decay: bool) -> LoopOptimizer:
    """Any of `SCHEDULES` over a direction; its weight decay is a number too if that is tuned.

    `ReduceOnPlateau` is left out: it follows no schedule but the loss.

    Args:
      optimizer: the direction.
      total_steps: of a training.
      tunes_decay: whether the decay is a number, in the place of the direction's own.
    """
    branches = [
        lambda peak, f=f: f(jnp.arange(total_steps), total_steps, peak) for f in SCHEDULES.values()
    ]

    def make(numbers, start):
        decay = numbers["decay"] if tunes_decay else None
        direction = with_decay(optimizer, start.hyperparameters, decay)
        rates = jax.lax.switch(numbers["schedule"], branches, numbers["peak"])
        return optax.chain(direction, _following(rates))

    return LoopOptimizer(make)


def adamw(total_steps: int) -> LoopOptimizer:
    """AdamW with a peak and a weight decay, under a warm-up cosine."""
    return LoopOptimizer(
        lambda numbers, start: optax.adamw(
            _warmup_cosine(total_steps, numbers["peak"]), weight_decay=numbers["decay"]
        )
    )


def muon(training: Training, total_steps: int) -> LoopOptimizer:
    """Muon with a peak and a weight decay, under a warm-up cosine.

    Its updates are scaled to Adam's size (Liu et al. 2025, arXiv:2502.16982), so that one rate serves both. What is no
    matrix, embeddings and the output layer are Adam's.
    """

    def make(numbers, start):
        return optax.contrib.muon(
            _warmup_cosine(total_steps, numbers["peak"]),
            weight_decay=numbers["decay"],
            adam_weight_decay=numbers["decay"],
            muon_weight_dimension_numbers=muon_matrices(training, start.params),
            consistent_rms=0.2,
        )

    return LoopOptimizer(make)


def muon_matrices(training: Training, params: Any) -> Any:
    """Which axes of a leaf are the rows and columns of a matrix: the last are outputs, all others inputs.

    Query, key and value kernels with an axis of heads have two axes of outputs. None for Adam's leaves.
    """
    last = set(training.layers.leaves[-1])
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    numbers = []
    for place, (path, leaf) in enumerate(leaves):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if leaf.ndim < 2 or place in last or re.search(r"embed(ding)?[^/]*$|pos_emb", name):
            numbers.append(None)
            continue
        outputs = 2 if leaf.ndim == 3 and re.search(r"(query|key|value|qkv)/kernel$", name) else 1
        axes = tuple(range(leaf.ndim))
        numbers.append(optax.contrib.MuonDimensionNumbers(axes[:-outputs], axes[-outputs:]))
    return jax.tree.unflatten(structure, numbers)


def nadamw(total_steps: int) -> LoopOptimizer:
    """NAdamW with all its numbers, under a warm-up cosine."""
    return LoopOptimizer(
        lambda numbers, start: optax.nadamw(
            _warmup_cosine(total_steps, numbers["peak"]),
            b1=numbers["momentum"],
            b2=numbers["second_decay"],
            eps=numbers["epsilon"],
            weight_decay=numbers["decay"],
        )
    )


def one_rate(make: Callable[[Any], optax.GradientTransformation]) -> LoopOptimizer:
    """A method with a peak as its only number."""
    return LoopOptimizer(lambda numbers, start: make(numbers["peak"]))


def hypergradient(peak: Any) -> optax.GradientTransformation:
    """Its rate changes by up to 2% per step."""
    return hypergradient_adam(peak, 0.02, multiplicative)


def careful_adamw(total_steps: int) -> optax.GradientTransformation:
    """AdamW as a careful user takes it: 1e-3 with decay 0.1 under a warm-up cosine."""
    return optax.adamw(_warmup_cosine(total_steps, 1e-3), weight_decay=0.1)


def algoperf_nadamw(total_steps: int) -> optax.GradientTransformation:
    """NAdamW with the constants of AlgoPerf's self-tuning baseline."""
    rates = _warmup_cosine(total_steps, 1.9e-3)
    return optax.nadamw(rates, b1=1 - 0.091, b2=0.9989, weight_decay=0.081)


def algoperf_schedule_free(total_steps: int) -> optax.GradientTransformation:
    """Schedule-Free AdamW with the constants that came first in AlgoPerf's self-tuning track."""
    method = optax.contrib.schedule_free_adamw(
        0.0025,
        warmup_steps=max(1, round(0.02 * total_steps)),
        b1=0.9,
        b2=0.9955,
        weight_decay=0.081,
    )
    return uniform(method, "schedule_free", needs_value=False)


UNTUNED_ADAMW = "AdamW 1e-3"
UNTUNED: dict[
    str, tuple[Callable[[int], optax.GradientTransformation], Callable[..., Any] | None]
] = {
    UNTUNED_ADAMW: (careful_adamw, None),
    "NAdamW, AlgoPerf": (algoperf_nadamw, None),
    "Schedule-Free AdamW, AlgoPerf": (algoperf_schedule_free, schedule_free_average),
}
"""What a careful user takes without any tuning: the method of so many steps, and which parameters are evaluated."""


def _following(rates: Float[Array, " step"]) -> optax.GradientTransformation:
    return optax.scale_by_learning_rate(lambda count: rates[count])


def _warmup_cosine(total_steps: int, peak: Any) -> optax.Schedule:
    rates = warmup_cosine(jnp.arange(total_steps), total_steps, peak)
    return lambda count: rates[count]
