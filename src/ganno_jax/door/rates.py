"""A policy sets rate and forgetting of every layer under an Optax direction: measure, observe, decide, step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from ganno_jax.door.clock import Clock
from ganno_jax.env.features import FEATURES
from ganno_jax.env.observation import Observation, observe
from ganno_jax.env.observation_memory import ObservationMemory, empty_memory
from ganno_jax.inner.example_statistics import (
    ExampleLossFn,
    example_features,
    example_features_by_layer,
)
from ganno_jax.inner.hyperparameters import LayerHyperparameters, as_hyperparameters, forget
from ganno_jax.inner.layers import LayerMap, apply_rates
from ganno_jax.inner.statistics import (
    LayerRecord,
    LossRecord,
    empty_layer_record,
    empty_loss_record,
    record_layers,
    record_loss,
    summarize,
)
from ganno_jax.policies.base import Policy, sets_of, shown

WITHOUT_LOSS = {
    "loss_level": 0.0,
    "loss_gain": 0.0,
    "loss_change": 0.0,
    "loss_trend": 0.0,
    "loss_excess": 0.0,
    "loss_spread": -0.5,
    "loss_peak": 0.0,
    "loss_slope": 0.0,
    "first_pass": 0.0,
    "memorized": 0.0,
}
"""What agents see of the loss where there is none: a loss of 1 that scatters by a tenth and goes nowhere."""


ASLEEP = 2**31 - 1
FIRST_SHARE, RISE = 0.1, 0.1
"""A layer whose first gradient comes after the first interval starts at this share of its rate, and has the whole one
after this share of the training: moments and sizes of the other layers say nothing about it."""


class Decided(NamedTuple):
    """What a decision changes; nothing in it is as large as the parameters."""

    decision: Int[Array, ""]  # number of the next one
    rates: Float[Array, " layer"]
    forgetting: Float[Array, " layer"] | None  # None for a policy that sets rates alone
    features: Float[Array, "layer feature"]  # at the last decision, in the order of env.FEATURES
    shown: dict[str, Array]  # by the policy, at the last decision
    policy: Any  # the agents' memories
    memory: ObservationMemory
    losses: LossRecord
    measured: LayerRecord


class RatesState(NamedTuple):
    """State of `scale_by_policy`."""

    step: Int[Array, ""]
    rates_in_force: Float[
        Array, " layer"
    ]  # of the last update: those decided, less where there was trouble
    woken: Int[Array, " layer"]  # the step of a layer's first gradient; ASLEEP before it
    signed_loss: Bool[Array, ""]  # a loss below zero was seen, so that its logarithm says nothing
    examples: Float[Array, "layer 2"]  # features of the examples, at the end of the last interval
    decided: Decided
    direction: Any  # state of the wrapped direction


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
    Needs `squares=`, the squared norm of each layer's gradient; takes `value=`, the loss, and factors on
    the gradient and on all rates, `gradient_factor=` and `rate_factor=`.
    """

    def init(params: PyTree) -> RatesState:
        layers = find_layers(params)
        rates = jnp.full(layers.num_layers, initial_rate, jnp.float32)
        placeholder = _placeholder(rates, clock)
        state = policy.init(placeholder)
        decided = Decided(
            decision=jnp.zeros((), jnp.int32),
            rates=rates,
            forgetting=jnp.zeros_like(rates) if "forgetting" in sets_of(policy) else None,
            features=placeholder.features,
            shown=_zeros_like_shown(policy, state, placeholder),
            policy=state,
            memory=empty_memory(layers.num_layers, rates[0]),
            losses=empty_loss_record(),
            measured=empty_layer_record(params, layers),
        )
        return RatesState(
            step=jnp.zeros((), jnp.int32),
            rates_in_force=rates,
            woken=jnp.full(layers.num_layers, ASLEEP, jnp.int32),
            signed_loss=jnp.zeros((), bool),
            examples=jnp.zeros((layers.num_layers, 2), jnp.float32),
            decided=decided,
            direction=direction.init(params),
        )

    def update(
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
        layers = find_layers(params)
        with_loss = extra if value is None else {**extra, "value": value}

        def advance(factor: Float[Array, ""] | float) -> tuple[PyTree, tuple[PyTree, Any]]:
            # What branches need is computed in them once more: handed over, it would be written at every update.
            scaled = jax.tree.map(lambda g: jnp.asarray(factor, g.dtype) * g, gradient)
            return scaled, direction.update(scaled, state.direction, params, **with_loss)

        def record(measured: LayerRecord) -> LayerRecord:
            scaled, (updates, _) = advance(gradient_factor)
            return record_layers(measured, scaled, updates, layers)

        def window() -> tuple[LossRecord, LayerRecord]:
            """Of the interval that ends; before the first update, of that update alone."""
            first = state.step == 0
            losses, measured = state.decided.losses, state.decided.measured
            alone = record(optax.tree.zeros_like(measured))
            if value is not None:
                losses = _where(first, record_loss(empty_loss_record(), value), losses)
            return losses, _where(first, alone, measured)

        signed = state.signed_loss if value is None else state.signed_loss | (value < 0)
        state = state._replace(signed_loss=signed)
        examples = state.examples if example_losses_fn is not None else None
        decide = partial(
            _decide, policy, clock, initial_rate, steps_per_epoch, layers, params, state, examples
        )
        decided = jax.lax.cond(
            clock.is_due(state.decided.decision, state.step),
            lambda: _alike(decide(*window()), state.decided),
            lambda: state.decided,
        )
        in_measured = clock.is_measured(decided.decision, state.step, num_measured)
        measured = jax.lax.cond(in_measured, record, lambda measured: measured, decided.measured)
        losses = decided.losses if value is None else record_loss(decided.losses, value)

        woken = jnp.where((state.woken == ASLEEP) & (squares > 0), state.step, state.woken)
        share = _share_since_waking(woken, state.step, clock)
        rates = decided.rates * rate_factor * share
        decays = None if weight_decay is None else jnp.full(layers.num_layers, weight_decay)
        # Once the record is made: else the direction's state would be copied for the record to read it.
        after = jnp.where(measured.count >= 0, gradient_factor, 0.0)
        _, (updates, direction_state) = advance(after)
        updates = apply_rates(updates, layers, rates, params, decays)
        if decided.forgetting is not None:
            forgotten = forget(params, layers, decided.forgetting * share, clock.total_steps)
            updates = jax.tree.map(jnp.add, updates, forgotten)
        if example_losses_fn is not None:
            by_layer = getattr(policy, "by_layer", False)
            features = example_features_by_layer if by_layer else example_features
            examples = jax.lax.cond(
                state.step == clock.start(decided.decision) - 1,
                lambda: features(example_losses_fn, params, updates, layers),
                lambda: state.examples,
            )
        return updates, RatesState(
            step=state.step + 1,
            rates_in_force=decided.rates * rate_factor,
            woken=woken,
            signed_loss=signed,
            examples=state.examples if examples is None else examples,
            decided=decided._replace(losses=losses, measured=measured),
            direction=direction_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _decide(
    policy: Policy,
    clock: Clock,
    initial_rate: float,
    steps_per_epoch: float,
    layers: LayerMap,
    params: PyTree,
    state: RatesState,
    examples: Float[Array, "layer 2"] | None,
    losses: LossRecord,
    measured: LayerRecord,
) -> Decided:
    """Observe what the interval showed, and let the policy choose new rates."""
    before = state.decided
    summary = summarize(losses, measured, params, layers).replace(example_features=examples)
    memory, observation = observe(
        before.memory,
        summary,
        LayerHyperparameters(state.rates_in_force, before.forgetting),
        jnp.asarray(initial_rate, jnp.float32),
        state.step,
        jnp.int32(clock.total_steps),
        layers,
        clock.interval,
        steps_per_epoch,
    )
    has_loss = (losses.count > 0) & ~state.signed_loss
    features = jnp.where(has_loss, observation.features, _without_loss(observation.features))
    observation = observation.replace(features=features)
    key = jax.random.key(0)
    policy_state, decision = policy.act(before.policy, observation, key)
    chosen = as_hyperparameters(decision)
    rates = chosen.rates
    if rates.shape != before.rates.shape:
        raise ValueError(
            f"a policy must give one rate for each of the {layers.num_layers} layers here; got shape {rates.shape}."
        )
    return Decided(
        decision=before.decision + 1,
        rates=rates,
        forgetting=chosen.forgetting,
        features=features,
        shown=shown(policy, before.policy, observation, key),
        policy=policy_state,
        memory=memory,
        losses=empty_loss_record(),
        measured=optax.tree.zeros_like(before.measured),
    )


def _share_since_waking(
    woken: Int[Array, " layer"], step: Int[Array, ""], clock: Clock
) -> Float[Array, " layer"]:
    """Of its rate that a layer gets: none before its first gradient, then all of it or a rising share."""
    since = (step - woken) / (RISE * clock.total_steps)
    rising = jnp.clip(FIRST_SHARE + (1 - FIRST_SHARE) * since, FIRST_SHARE, 1.0)
    share = jnp.where(woken < clock.interval, 1.0, rising)
    return jnp.where(woken == ASLEEP, 0.0, share)


def _without_loss(features: Float[Array, "layer feature"]) -> Float[Array, "layer feature"]:
    columns = jnp.asarray([FEATURES.index(name) for name in WITHOUT_LOSS])
    return features.at[:, columns].set(jnp.asarray(list(WITHOUT_LOSS.values())))


def _where(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _alike(new: Decided, old: Decided) -> Decided:
    """With the types of the other branch, whatever `jax_enable_x64` and `jax.shard_map` made of them."""
    return jax.tree.map(lambda a, b: jnp.where(True, a, b).astype(b.dtype), new, old)


def _zeros_like_shown(policy: Policy, state: Any, observation: Observation) -> dict[str, Array]:
    shapes = jax.eval_shape(lambda: shown(policy, state, observation, jax.random.key(0)))
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def _placeholder(rates: Float[Array, " layer"], clock: Clock) -> Observation:
    """Something of the shape of an observation, before there is one."""
    num_layers = rates.shape[0]
    return Observation(
        features=jnp.zeros((num_layers, len(FEATURES)), jnp.float32),
        mask=jnp.ones(num_layers, bool),
        rates=rates,
        largest_relative_steps=jnp.ones(num_layers, jnp.float32),
        initial_rate=rates[0],
        loss=jnp.zeros((), jnp.float32),
        step=jnp.zeros((), jnp.int32),
        total_steps=jnp.int32(clock.total_steps),
        interval=clock.interval,
    )
