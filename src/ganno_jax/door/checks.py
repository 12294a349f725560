"""What `control` cannot work with, said in one line."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ganno_jax.door.state import ControlState

_TRIED = 3  # updates of a direction
_MIGRATE = "state = ganno_jax.migrate(state, old_params, new_params, optimizer)"


def check_update(gradient: PyTree, params: PyTree | None, value: Any) -> None:
    """What an update is given.

    Args:
      gradient: must have the structure of the parameters.
      params: None where they were left out.
      value: the loss, a scalar; None where it was left out.

    Raises:
      ValueError: there are no parameters, the loss is no scalar, or the gradients have another structure.
    """
    if params is None:
        raise ValueError("`update` needs the parameters: update(grads, state, params, value=loss).")
    if value is not None and jnp.ndim(value):
        raise ValueError(
            f"`value` must be one number, the mean loss; got shape {jnp.shape(value)}."
        )
    if jax.tree.structure(gradient) != jax.tree.structure(params):
        raise ValueError(
            f"the gradients have the structure {jax.tree.structure(gradient)}, the parameters "
            f"{jax.tree.structure(params)}."
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


def check_direction(direction: optax.GradientTransformation, params: PyTree) -> None:
    """Whether a direction has the sign of the gradient, tried on parameters of the same structure and tiny shapes.

    Its first updates are tried, since a whole optimizer whose schedule warms up from zero begins with one of zero.

    Raises:
      ValueError: it goes against the gradient, as whole optimizers do; parameters are complex.
    """
    leaves = jax.tree.leaves(params)
    if any(jnp.iscomplexobj(w) for w in leaves):
        raise ValueError(
            "parameters must be real: wrap the optimizer in optax.contrib.split_real_and_imaginary."
        )
    tiny = jax.tree.map(lambda w: np.ones([min(n, 2) for n in w.shape], w.dtype), params)
    with jax.ensure_compile_time_eval():
        try:
            made = optax.with_extra_args_support(direction)
            found = [_first_updates(made, _scaled(tiny, s), tiny) for s in (1.0, -1.0)]
        except Exception:  # a direction may need more than this trial has, such as larger matrices
            return
        if any(isinstance(u, jax.core.Tracer) for u in jax.tree.leaves(found)):
            return  # inside `jax.shard_map` nothing can be tried
        sums = [[sum(float(np.sum(u)) for u in jax.tree.leaves(x)) for x in one] for one in found]
    up, down = (next((total for total in one if total != 0), 0.0) for one in sums)
    if up < 0 < down:
        raise ValueError(
            "`direction` goes against the gradient, as a whole optimizer does; give one without a learning rate, "
            "such as optax.scale_by_adam() for optax.adam(1e-3) and optax.trace(0.9) for optax.sgd(0.1, 0.9)."
        )


def _first_updates(
    direction: optax.GradientTransformationExtraArgs, gradient: PyTree, params: PyTree
) -> list[PyTree]:
    """What a direction makes of the same gradient, again and again."""
    state, updates = direction.init(params), []
    for _ in range(_TRIED):
        update, state = direction.update(gradient, state, params, value=1.0)
        updates.append(update)
    return updates


def _scaled(tree: PyTree, factor: float) -> PyTree:
    return jax.tree.map(lambda w: (factor * w).astype(w.dtype), tree)
