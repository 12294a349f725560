"""Inner optimizers as Optax directions: everything but the learning rate. Their numbers are traced.

The step is `params <- params - rates[layer] * (direction + decay * params)`; with rates equal to a constant each
direction takes the step of its Optax twin with a decay of matrices only. Decoupled decay is no part of the direction,
so that the size of a layer's update is that of its gradient.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.inner.muon import muon_or_nadam, route
from ganno_jax.inner.splits import Layout, off_meshes
from ganno_jax.tasks.distributions import Constant, Distribution


@struct.dataclass
class Hyperparameters:
    """Numbers of one inner optimizer."""

    initial_rate: Float[Array, ""]  # learning rate before the first decision, > 0
    momentum: Float[Array, ""]  # first-moment decay (b1), [0, 1)
    second_decay: Float[Array, ""]  # second-moment decay (b2), [0, 1)
    epsilon: Float[
        Array, ""
    ]  # added to the root of the second moment; under it in RMSprop, as in Optax
    weight_decay: Float[Array, ""]  # per unit of rate, >= 0
    clip_norm: Float[Array, ""]  # largest global gradient norm; infinity for none


def _sgd(h: Hyperparameters) -> optax.GradientTransformation:
    del h
    return optax.identity()


def _momentum(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.trace(decay=h.momentum)


def _nesterov(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.trace(decay=h.momentum, nesterov=True)


def _rmsprop(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.scale_by_rms(decay=h.second_decay, eps=h.epsilon)


def _adam(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=h.momentum, b2=h.second_decay, eps=h.epsilon)


def _nadam(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=h.momentum, b2=h.second_decay, eps=h.epsilon, nesterov=True)


def _muon(
    h: Hyperparameters, stacked: Mapping[str, int] | None = None, layout: Layout | None = None
) -> optax.GradientTransformation:
    return muon_or_nadam(h.momentum, h.second_decay, h.epsilon, stacked, layout)


def _lion(h: Hyperparameters) -> optax.GradientTransformation:
    return optax.scale_by_lion(b1=h.momentum, b2=h.second_decay)


DirectionFn = Callable[[Hyperparameters], optax.GradientTransformation]
"""Makes a direction of its settings, as an Optax transformation without a learning rate."""

DIRECTIONS: dict[str, tuple[DirectionFn, bool]] = {
    "sgd": (_sgd, False),
    "momentum": (_momentum, False),
    "nesterov": (_nesterov, False),
    "rmsprop": (_rmsprop, False),
    "adam": (_adam, False),
    "adamw": (_adam, True),
    "nadam": (_nadam, False),
    "nadamw": (_nadam, True),
    "lion": (_lion, True),
    "muon": (_muon, True),
}
"""By name the direction, and whether weight decay is decoupled (added to the direction) or L2 (to the gradient)."""


@struct.dataclass
class InnerOptimizer:
    """A direction and what its numbers are drawn from.

    `decoupled_decay` and `clipped` decide what the program contains; the numbers are leaves.
    """

    direction_fn: DirectionFn = struct.field(pytree_node=False)
    initial_rate: Distribution
    momentum: Distribution = Constant(0.9)
    second_decay: Distribution = Constant(0.999)
    epsilon: Distribution = Constant(1e-8)
    weight_decay: Distribution | None = None
    clip_norm: Distribution | None = None
    decoupled_decay: bool = struct.field(pytree_node=False, default=False)
    name: str = struct.field(pytree_node=False, default="custom")
    # (optimizer state, params) -> the parameters to evaluate, for methods such as schedule-free that keep an average.
    evaluation_params_fn: Callable[[Any, Any], Any] | None = struct.field(
        pytree_node=False, default=None
    )

    def sample(self, key: PRNGKeyArray) -> Hyperparameters:
        """Draw the numbers of one training."""
        keys = jax.random.split(key, 6)
        return Hyperparameters(
            initial_rate=self.initial_rate.sample(keys[0]),
            momentum=self.momentum.sample(keys[1]),
            second_decay=self.second_decay.sample(keys[2]),
            epsilon=self.epsilon.sample(keys[3]),
            weight_decay=(self.weight_decay or Constant(0.0)).sample(keys[4]),
            clip_norm=(self.clip_norm or Constant(jnp.inf)).sample(keys[5]),
        )

    def transformation(self, h: Hyperparameters) -> optax.GradientTransformationExtraArgs:
        """The direction with these numbers, as an Optax transformation without a learning rate or decoupled decay."""
        parts = []
        if self.clip_norm is not None:
            parts.append(optax.clip_by_global_norm(h.clip_norm))
        if self.weight_decay is not None and not self.decoupled_decay:
            parts.append(optax.add_decayed_weights(h.weight_decay))
        parts.append(self.direction_fn(h))
        return optax.with_extra_args_support(optax.chain(*parts) if len(parts) > 1 else parts[0])

    def decays(self, h: Hyperparameters, num_layers: int) -> Float[Array, " layer"] | None:
        """Decoupled weight decay of each layer per unit of rate, for `layers.apply_rates`; None for none."""
        if self.weight_decay is None or not self.decoupled_decay:
            return None
        return jnp.full(num_layers, h.weight_decay)


def named(name: str, initial_rate: Distribution, **numbers: Distribution) -> InnerOptimizer:
    """One of `DIRECTIONS` by name.

    Args:
      name: one of `DIRECTIONS`.
      initial_rate: the distribution of the rate that a training starts from, > 0.
      **numbers: distributions of further fields of `InnerOptimizer`; one left out has the default of the direction.

    Raises:
      ValueError: there is no direction of that name.
    """
    direction_fn, decoupled = _entry(name)
    defaults: dict[str, Distribution] = {}
    if name == "lion":
        defaults = {"second_decay": Constant(0.99)}
    if name == "rmsprop":
        defaults = {"second_decay": Constant(0.9)}
    if name == "muon":
        defaults = {"momentum": Constant(0.95), "second_decay": Constant(0.98)}
    return InnerOptimizer(
        direction_fn=direction_fn,
        initial_rate=initial_rate,
        decoupled_decay=decoupled,
        name=name,
        **{**defaults, **numbers},
    )


def _entry(name: str) -> tuple[DirectionFn, bool]:
    if name not in DIRECTIONS:
        raise ValueError(f"no optimizer {name!r}; there are: {', '.join(DIRECTIONS)}")
    return DIRECTIONS[name]


@dataclasses.dataclass(frozen=True)
class Direction:
    """A direction with its numbers: what a controller that is a whole optimizer brings with it.

    Attributes:
      name: one of `DIRECTIONS`.
      momentum: first-moment decay (b1), [0, 1).
      second_decay: second-moment decay (b2), [0, 1).
      epsilon: > 0.
      weight_decay: per unit of rate, >= 0; of matrices only where it is decoupled.

    Raises:
      ValueError: there is no direction of that name, or a number is out of its range.
    """

    name: str
    momentum: float = 0.9
    second_decay: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        _entry(self.name)
        ranges = {
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "second_decay": (0 <= self.second_decay < 1, "in [0, 1)"),
            "epsilon": (0 < self.epsilon < math.inf, "positive"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
        }
        for field, (holds, range_) in ranges.items():
            if not holds:
                raise ValueError(f"`{field}` must be {range_}; got {getattr(self, field)}.")

    def optimizer(self, initial_rate: Distribution) -> InnerOptimizer:
        """For trainings in an env."""
        decay = {"weight_decay": Constant(self.weight_decay)} if self.weight_decay else {}
        return named(
            self.name,
            initial_rate,
            momentum=Constant(self.momentum),
            second_decay=Constant(self.second_decay),
            epsilon=Constant(self.epsilon),
            **decay,
        )

    def transformation(
        self, stacked: Mapping[str, int] | None = None, layout: Layout | None = None
    ) -> optax.GradientTransformationExtraArgs:
        """For a training loop of one's own: an Optax transformation without a learning rate or decoupled decay.

        Args:
          stacked: number of leading axes that count layers, by the beginning of the path; Muon must know.
          layout: how parameters are split over devices; likewise.
        """
        optimizer = self.optimizer(Constant(1.0))
        if self.name == "muon" and (stacked or layout):
            optimizer = optimizer.replace(
                direction_fn=partial(_muon, stacked=stacked, layout=layout)
            )
        numbers = optimizer.sample(jax.random.key(0))
        return optimizer.transformation(off_meshes(numbers))

    def of_leaf(self, path: tuple[str, ...], shape: tuple[int, ...], stack_axes: int = 0) -> str:
        """The name of the direction that a leaf takes: `muon` is for matrices, and the rest takes NAdam's.

        Args:
          path: names from the root to the leaf, such as `("dense0", "kernel")`.
          shape: of the leaf.
          stack_axes: its leading axes that count layers.
        """
        return route(path, shape, stack_axes)[0] if self.name == "muon" else self.name

    @property
    def decoupled_decay(self) -> float:
        """The part of `weight_decay` that is no part of `transformation()`."""
        return self.weight_decay if _entry(self.name)[1] else 0.0
