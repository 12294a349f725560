"""A trained controller as an Optax transformation: one line in anybody's training loop."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ganno_jax.controllers import Controller, checked
from ganno_jax.door import (
    back_off,
    limit_gradients,
    scale_by_policy,
    skip_not_finite,
    usual_unit,
)
from ganno_jax.door.checks import check_direction, check_state, check_update
from ganno_jax.door.clock import Clock
from ganno_jax.door.meshes import (
    layout_of,
    mean_over,
    names_of,
    on_devices_of,
    over_explicit_mesh,
)
from ganno_jax.door.state import ControlState, Outline
from ganno_jax.inner import layers as layer_maps
from ganno_jax.inner.directions import Direction
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.splits import Layout, off_meshes, whole_shapes
from ganno_jax.inner.stacks import stacks_by_metadata

Layers = str | Callable[[tuple[str, ...]], str] | PyTree


def control(
    direction: optax.GradientTransformation | Direction,
    controller: Controller,
    total_steps: int,
    *,
    initial_rate: float = 1e-3,
    steps_per_epoch: float | None = None,
    weight_decay: float | None = None,
    decay_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
    layers: Layers = "module",
    stacked: Mapping[str, int] | None = None,
    specs: PyTree | None = None,
    every: int | None = None,
    num_measured: int = 2,
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
      direction: an Optax transformation without a learning rate or decoupled weight decay, such as `optax.trace(0.9)`
        or `optax.scale_by_adam()`, or a `Direction`.
      controller: from `ganno_jax.load`, or a trained one.
      total_steps: updates that the training will take; afterwards the rates stay as they were. Under
        `optax.MultiSteps` those of the whole batches.
      initial_rate: what the controller starts from, > 0. Controllers with compounding actions depend on it.
      steps_per_epoch: updates in which the training examples are seen once, > 0. Controllers that set forgetting let
        more be forgotten where examples are seen often; without it they take the training for one pass.
      weight_decay: decoupled, per unit of rate, >= 0; by default that of a `Direction`, else none. In a chain with
        `optax.add_decayed_weights` it would count as part of the direction's size.
      decay_mask: which leaves decay, a tree of booleans or a function of the parameters that gives one, as in
        `optax.add_decayed_weights`; by default the matrices.
      layers: "module" (by module path), a function of a leaf's path that names its layer, or a tree of labels as for
        `optax.multi_transform`.
      stacked: number of leading axes that count layers, by the beginning of the path, such as
        `{"decoder/layers": 1}` for parameters `[layer, ...]` from `nn.scan` or for `lax.scan`; each slice has its rate.
        By default those whose Flax metadata names a leading axis of layers, as `nn.scan` does for `nn.Partitioned`.
      specs: inside `jax.shard_map`, where parameters are split: their `PartitionSpec`s, as for its `in_specs`. Norms,
        sizes and the directions of `Direction` are then those of the whole parameters. Not needed otherwise.
      every: updates per decision; by default as many decisions as the controller was trained with.
      num_measured: updates at the end of each interval in which per-layer statistics are taken, >= 1; the agreement
        of successive gradients needs 2.
      safety: skip updates that are not finite, shorten gradients and lower rates at outliers, and measure losses of an
        unusual unit in a usual one (`ganno_jax.door`). False leaves out all of that.

    Returns:
      A transformation whose `update` needs `params` and should have `value=`, the training loss of the gradients:
      without it the agents see nothing of the loss. On several devices results are those of one device: parameters and
      gradients may be split over a mesh, or stand inside `jax.shard_map` with `specs`; there, average the gradients
      of parameters that are whole.

    Raises:
      ValueError: settings that cannot work; at `init` or `update`: complex parameters, a direction that already steps
        downhill, missing `params` or, for a step-size controller, `example_losses_fn`; a `value` that is no scalar;
        gradients, labels or a state that do not fit the parameters.
    """
    checked(controller)
    # Else numbers may be traced, as `optax.inject_hyperparams` makes them.
    clock = Clock(total_steps, controller.decisions, every)
    if not (isinstance(num_measured, int | np.integer) and num_measured >= 1):
        raise ValueError(f"`num_measured` must be a whole number, at least 1; got {num_measured}.")
    if isinstance(initial_rate, float | int) and initial_rate <= 0:
        raise ValueError(f"`initial_rate` must be positive; got {initial_rate}.")
    if steps_per_epoch is not None and not 0 < steps_per_epoch < math.inf:
        raise ValueError(f"`steps_per_epoch` must be positive; got {steps_per_epoch}.")
    if isinstance(direction, Direction):
        weight_decay = direction.decoupled_decay if weight_decay is None else weight_decay
    if isinstance(weight_decay, float | int) and weight_decay == 0:
        weight_decay = None
    policy = off_meshes(controller.policy)

    def built(params: PyTree) -> _Built:
        """What depends on how the parameters are split and stacked."""
        layout = layout_of(params, specs)
        stacks = stacks_by_metadata(params) if stacked is None else stacked
        find_layers = partial(_find_layers, layers, stacks, decay_mask, layout)
        made = direction
        if isinstance(made, Direction):
            made = made.transformation(stacks, layout)
        transformation = scale_by_policy(
            optax.with_extra_args_support(made),
            policy,
            clock,
            find_layers,
            initial_rate=initial_rate,
            weight_decay=weight_decay,
            num_measured=num_measured,
            steps_per_epoch=steps_per_epoch or 0.0,
        )
        if safety:
            transformation = back_off(transformation, clock.interval)
            transformation = usual_unit(limit_gradients(transformation))
            # From a finite gradient our own directions are finite.
            transformation = skip_not_finite(
                transformation,
                check_updates=not isinstance(direction, Direction),
                over=names_of(layout),
            )
        return _Built(made, find_layers, transformation, layout)

    def init(params: PyTree) -> ControlState:
        params = _in_full_precision(params)
        check_direction(built(params).direction, params)
        return started(params)

    def started(params: PyTree) -> ControlState:
        made = built(params)
        outline = Outline(made.find_layers(params).names, clock)
        state = ControlState(outline, made.transformation.init(params))
        return on_devices_of(params, state, made.layout)

    def step(
        gradient: PyTree, state: ControlState, params: PyTree, value: Array | None, extra: dict
    ) -> tuple[PyTree, ControlState]:
        made = built(params)
        check_state(state, jax.eval_shape(started, _in_full_precision(params)))

        def one(
            gradient: PyTree, state: ControlState, params: PyTree, value: Array | None, extra: dict
        ) -> tuple[PyTree, ControlState]:
            wide = _in_full_precision(params)
            gradient = jax.tree.map(lambda g, w: g.astype(w.dtype), gradient, wide)
            squares = layer_maps.squared_norms(gradient, made.find_layers(wide))
            if value is not None:
                value = mean_over(jnp.asarray(value, jnp.float32), names_of(made.layout))
            updates, parts = made.transformation.update(
                gradient, state.parts, wide, squares=squares, value=value, **extra
            )
            updates = jax.tree.map(lambda u, w: u.astype(jnp.asarray(w).dtype), updates, params)
            return updates, state._replace(parts=parts)

        return over_explicit_mesh(one, (params, state), gradient, state, params, value, extra)

    compiled = jax.jit(step)

    def update(
        gradient: PyTree,
        state: ControlState,
        params: PyTree | None = None,
        *,
        value: Array | float | None = None,
        **extra: Any,
    ) -> tuple[PyTree, ControlState]:
        check_update(gradient, params, value)
        if value is not None:  # of one type, so that numbers of Python do not compile anew
            value = jnp.asarray(value, jnp.float32)
        arrays = all(
            isinstance(x, jax.Array | np.ndarray | int | float) for x in jax.tree.leaves(extra)
        )
        run = compiled if arrays else step
        return run(gradient, state, params, value, extra)

    return optax.GradientTransformationExtraArgs(init, update)


class _Built(NamedTuple):
    """A transformation for parameters that are split and stacked in one way."""

    direction: optax.GradientTransformation
    find_layers: Callable[[PyTree], LayerMap]
    transformation: optax.GradientTransformationExtraArgs
    layout: Layout | None


def _find_layers(
    layers: Layers,
    stacked: Mapping[str, int] | None,
    decay_mask: Any,
    layout: Layout | None,
    params: PyTree,
) -> LayerMap:
    if layout is not None:
        whole = whole_shapes(params, layout) if layout.by_hand else params
        found = _find_layers(layers, stacked, decay_mask, None, whole)
        return layer_maps.with_layout(found, params, layout)
    if isinstance(layers, str):
        if layers != "module":
            raise ValueError(
                f"`layers` must be 'module', a function or a label tree; got {layers!r}."
            )
        found = layer_maps.by_module(params, stacked)
    # A tree of labels first: a module of Equinox is a function too.
    elif callable(layers) and jax.tree.structure(layers) != jax.tree.structure(params):
        found = layer_maps.by_path(params, layers, stacked=stacked)
    else:
        found = layer_maps.by_labels(params, layers)
    if decay_mask is None:
        return found
    mask = decay_mask(params) if callable(decay_mask) else decay_mask
    whole = jax.tree.map(lambda keep, part: jax.tree.map(lambda _: bool(keep), part), mask, params)
    return found.replace(decayed=tuple(jax.tree.leaves(whole)))


def _in_full_precision(params: PyTree) -> PyTree:
    """Half-precision leaves as float32: moments and norms of squares underflow in float16."""
    return jax.tree.map(
        lambda w: jnp.asarray(w, jnp.promote_types(jnp.asarray(w).dtype, jnp.float32)), params
    )
