"""What a policy under an Optax direction keeps between updates."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int

from ganno_jax.env.observation_memory import ObservationMemory
from ganno_jax.inner.statistics import LayerRecord, LossRecord

ASLEEP = 2**31 - 1
"""The first step of a layer that had no gradient yet."""


class Decided(NamedTuple):
    """What a decision changes; nothing in it is as large as the parameters."""

    decision: Int[Array, ""]  # number of the next one
    rates: Float[Array, " layer"]
    forgetting: Float[Array, " layer"] | None  # None for a policy that sets rates alone
    features: Float[Array, "layer feature"]  # at the last decision, in the order of env.FEATURES
    shown: dict[str, Array]  # by the policy, at the last decision
    policy: Any  # the agents' memories
    memory: ObservationMemory
    largest_squares: Float[Array, " layer"]  # of a layer's gradients before the decision
    losses: LossRecord
    measured: LayerRecord


class Horizon(NamedTuple):
    """What a state was made for, as numbers, so that they are stored with it and loaded into any optimizer."""

    steps: Int[Array, ""]
    decisions: Int[Array, ""]


class RatesState(NamedTuple):
    """State of `scale_by_policy`."""

    step: Int[Array, ""]
    horizon: Horizon  # of the last update
    # Of the last update: what was decided, less after a loss spike and in a layer that is late, 0 in one asleep.
    rates_in_force: Float[Array, " layer"]
    forgetting_in_force: Float[Array, " layer"] | None
    woken: Int[Array, " layer"]  # the step of a layer's first gradient; ASLEEP before it
    largest_squares: Float[Array, " layer"]  # of a layer's gradients so far
    # 1 once a loss below zero was seen, so that its logarithm says nothing. A number, since wrappers such as
    # `optax.contrib.sam` blend states by sums and products.
    signed_loss: Int[Array, ""]
    examples: Float[Array, "layer 2"]  # features of the examples, at the end of the last interval
    decided: Decided
    direction: Any  # state of the wrapped direction
