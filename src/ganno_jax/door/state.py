"""What `control` keeps between updates, and what can be read from it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Shaped

from ganno_jax.door.clock import Clock
from ganno_jax.door.policy_state import RatesState
from ganno_jax.version import VERSION


@struct.dataclass
class Outline:
    """Static: the layers, first to last, when decisions fall, and the version of the library that made the state."""

    layers: tuple[str, ...] = struct.field(pytree_node=False)
    clock: Clock = struct.field(pytree_node=False)
    version: str = struct.field(pytree_node=False, default=VERSION)


class ControlState(NamedTuple):
    """State of `control`: those of its transformations, one inside the other. For logging: the properties.

    `optax.tree.get(state, "rates")` finds the fields by name in any state that holds this one.
    """

    outline: Outline
    parts: Any

    def part(self, field: str) -> Any:
        """A field of whichever transformation has it; None where it is left out."""
        part = self.parts
        while part is not None and not hasattr(part, field):
            part = getattr(part, "inner", None)
        return None if part is None else getattr(part, field)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """In the order of every array by layer."""
        return self.outline.layers

    @property
    def by_policy(self) -> RatesState:
        """The innermost state: of the rates, the policy and the direction."""
        part = self.parts
        while not isinstance(part, RatesState):
            part = part.inner
        return part

    @property
    def step(self) -> Int[Array, ""]:
        """Updates made, without those skipped; where the first had no gradient, from the last decision they passed."""
        return self.by_policy.step

    @property
    def overrun(self) -> Int[Array, ""]:
        """Updates past the planned end, where rates stay as they were; `ganno_jax.extend` plans a later one."""
        return jnp.maximum(self.step - int(self.outline.clock.total_steps), 0)

    @property
    def rates(self) -> Float[Array, " layer"]:
        """Of the last decision; `rates_in_force` are those of the last update."""
        return self.by_policy.decided.rates

    @property
    def forgetting(self) -> Float[Array, " layer"] | None:
        """Of the last decision, in units of the whole training; None for a controller that sets rates alone."""
        return self.by_policy.decided.forgetting

    @property
    def features(self) -> Float[Array, "layer feature"]:
        """At the last decision, in the order of `ganno_jax.env.FEATURES`."""
        return self.by_policy.decided.features

    @property
    def actions(self) -> Shaped[Array, "*member layer"] | None:
        """Of the agents at the last decision; None for other policies."""
        return self.by_policy.decided.shown.get("actions")

    @property
    def signed_loss(self) -> Bool[Array, ""]:
        """Whether a loss below zero was seen; the agents then see nothing of the loss, and it has no spikes."""
        return jnp.asarray(self.by_policy.signed_loss) > 0

    @property
    def skipped(self) -> Int[Array, ""]:
        """Updates that changed nothing, for a number that was not finite or before the first gradient."""
        return _or(self.part("skipped"), 0)

    @property
    def limited(self) -> Int[Array, ""]:
        """Updates whose gradient was an outlier and was shortened."""
        return _or(self.part("limited"), 0)

    @property
    def spikes(self) -> Int[Array, ""]:
        """Losses that were outliers."""
        return _or(self.part("spikes"), 0)

    @property
    def backoff(self) -> Float[Array, ""]:
        """Factor on the rates, 1 unless there was a spike lately."""
        return _or(self.part("backoff"), 1.0)


def _or(found: Array | None, otherwise: float) -> Array:
    return jnp.asarray(otherwise) if found is None else found
