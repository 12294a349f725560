"""A trained controller as an Optax transformation: one line in anybody's training loop."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PyTree, Shaped

from ganno_jax.controllers import Controller, checked
from ganno_jax.env.observation import (
    FEATURES,
    Observation,
    ObservationMemory,
    empty_memory,
    observe,
)
from ganno_jax.inner import layers as layer_maps
from ganno_jax.inner.example_statistics import (
    ExampleLossFn,
    example_features,
    example_features_by_layer,
)
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
from ganno_jax.policies.agents import AgentPolicy, Ensemble
from ganno_jax.policies.base import Policy

Layers = str | Callable[[tuple[str, ...]], str] | PyTree


_DECIDED = ("rates", "actions", "features", "policy", "memory", "losses", "measured")
"""What a decision changes in the state; nothing in it is as large as the parameters."""


@struct.dataclass
class ControlState:
    """State of `control`. For logging: `layer_names`, `rates`, `actions`, `features`, `skipped`, `backoff`.

    The last decision's `rates` times `backoff` are in force; a skipped update changes nothing.
    """

    step: Int[Array, ""]  # updates seen, from the first one that was finite
    rates: Float[Array, " layer"]
    # Of the agents at the last decision; None for other policies.
    actions: Shaped[Array, "*member layer"] | None
    features: Float[Array, "layer feature"]  # at the last decision, in the order of env.FEATURES
    skipped: Int[Array, ""]  # updates skipped for a loss, gradient or direction that was not finite
    backoff: Float[Array, ""]  # factor on the rates, 1 unless there was trouble lately
    typical_loss: Float[Array, ""]  # running mean, to tell a spike
    direction: Any  # state of the wrapped direction
    policy: Any  # the agents' memories
    memory: ObservationMemory
    losses: LossRecord
    measured: LayerRecord
    gradient: PyTree  # of the last update, as it came
    examples: Float[Array, "layer 2"]  # features of the examples, at the end of the last interval
    layer_names: tuple[str, ...] = struct.field(pytree_node=False)


def control(
    direction: optax.GradientTransformation,
    controller: Controller,
    total_steps: int,
    *,
    initial_rate: float = 1e-3,
    layers: Layers = "module",
    every: int | None = None,
    num_measured: int = 2,
    spike: float = 4.0,
    safety: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """Let a controller set the learning rate of every layer.

    ```python
    optimizer = ganno_jax.control(optax.trace(0.9), ganno_jax.load("broad"), total_steps=10_000)
    updates, state = optimizer.update(grads, state, params, value=loss)
    ```

    A step-size controller (`policies.step_size`) also sees how the examples of the batch differ. It needs the loss of
    each, `[example]`, as a function of the parameters:

    ```python
    policy = Controller(StepSizePolicy(theta), decisions=1000)
    optimizer = ganno_jax.control(optax.trace(0.9), policy, total_steps=10_000)
    updates, state = optimizer.update(
        grads, state, params, value=loss, example_losses_fn=lambda p: losses(p, batch)
    )
    ```

    It is called at the end of each interval only, in one forward-mode pass along the update, or in one along each
    layer's update for a controller with `by_layer`.

    The observation is computed by the functions that the training env uses, from the same quantities.

    Args:
      direction: an Optax transformation without a learning rate, such as `optax.trace(0.9)` or
        `optax.scale_by_adam()`.
      controller: from `ganno_jax.load`, or a trained one.
      total_steps: updates that the training will take; afterwards the rates stay as they were. Under
        `optax.MultiSteps` those of the whole batches.
      initial_rate: what the controller starts from, > 0. Controllers with compounding actions depend on it.
      layers: "module" (by module path), a function of a leaf's path that names its layer, or a tree of labels as for
        `optax.multi_transform`.
      every: updates per decision; by default as many decisions as the controller was trained with.
      num_measured: updates at the end of each interval in which per-layer statistics are taken, >= 1; the agreement
        of successive gradients needs 2.
      spike: a loss above this many times its running mean halves the rates, which recover within an interval. Losses
        that can be 0 or negative have no spikes.
      safety: skip an update whose loss, gradient or direction is not finite, with the direction's state left as it
        was, and halve the rates as after a spike. False leaves out all of that; such updates are then passed on.

    Returns:
      A transformation whose `update` needs `params` and `value=` (the training loss of the gradients). Where parameters
      are split over devices inside `jax.shard_map`, norms are those of the parts; gradients that are averaged over
      devices, and parameters that are whole on each, are as on one device.

    Raises:
      ValueError: settings that cannot work; at `init` or `update`: missing `params`, `value` or, for a step-size
        controller, `example_losses_fn`; a `value` that is no scalar; gradients or labels that do not fit the
        parameters.
    """
    checked(controller)
    for name, count in {
        "total_steps": total_steps,
        "every": every,
        "num_measured": num_measured,
    }.items():
        if count is not None and not (isinstance(count, int | np.integer) and count >= 1):
            raise ValueError(f"`{name}` must be a whole number, at least 1; got {count}.")
    if initial_rate <= 0:
        raise ValueError(f"`initial_rate` must be positive; got {initial_rate}.")
    interval = max(1, total_steps // controller.decisions) if every is None else every
    measured_steps = min(num_measured, interval)
    policy = controller.policy
    direction = optax.with_extra_args_support(direction)

    def find_layers(params: PyTree) -> LayerMap:
        if isinstance(layers, str):
            if layers != "module":
                raise ValueError(
                    f"`layers` must be 'module', a function or a label tree; got {layers!r}."
                )
            return layer_maps.by_module(params)
        # A tree of labels first: a module of Equinox is a function too.
        if callable(layers) and jax.tree.structure(layers) != jax.tree.structure(params):
            return layer_maps.by_path(params, layers)
        return layer_maps.by_labels(params, layers)

    def init(params: PyTree) -> ControlState:
        layer_map = find_layers(params)
        num_layers = layer_map.num_layers
        rate = jnp.asarray(initial_rate, jnp.float32)
        rates = jnp.full(num_layers, rate)
        observation = _placeholder(rates, rate, total_steps, interval)
        state = ControlState(
            step=jnp.zeros((), jnp.int32),
            rates=rates,
            actions=_first_actions(policy, observation),
            features=observation.features,
            skipped=jnp.zeros((), jnp.int32),
            backoff=jnp.ones((), jnp.float32),
            typical_loss=jnp.zeros((), jnp.float32),
            direction=direction.init(params),
            policy=policy.init(observation),
            memory=empty_memory(num_layers, rate),
            losses=empty_loss_record(),
            measured=empty_layer_record(layer_map),
            gradient=jax.tree.map(jnp.zeros_like, params),
            examples=jnp.zeros((num_layers, 2), jnp.float32),
            layer_names=layer_map.names,
        )
        return _over_devices_of(params, state)

    def decide(
        state: ControlState,
        record_first: Callable[[], tuple[LossRecord, LayerRecord]],
        params: PyTree,
        layer_map: LayerMap,
        has_examples: bool,
    ) -> dict[str, Any]:
        """Close the interval (before the first step: one of that step alone), observe, choose new rates: `_DECIDED`."""
        losses, measured = jax.tree.map(
            lambda a, b: jnp.where(state.step == 0, a, b),
            record_first(),
            (state.losses, state.measured),
        )
        summary = summarize(losses, measured, params, layer_map)
        if has_examples:
            summary = summary.replace(example_features=state.examples)
        rate = jnp.asarray(initial_rate, jnp.float32)
        memory, observation = observe(
            state.memory, summary, state.rates, rate, state.step, jnp.int32(total_steps), layer_map, interval
        )  # fmt: skip
        policy_state, actions, rates = _act(policy, state.policy, observation)
        decided = {
            "rates": rates,
            "actions": actions,
            "features": observation.features,
            "policy": policy_state,
            "memory": memory,
            "losses": empty_loss_record(),
            "measured": empty_layer_record(layer_map),
        }
        # Whatever `jax_enable_x64` and `jax.shard_map` made of it: both branches of a decision give the same types.
        kept = {name: getattr(state, name) for name in _DECIDED}
        return jax.tree.map(
            lambda new, old: jnp.where(True, new, old).astype(old.dtype), decided, kept
        )

    def update(
        gradient: PyTree,
        state: ControlState,
        params: PyTree | None = None,
        *,
        value: Array | None = None,
        example_losses_fn: ExampleLossFn | None = None,
        **extra: Any,
    ) -> tuple[PyTree, ControlState]:
        if params is None:
            raise ValueError(
                "`update` needs the parameters: update(grads, state, params, value=loss)."
            )
        if value is None:
            raise ValueError(
                "`update` needs the training loss: update(grads, state, params, value=loss)."
            )
        if jnp.ndim(value):
            raise ValueError(
                f"`value` must be one number, the mean loss; got shape {jnp.shape(value)}."
            )
        if jax.tree.structure(gradient) != jax.tree.structure(params):
            raise ValueError(
                f"the gradients have the structure {jax.tree.structure(gradient)}, the parameters "
                f"{jax.tree.structure(params)}."
            )
        layer_map = find_layers(params)
        if state.rates.shape[-1] != layer_map.num_layers:
            raise ValueError(
                f"the state is for {state.rates.shape[-1]} layers, the parameters have "
                f"{layer_map.num_layers}."
            )
        loss = jnp.asarray(value, jnp.float32)
        healthy = jnp.isfinite(loss)
        if safety:
            healthy &= jnp.all(jnp.isfinite(layer_maps.squared_norms(gradient, layer_map)))
            loss = jnp.where(healthy, loss, state.typical_loss)

        def usable_gradient() -> PyTree:  # where it is read, so that it need not be written
            if not safety:
                return gradient
            return jax.tree.map(lambda g: jnp.where(healthy, g, 0), gradient)

        updates, direction_state = direction.update(
            usable_gradient(), state.direction, params, value=loss, **extra
        )
        if safety:
            # A direction can be infinite where the gradient is not, such as `log(g)` at zero.
            healthy &= jnp.all(jnp.isfinite(layer_maps.squared_norms(updates, layer_map)))
            updates = jax.tree.map(lambda u: jnp.where(healthy, u, 0), updates)
        # Branches that do nothing copy what they return: only small things may pass through them.
        previous = state.gradient

        def record(measured: LayerRecord) -> LayerRecord:
            before = jax.tree.map(jnp.nan_to_num, previous) if safety else previous
            return record_layers(measured, usable_gradient(), before, updates, layer_map)

        def record_first() -> tuple[LossRecord, LayerRecord]:
            return record_loss(empty_loss_record(), loss), record(empty_layer_record(layer_map))

        # Before a first whole update there is nothing to decide from.
        begun = (state.step > 0) | healthy if safety else jnp.ones((), bool)
        due = (state.step % interval == 0) & (state.step < total_steps) & begun
        decided = jax.lax.cond(
            due,
            lambda: decide(state, record_first, params, layer_map, example_losses_fn is not None),
            lambda: {name: getattr(state, name) for name in _DECIDED},
        )
        state = state.replace(**decided)
        in_measured = state.step % interval >= interval - measured_steps
        if safety:
            in_measured &= healthy
        measured = jax.lax.cond(in_measured, record, lambda measured: measured, state.measured)
        rates = state.rates
        backoff, typical, skipped = state.backoff, state.typical_loss, state.skipped
        if safety:
            spiked = (state.step > 0) & (loss > spike * typical) & (typical > 0)
            recovery = 2.0 ** (1.0 / interval)
            backoff = jnp.where(
                healthy & ~spiked,
                jnp.minimum(1.0, backoff * recovery),
                jnp.maximum(0.5 * backoff, 2.0**-10),
            )
            decay = jnp.where(state.step == 0, 0.0, 0.9)
            limited = jnp.where(spiked, spike * typical, loss)
            typical = jnp.where(healthy, decay * typical + (1 - decay) * limited, typical)
            skipped = skipped + ~healthy
            rates = rates * backoff * healthy
            # A skipped update leaves the direction's state (momenta, counters) as it was.
            direction_state = jax.tree.map(
                lambda new, old: jnp.where(healthy, new, old), direction_state, state.direction
            )
        updates = apply_rates(updates, layer_map, rates)
        if example_losses_fn is not None:
            by_layer = getattr(controller.policy, "by_layer", False)
            features = example_features_by_layer if by_layer else example_features
            examples = jax.lax.cond(
                healthy & (state.step % interval == interval - 1),
                lambda: features(example_losses_fn, params, updates, layer_map),
                lambda: state.examples,
            )
            state = state.replace(examples=examples)
        state = state.replace(
            step=state.step + begun.astype(jnp.int32),
            direction=direction_state,
            losses=jax.tree.map(
                lambda new, old: jnp.where(begun, new, old),
                record_loss(state.losses, loss),
                state.losses,
            ),
            measured=measured,
            gradient=jax.tree.map(lambda g, old: g.astype(old.dtype), gradient, state.gradient),
            backoff=backoff,
            typical_loss=typical,
            skipped=skipped,
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)


def _act(policy: Policy, state: Any, observation: Observation) -> tuple[Any, Any, Array]:
    """New state of a policy, the actions of agents, and rates."""
    key = jax.random.key(0)
    if not isinstance(policy, AgentPolicy | Ensemble):
        state, rates = policy.act(state, observation, key)
        return state, None, rates
    state, actions = policy.choose(state, observation, key)
    return state, actions, policy.rates(observation, actions)


def _first_actions(policy: Policy, observation: Observation) -> Any:
    """Zeros of the shape and type of the actions that `_act` gives."""
    if not isinstance(policy, AgentPolicy | Ensemble):
        return None
    shapes = jax.eval_shape(lambda: _act(policy, policy.init(observation), observation)[1])
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def _over_devices_of(params: PyTree, state: ControlState) -> ControlState:
    """A copy of the state, which varies over devices where parameters do (inside `jax.shard_map`).

    No buffer stands in it twice, so that it can be donated.
    """
    nothing = jnp.sum(jnp.ravel(jax.tree.leaves(params)[0])[:0])  # zero, made of parameters

    def copied(x: Array) -> Array:
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.number):
            return jnp.copy(x)
        return x + nothing.astype(x.dtype)

    return jax.tree.map(copied, state)


def _placeholder(
    rates: Float[Array, " layer"], rate: Float[Array, ""], total_steps: int, interval: int
) -> Observation:
    """Something of the shape of an observation, before there is one."""
    num_layers = rates.shape[0]
    return Observation(
        features=jnp.zeros((num_layers, len(FEATURES)), jnp.float32),
        mask=jnp.ones(num_layers, bool),
        rates=rates,
        largest_relative_steps=jnp.ones(num_layers, jnp.float32),
        initial_rate=rate,
        loss=jnp.zeros((), jnp.float32),
        step=jnp.zeros((), jnp.int32),
        total_steps=jnp.int32(total_steps),
        interval=interval,
    )
