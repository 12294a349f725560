"""A training whose network or controller changes on the way."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ganno_jax.door.state import ControlState
from ganno_jax.inner.layer_names import path_names


def migrate(
    state: Any,
    old_params: PyTree,
    new_params: PyTree,
    optimizer: optax.GradientTransformation,
) -> Any:
    """The state of a training whose parameters were grown, pruned, added or left out, or whose controller is another.

    ```python
    state = ganno_jax.migrate(state, old_params, new_params, optimizer)
    ```

    Moments stay where both shapes have an entry, from the start of each axis, and are zero elsewhere; numbers of a
    layer stay where a layer of that name is in both. A layer without a past starts slowly, as a late one does, at the
    initial rate until the next decision. What does not fit, such as memories of another controller, is as at `init`.

    Args:
      state: of the optimizer; that of `control` may stand anywhere in it.
      old_params: whose state it is, or their shapes.
      new_params: what is trained from now on.
      optimizer: for the new parameters. Its `total_steps` may differ; then `ganno_jax.extend` comes after.

    Raises:
      ValueError: the state holds another number of `control`s than the optimizer's.
    """
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(
            "`optimizer` must be the Optax transformation for the new parameters; got "
            f"{type(optimizer).__name__}."
        )
    fresh = optimizer.init(new_params)
    old_nodes, nodes = (jax.tree.leaves(x, is_leaf=_is_ours) for x in (state, fresh))
    counts = [sum(map(_is_ours, x)) for x in (old_nodes, nodes)]
    if counts[0] != counts[1] or not counts[0]:
        raise ValueError(
            f"the state holds {counts[0]} states of `control`, the optimizer makes {counts[1]}; both must hold as many."
        )
    owned = {path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(old_params)}
    owned &= {path_names(path) for path, _ in jax.tree_util.tree_leaves_with_path(new_params)}
    before = {
        jax.tree_util.keystr(path): node
        for path, node in jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_ours)
    }

    def one(path: tuple[Any, ...], node: Any) -> Any:
        old = before.get(jax.tree_util.keystr(path))
        if _is_ours(node):
            if not _is_ours(old):
                raise ValueError(
                    f"`control` stands at another place: the optimizer has it at {jax.tree_util.keystr(path)}."
                )
            return _one_control(old, node, owned)
        return node if old is None else _kept(path_names(path), old, node, owned)

    return jax.tree_util.tree_map_with_path(one, fresh, is_leaf=_is_ours)


def _is_ours(x: Any) -> bool:
    return isinstance(x, ControlState)


def _one_control(
    old: ControlState, fresh: ControlState, owned: set[tuple[str, ...]]
) -> ControlState:
    names, new_names = old.layer_names, fresh.layer_names
    pairs = [(names.index(n), i) for i, n in enumerate(new_names) if n in names]
    before = {
        jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(old.parts)
    }

    def one(path: tuple[Any, ...], new: Array) -> Array:
        key = jax.tree_util.keystr(path)
        found = before.get(key)
        if found is None or found.dtype != new.dtype or (names != new_names and ".measured" in key):
            return new  # what was measured of a window is of the whole network
        # Moments first: their axes may be as long as there are layers.
        if not any(_ends_with(path_names(path), name) for name in owned) and names != new_names:
            axis = _layer_axis(found.shape, new.shape, len(names), len(new_names))
            if axis is not None:
                sources, targets = np.array(pairs, int).reshape(-1, 2).T
                rows = jnp.take(found, sources, axis)
                return new.at[(slice(None),) * axis + (targets,)].set(rows)
        return _kept(path_names(path), found, new, owned)

    parts = jax.tree_util.tree_map_with_path(one, fresh.parts)
    return ControlState(fresh.outline.replace(clock=old.outline.clock), parts)


def _layer_axis(
    old: tuple[int, ...], new: tuple[int, ...], num_old: int, num_new: int
) -> int | None:
    """The axis of an array that counts layers; the first where several could."""
    for axis in range(len(old)):
        as_new = (*old[:axis], num_new, *old[axis + 1 :])
        if old[axis] == num_old and as_new == new:
            return axis
    return None


def _kept(path: tuple[str, ...], old: Array, new: Array, owned: set[tuple[str, ...]]) -> Array:
    """An array as it was; of what is like a parameter the part that both shapes have."""
    old, new = jnp.asarray(old), jnp.asarray(new)
    if old.dtype != new.dtype or old.ndim != new.ndim:
        return new
    if old.shape == new.shape:
        return old
    if not any(_ends_with(path, name) for name in owned):
        return new
    common = tuple(slice(min(m, n)) for m, n in zip(old.shape, new.shape, strict=True))
    return new.at[common].set(old[common])


def _ends_with(path: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return path[-len(end) :] == end
