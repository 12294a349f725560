"""A policy sets rate and forgetting of every layer under an Optax direction: measure, observe, decide, step."""

import dataclasses
from collections.abc import Callable
from functools import partial
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
from ganno_jax.policies.base import Policy, by_layer

FIRST_SHARE, RISE = 0.1, 0.1
"""A layer whose first gradient comes after the first interval starts at this share of its rate, and has the whole one
after this share of the training: moments and sizes of the other layers say nothing about it."""
LONGEST = 10.0
"""A layer whose gradient is more than so many times as long as all that the last decision knew of steps as far as one
so long would: its rate was set for short ones."""


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

    A layer neither moves nor decays before its first gradient, and starts slowly where that comes late. After the first
    interval, a gradient far above all that the last decision knew of the layer gives a shorter step. Where no layer had
    a gradient in the first updates, the training begins at the last decision that they passed, so that the schedule
    still comes to its end.

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
      `example_losses_fn=` for a policy that sees examples, `flat_updates=`, the updates without any gradient that were
      left out before the first, and factors on the gradient and on all rates, `gradient_factor=` and `rate_factor=`.
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
            horizon=self.decider.clock.horizon,
            rates_in_force=decided.rates,
            forgetting_in_force=decided.forgetting,
            woken=jnp.full(layers.num_layers, ASLEEP, jnp.int32),
            largest_squares=jnp.zeros(layers.num_layers, jnp.float32),
            signed_loss=jnp.zeros((), jnp.int32),
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
        flat_updates: Int[Array, ""] | int = 0,
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
            _, (updates, _) = advance(gradient_factor)
            return record_layers(
                measured, gradient, updates, layers, factor=gradient_factor, squares=squares
            )

        signed = state.signed_loss if value is None else jnp.where(value < 0, 1, state.signed_loss)
        state = _after_flat(_on_horizon(state, clock), jnp.asarray(flat_updates, jnp.int32), clock)
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

        long = _share_of_long(squares, decided)
        wakes = ((state.woken == ASLEEP) & (squares > 0)) | (long < 1)
        woken = jnp.where(wakes, state.step, state.woken)
        # Once the record is made: else the direction's state would be copied for the record to read it.
        after = jnp.where(measured.count >= 0, gradient_factor, 0.0)
        share = _share_since_waking(woken, state.step, clock)
        rates = decided.rates * rate_factor * share
        forgetting = None if decided.forgetting is None else decided.forgetting * share
        _, (updates, direction_state) = advance(after)
        updates = self._scaled(updates, long * rates, forgetting, params, layers)
        if example_losses_fn is not None:
            examples = self._examples(example_losses_fn, state, decided, params, updates, layers)
        return updates, RatesState(
            step=state.step + 1,
            horizon=state.horizon,
            rates_in_force=rates,
            forgetting_in_force=forgetting,
            woken=woken,
            largest_squares=jnp.maximum(squares, state.largest_squares),
            signed_loss=signed,
            examples=state.examples if examples is None else examples,
            decided=decided._replace(losses=losses, measured=measured),
            direction=direction_state,
        )

    def _scaled(
        self,
        direction: PyTree,
        rates: Float[Array, " layer"],
        forgetting: Float[Array, " layer"] | None,
        params: PyTree,
        layers: LayerMap,
    ) -> PyTree:
        """The step along a direction with these rates, and what is forgotten."""
        decays = (
            None if self.weight_decay is None else jnp.full(layers.num_layers, self.weight_decay)
        )
        updates = apply_rates(direction, layers, rates, params, decays)
        if forgetting is None:
            return updates
        forgotten = forget(params, layers, forgetting, self.decider.clock.total_steps)
        return jax.tree.map(jnp.add, updates, forgotten)

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
        apart = by_layer(self.decider.policy)
        features = example_features_by_layer if apart else example_features
        return jax.lax.cond(
            state.step == self.decider.clock.start(decided.decision) - 1,
            lambda: features(loss_fn, params, updates, layers),
            lambda: state.examples,
        )


def _on_horizon(state: RatesState, clock: Clock) -> RatesState:
    """The state of another horizon under this one; in a longer training layers begin slowly, as late ones do.

    `ganno_jax.extend` asks for that, and so does a stored state that was loaded into the optimizer of another length.
    """
    before, now = state.horizon, clock.horizon
    is_other = (before.steps != now.steps) | (before.decisions != now.decisions)
    decision = jax.lax.cond(
        is_other, lambda: clock.num_before(state.step), lambda: state.decided.decision
    )
    slow = (now.steps > before.steps) & (state.woken != ASLEEP)
    return state._replace(
        horizon=jax.tree.map(partial(jnp.where, is_other), now, before),  # of the old one's types
        decided=state.decided._replace(decision=decision),
        woken=jnp.where(slow, state.step, state.woken),
    )


def _after_flat(state: RatesState, flat_updates: Int[Array, ""], clock: Clock) -> RatesState:
    """Before the first update, at the last decision that those without a gradient passed."""
    decision, step = jax.lax.cond(
        _nothing_seen(state),
        lambda: clock.last_decision(flat_updates),
        lambda: (state.decided.decision, state.step),
    )
    return state._replace(step=step, decided=state.decided._replace(decision=decision))


def _nothing_seen(state: RatesState) -> Bool[Array, ""]:
    """Whether there was no decision yet."""
    return state.decided.memory.count == 0


def _window(
    state: RatesState,
    value: Float[Array, ""] | None,
    record: Callable[[LayerRecord], LayerRecord],
) -> tuple[LossRecord, LayerRecord]:
    """Of the interval that ends; before the first update, of that update alone."""
    first = _nothing_seen(state)
    losses, before = state.decided.losses, state.decided.measured
    measured = jax.lax.cond(first, lambda: record(optax.tree.zeros_like(before)), lambda: before)
    if value is not None:
        alone = record_loss(empty_loss_record(), value)
        losses = jax.tree.map(lambda a, b: jnp.where(first, a, b), alone, losses)
    return losses, measured


def _share_since_waking(
    woken: Int[Array, " layer"], step: Int[Array, ""], clock: Clock
) -> Float[Array, " layer"]:
    """Of its rate that a layer gets: none before its first gradient, then all of it or, after the first interval, a
    rising share."""
    since = (step - woken) / (RISE * clock.total_steps)
    rising = jnp.clip(FIRST_SHARE + (1 - FIRST_SHARE) * since, FIRST_SHARE, 1.0)
    share = jnp.where(woken < clock.interval, 1.0, rising)
    return jnp.where(woken == ASLEEP, 0.0, share)


def _share_of_long(squares: Float[Array, " layer"], decided: Decided) -> Float[Array, " layer"]:
    """Of its step that a layer takes: less where its gradient is far above all that the decision in force knew of."""
    known = decided.largest_squares
    is_longer = (squares > LONGEST**2 * known) & (known > 0) & (decided.memory.count > 1)
    return jnp.where(is_longer, LONGEST * jnp.sqrt(known / squares), 1.0)
