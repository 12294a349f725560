r"""Action spaces: from what an agent decides to its layer's hyperparameters. Interchangeable.

Hyperparameters, not actions, cross the env's border; these functions stand between a policy and the env. In all
equations $\eta_l$ is the rate of layer $l$, $\phi_l$ its forgetting and $a_l$ the action of its agent.
"""

from collections.abc import Callable
from typing import ClassVar, Protocol

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from ganno_jax.env.base_shapes import shape_ahead
from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import Decision

RATES = ("rates",)
"""What an action space sets that sets learning rates alone."""


class ActionSpace(Protocol):
    """Maps the agents' actions to hyperparameters; `sets` names them."""

    @property
    def num_actions(self) -> int | None:
        """Choices of a categorical agent; None for real numbers."""
        ...

    @property
    def neutral(self) -> int | float:
        """The action that leaves what is underneath as it is: the base without agents."""
        ...

    @property
    def sets(self) -> tuple[str, ...]:
        """Fields of `LayerHyperparameters`, in the order of the agent's numbers; of several: `[layer, number]`."""
        ...

    def apply(self, observation: Observation, action: Array) -> Decision:
        """Hyperparameters for the coming env step."""
        ...


def action_shape(space: ActionSpace, num_layers: int) -> tuple[int, ...]:
    """Of the actions of a whole network: `[layer]`, or `[layer, number]` where an agent names several numbers."""
    return (num_layers,) if len(space.sets) == 1 else (num_layers, len(space.sets))


@struct.dataclass
class RateMultipliers:
    r"""Each agent picks the factor by which its layer's rate changes; factors compound.

    $\eta_l \leftarrow \min(\max(c_{a_l}\,\eta_l,\ \eta_{lo}),\ \eta_{hi})$

    The nine default factors are symmetric in log space, so that a uniformly random agent does not drift.

    References:
      Nine categorical actions per layer, compounding: Tessera et al. 2023, arXiv:2311.18598, as described by
      Shang et al. 2026 (SOLAR); the nine values are ours.
    """

    factors: tuple[float, ...] = struct.field(
        pytree_node=False,
        default=(0.25, 0.5, 0.5**0.5, 0.9, 1.0, 1 / 0.9, 2.0**0.5, 2.0, 4.0),
    )
    lowest: float = 1e-7
    highest: float = 10.0

    def __post_init__(self):
        if 1.0 not in self.factors:
            raise ValueError(
                f"`factors` needs 1.0, so that a rate can be kept; got {self.factors}."
            )

    @property
    def num_actions(self) -> int:
        """Factors to choose from."""
        return len(self.factors)

    @property
    def neutral(self) -> int:
        """The factor 1."""
        return self.factors.index(1.0)

    @property
    def sets(self) -> tuple[str, ...]:
        """Learning rates alone."""
        return RATES

    def apply(
        self, observation: Observation, action: Int[Array, " layer"]
    ) -> Float[Array, " layer"]:
        """The rates for the coming env step, within `[lowest, highest]`."""
        factors = jnp.asarray(self.factors, observation.rates.dtype)
        return jnp.clip(factors[action] * observation.rates, self.lowest, self.highest)


@struct.dataclass
class ScheduleResidual:
    r"""A bounded correction of a base schedule, anchored to the schedule and never to an earlier correction.

    $\eta_l = \eta_0\, s(t / T)\, \exp(\alpha \tanh a_l)$

    With `peak` given, $\eta_0$ is that number and the training's initial rate is not used; otherwise $\eta_0$ is the
    initial rate.

    References:
      Bounded residual on a base schedule: Shang et al. 2026 (SOLAR).
    """

    schedule_fn: Callable[[Float[Array, ""]], Float[Array, ""]] = struct.field(pytree_node=False)
    alpha: float = 1.3
    peak: float | None = None
    lowest: float = 1e-7
    highest: float = 10.0
    num_actions: int | None = struct.field(pytree_node=False, default=None)
    neutral: ClassVar[float] = 0.0
    sets: ClassVar[tuple[str, ...]] = RATES

    def apply(
        self, observation: Observation, action: Float[Array, " layer"]
    ) -> Float[Array, " layer"]:
        """The rates for the coming env step, within `[lowest, highest]`."""
        base = observation.initial_rate if self.peak is None else jnp.asarray(self.peak)
        base = base * shape_ahead(self.schedule_fn, observation)
        return jnp.clip(base * jnp.exp(self.alpha * jnp.tanh(action)), self.lowest, self.highest)


@struct.dataclass
class DirectRate:
    r"""The agent names the rate itself, on a bounded logarithmic scale.

    $\log \eta_l = \tfrac12(\log\eta_{hi} + \log\eta_{lo}) + \tfrac12(\log\eta_{hi} - \log\eta_{lo}) \tanh(a_l / g)$

    With `gain` $g$, one unit of action near zero is $1/(2g)$ of the whole logarithmic range.

    References:
      A log-linear map to the rate: Daniel, Taylor and Nowozin, AAAI 2016.
    """

    lowest: float = 1e-5
    highest: float = 3.0
    gain: float = 3.0
    num_actions: int | None = struct.field(pytree_node=False, default=None)
    neutral: ClassVar[float] = 0.0
    sets: ClassVar[tuple[str, ...]] = RATES

    def apply(
        self, observation: Observation, action: Float[Array, " layer"]
    ) -> Float[Array, " layer"]:
        """The rates for the coming env step, within `[lowest, highest]`."""
        del observation
        low, high = jnp.log(self.lowest), jnp.log(self.highest)
        return jnp.exp(0.5 * (high + low) + 0.5 * (high - low) * jnp.tanh(action / self.gain))
