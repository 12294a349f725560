"""What `control` cannot work with, said in one line."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ganno_jax.door.state import ControlState

_TRIED = 100  # updates of a direction, as long as they are all zero
_LARGEST_TRIED = 1_000_000  # parameters of a direction that is tried as it will be used
_MIGRATE = "state = ganno_jax.migrate(state, old_params, new_params, optimizer)"


def check_update(
    gradient: PyTree, params: PyTree | None, value: Any, extra: Mapping[str, Any]
) -> None:
    """What an update is given.

    Args:
      gradient: must have the structure and the shapes of the parameters.
      params: None where they were left out.
      value: the loss, a scalar; None where it was left out.
      extra: what else was given by name.

    Raises:
      ValueError: there are no parameters, the loss is no real scalar or has another name, or the gradients have
        another structure or shape, or are no floating numbers.
    """
    if params is None:
        raise ValueError("`update` needs the parameters: update(grads, state, params, value=loss).")
    if value is None and "loss" in extra:
        raise ValueError("the loss is given by the name `value`: update(..., value=loss).")
    if value is not None and jnp.ndim(value):
        raise ValueError(
            f"`value` must be one number, the mean loss; got shape {jnp.shape(value)}."
        )
    if value is not None and jnp.iscomplexobj(value):
        raise ValueError("`value` must be a real number; got a complex one: take its real part.")
    if jax.tree.structure(gradient) != jax.tree.structure(params):
        raise ValueError(
            f"the gradients have the structure {jax.tree.structure(gradient)}, the parameters "
            f"{jax.tree.structure(params)}."
        )
    keyed = jax.tree_util.tree_leaves_with_path(params)
    for g, (path, w) in zip(jax.tree.leaves(gradient), keyed, strict=True):
        if jnp.shape(g) != jnp.shape(w):
            raise ValueError(
                f"the gradient of {jax.tree_util.keystr(path)} has the shape {jnp.shape(g)}, the parameter "
                f"{jnp.shape(w)}."
            )
        if not jnp.issubdtype(jnp.result_type(g), jnp.floating):
            raise ValueError(
                f"gradients must be floating numbers; that of {jax.tree_util.keystr(path)} is {jnp.result_type(g)}."
            )


def check_state(state: Any, needed: ControlState) -> None:
    """Whether a state belongs to these layers, this horizon, this controller and this version of the library.

    Args:
      state: what an update is given.
      needed: shapes of one from `init`.

    Raises:
      ValueError: it does not; names what differs first.
    """
    if not isinstance(state, ControlState):
        raise ValueError(
            f"the state must be one of `control`, from its `init`; got {type(state).__name__}."
        )
    names, clock = needed.layer_names, needed.outline.clock
    if state.layer_names != names:
        raise ValueError(
            f"the state is for {len(state.layer_names)} layers, the parameters have {len(names)}: "
            f"{', '.join(sorted(set(state.layer_names) ^ set(names)))} differ. For a network that changed: "
            f"{_MIGRATE}."
        )
    before = state.outline.clock
    if before != clock:
        raise ValueError(
            f"the state is of a training of {before.total_steps} updates with {before.decisions} decisions, the "
            f"optimizer of one of {clock.total_steps} with {clock.decisions}: state = ganno_jax.extend(state, "
            f"total_steps={clock.total_steps})."
        )
    found, wanted = _shapes(state), _shapes(needed)
    for path in [*wanted, *found]:
        if found.get(path) != wanted.get(path):
            raise ValueError(
                f"the state is of another {_kind(state, needed)}: {path} is "
                f"{found.get(path, 'missing')}, needed is {wanted.get(path, 'none')}. To carry "
                f"on with what fits: {_MIGRATE}."
            )


def _kind(state: ControlState, needed: ControlState) -> str:
    """What a state that does not fit is of another."""
    before, now = state.outline.version, needed.outline.version
    if before == now:
        return "controller or direction"
    return f"version of the library, {before}, and here it is {now}"


def _shapes(tree: PyTree) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p): f"{list(jnp.shape(x))} of {x.dtype}" for p, x in leaves}


def check_params(params: PyTree) -> None:
    """Whether all leaves are real floating numbers.

    Raises:
      ValueError: one is not; it is named.
    """
    for path, w in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        try:
            dtype = jax.typeof(w).dtype
        except TypeError as error:
            raise ValueError(
                f"parameters must be arrays; {name} is {type(w).__name__}: give those that are trained, such as "
                "eqx.filter(model, eqx.is_inexact_array)."
            ) from error
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(
                "parameters must be real: wrap the optimizer in optax.contrib.split_real_and_imaginary."
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"parameters must be floating numbers; {name} is {dtype}: leave it out with optax.partition."
            )


def check_direction(direction: optax.GradientTransformation, params: PyTree) -> None:
    """Whether a direction has the sign of the gradient in every leaf.

    It is tried with a gradient and its opposite, so that decay, which both have, cancels: first on parameters of the
    same structure and tiny shapes, then, where those do not do and there are few, on their own shapes. Updates go on
    while they are all zero, as those of a whole optimizer are that accumulates or whose schedule begins at zero.

    Raises:
      ValueError: it goes against the gradient, as whole optimizers do, or its `update` takes no loss.
    """
    if not _takes_loss(direction):
        raise ValueError(
            "`direction` takes no `value` in its `update`, as optax.contrib.sam does not; put the controlled optimizer "
            "inside of it: optax.contrib.sam(ganno_jax.optimizer(...), ...)."
        )

    def ones(longest: float) -> PyTree:
        return jax.tree.map(
            lambda w: np.ones([min(n, longest) for n in jnp.shape(w)], jnp.result_type(w)), params
        )

    tried = [ones(2)]
    if sum(map(jnp.size, jax.tree.leaves(params))) <= _LARGEST_TRIED:
        tried.append(ones(math.inf))
    made = optax.with_extra_args_support(direction)
    with jax.ensure_compile_time_eval():
        for tree in tried:
            try:
                along = _along_gradient(made, tree)
            # A direction may need more than this trial has, such as larger matrices.
            except Exception:
                continue
            if min(along, default=0.0) < 0:
                raise ValueError(
                    "`direction` goes against the gradient, as a whole optimizer does; give one without a learning "
                    "rate, such as optax.scale_by_adam() for optax.adam(1e-3) and optax.trace(0.9) for "
                    "optax.sgd(0.1, 0.9)."
                )
            return


def _takes_loss(direction: optax.GradientTransformation) -> bool:
    """Whether an update may be handed the loss; Optax leaves it out for transformations without further arguments."""
    if not isinstance(direction, optax.GradientTransformationExtraArgs):
        return True
    taken = inspect.signature(direction.update).parameters.values()
    return any(p.name == "value" or p.kind is p.VAR_KEYWORD for p in taken)


def _along_gradient(
    direction: optax.GradientTransformationExtraArgs, params: PyTree
) -> list[float]:
    """How far the first update that is not zero goes along the gradient in each leaf; empty if nothing can be tried."""
    rng = np.random.default_rng(0)
    gradient = jax.tree.map(lambda w: rng.uniform(0.5, 1.5, w.shape).astype(w.dtype), params)

    def updated(side: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        def loss(w: PyTree, *_: Any, **__: Any) -> Array:  # for a line search
            return 1.0 + optax.tree.vdot(side, optax.tree.sub(w, params))

        return direction.update(side, state, params, value=1.0, grad=side, value_fn=loss)

    def both(states: list[PyTree]) -> tuple[list[Array], list[PyTree]]:
        up, up_state = updated(gradient, states[0])
        down, down_state = updated(jax.tree.map(np.negative, gradient), states[1])
        along = jax.tree.map(lambda u, d, g: jnp.sum((u - d) * g), up, down, gradient)
        return jax.tree.leaves(along), [up_state, down_state]

    found, states = both([direction.init(params)] * 2)  # most directions need no more
    if any(isinstance(x, jax.core.Tracer) for x in found):
        return []  # inside `jax.shard_map` nothing can be tried
    compiled = jax.jit(both)
    for _ in range(_TRIED - 1):
        if any(found):
            break
        found, states = compiled(states)
    return [float(x) for x in found]
