"""A policy sets rate and forgetting of every layer under an Optax direction: measure, observe, decide, step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from ganno_jax.door.clock import Clock
from ganno_jax.door.decide import Decider
from ganno_jax.door.policy_state import ASLEEP, Decided, RatesState
from ganno_jax.inner.example_statistics import (
    ExampleLossFn,
    example_features,
    example_features_by_layer,
)
from ganno_jax.inner.hyperparameters import forget
from ganno_jax.inner.layers import LayerMap, apply_rates
from ganno_jax.inner.statistics import (
    LayerRecord,
    LossRecord,
    empty_loss_record,
    record_layers,
    record_loss,
)
from ganno_jax.policies.base import Policy

FIRST_SHARE, RISE = 0.1, 0.1
"""A layer whose first gradient comes after the first interval starts at this share of its rate, and has the whole one
after this share of the training: moments and sizes of the other layers say nothing about it."""

Advance = Callable[[Float[Array, ""] | float], tuple[PyTree, tuple[PyTree, Any]]]
"""From a factor on the gradient to the gradient times it, and the direction's step along that with its new state."""


def scale_by_policy(
    direction: optax.GradientTransformationExtraArgs,
    policy: Policy,
    clock: Clock,
    find_layers: Callable[[PyTree], LayerMap],
    *,
    initial_rate: float = 1e-3,
    weight_decay: float | None = None,
    num_measured: int = 2,
    steps_per_epoch: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """The step along a direction, with the rates and the forgetting that the policy sets at every decision.

    A layer neither moves nor decays before its first gradient, and starts slowly where that comes late.

    Args:
      direction: without a learning rate, of the sign of the gradient.
      policy: from an observation to a rate for each layer, with or without forgetting.
      clock: when the policy is asked.
      find_layers: from parameters to the layer of each leaf.
      initial_rate: what the policy starts from, > 0.
      weight_decay: per unit of rate, >= 0; None leaves the term out.
      num_measured: updates before each decision in which per-layer statistics are taken, >= 1.
      steps_per_epoch: updates in which the training examples are seen once; 0 where that is not known.

    Returns:
      A transformation that needs `squares=`, the squared norm of each layer's gradient; takes `value=`, the loss,
      `example_losses_fn=` for a policy that sees examples, and factors on the gradient and on all rates,
      `gradient_factor=` and `rate_factor=`.
    """
    decider = Decider(policy, clock, initial_rate, steps_per_epoch)
    scaled = _ScaledByPolicy(direction, decider, find_layers, weight_decay, num_measured)
    return optax.GradientTransformationExtraArgs(scaled.init, scaled.update)


@dataclasses.dataclass(frozen=True, eq=False)
class _ScaledByPolicy:
    """What `scale_by_policy` is made of."""

    direction: optax.GradientTransformationExtraArgs
    decider: Decider
    find_layers: Callable[[PyTree], LayerMap]
    weight_decay: float | None
    num_measured: int

    def init(self, params: PyTree) -> RatesState:
        layers = self.find_layers(params)
        decided = self.decider.begin(params, layers)
        return RatesState(
            step=jnp.zeros((), jnp.int32),
            rates_in_force=decided.rates,
            woken=jnp.full(layers.num_layers, ASLEEP, jnp.int32),
            signed_loss=jnp.zeros((), bool),
            examples=jnp.zeros((layers.num_layers, 2), jnp.float32),
            decided=decided,
            direction=self.direction.init(params),
        )

    def update(
        self,
        gradient: PyTree,
        state: RatesState,
        params: PyTree,
        *,
        squares: Float[Array, " layer"],
        value: Float[Array, ""] | None = None,
        gradient_factor: Float[Array, ""] | float = 1.0,
        rate_factor: Float[Array, ""] | float = 1.0,
        example_losses_fn: ExampleLossFn | None = None,
        **extra: Any,
    ) -> tuple[PyTree, RatesState]:
        layers, clock = self.find_layers(params), self.decider.clock
        with_loss = extra if value is None else {**extra, "value": value}

        def advance(factor: Float[Array, ""] | float) -> tuple[PyTree, tuple[PyTree, Any]]:
            # What branches need is computed in them once more: handed over, it would be written at every update.
            scaled = jax.tree.map(lambda g: jnp.asarray(factor, g.dtype) * g, gradient)
            return scaled, self.direction.update(scaled, state.direction, params, **with_loss)

        def record(measured: LayerRecord) -> LayerRecord:
            scaled, (updates, _) = advance(gradient_factor)
            return record_layers(measured, scaled, updates, layers)

        signed = state.signed_loss if value is None else state.signed_loss | (value < 0)
        state = state._replace(signed_loss=signed)
        examples = state.examples if example_losses_fn is not None else None
        decided = jax.lax.cond(
            clock.is_due(state.decided.decision, state.step),
            lambda: self.decider.decide(
                state, examples, _window(state, value, record), params, layers
            ),
            lambda: state.decided,
        )
        in_measured = clock.is_measured(decided.decision, state.step, self.num_measured)
        measured = jax.lax.cond(in_measured, record, lambda measured: measured, decided.measured)
        losses = decided.losses if value is None else record_loss(decided.losses, value)

        woken = jnp.where((state.woken == ASLEEP) & (squares > 0), state.step, state.woken)
        # Once the record is made: else the direction's state would be copied for the record to read it.
        after = jnp.where(measured.count >= 0, gradient_factor, 0.0)
        share = _share_since_waking(woken, state.step, clock)
        updates, direction_state = self._step(
            advance, after, decided, rate_factor, share, params, layers
        )
        if example_losses_fn is not None:
            examples = self._examples(example_losses_fn, state, decided, params, updates, layers)
        return updates, RatesState(
            step=state.step + 1,
            rates_in_force=decided.rates * rate_factor,
            woken=woken,
            signed_loss=signed,
            examples=state.examples if examples is None else examples,
            decided=decided._replace(losses=losses, measured=measured),
            direction=direction_state,
        )

    def _step(
        self,
        advance: Advance,
        gradient_factor: Float[Array, ""],
        decided: Decided,
        rate_factor: Float[Array, ""] | float,
        share: Float[Array, " layer"],
        params: PyTree,
        layers: LayerMap,
    ) -> tuple[PyTree, Any]:
        """Along the direction, with the rates and the forgetting in force; and the direction's new state."""
        rates = decided.rates * rate_factor * share
        decays = (
            None if self.weight_decay is None else jnp.full(layers.num_layers, self.weight_decay)
        )
        _, (updates, direction_state) = advance(gradient_factor)
        updates = apply_rates(updates, layers, rates, params, decays)
        if decided.forgetting is not None:
            total_steps = self.decider.clock.total_steps
            forgotten = forget(params, layers, decided.forgetting * share, total_steps)
            updates = jax.tree.map(jnp.add, updates, forgotten)
        return updates, direction_state

    def _examples(
        self,
        loss_fn: ExampleLossFn,
        state: RatesState,
        decided: Decided,
        params: PyTree,
        updates: PyTree,
        layers: LayerMap,
    ) -> Float[Array, "layer 2"]:
        """Features of the examples, anew at the last update before a decision."""
        by_layer = getattr(self.decider.policy, "by_layer", False)
        features = example_features_by_layer if by_layer else example_features
        return jax.lax.cond(
            state.step == self.decider.clock.start(decided.decision) - 1,
            lambda: features(loss_fn, params, updates, layers),
            lambda: state.examples,
        )


def _window(
    state: RatesState,
    value: Float[Array, ""] | None,
    record: Callable[[LayerRecord], LayerRecord],
) -> tuple[LossRecord, LayerRecord]:
    """Of the interval that ends; before the first update, of that update alone."""
    first = state.step == 0
    losses, measured = state.decided.losses, state.decided.measured
    alone = record(optax.tree.zeros_like(measured))
    if value is not None:
        losses = _where(first, record_loss(empty_loss_record(), value), losses)
    return losses, _where(first, alone, measured)


def _share_since_waking(
    woken: Int[Array, " layer"], step: Int[Array, ""], clock: Clock
) -> Float[Array, " layer"]:
    """Of its rate that a layer gets: none before its first gradient, then all of it or a rising share."""
    since = (step - woken) / (RISE * clock.total_steps)
    rising = jnp.clip(FIRST_SHARE + (1 - FIRST_SHARE) * since, FIRST_SHARE, 1.0)
    share = jnp.where(woken < clock.interval, 1.0, rising)
    return jnp.where(woken == ASLEEP, 0.0, share)


def _where(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
