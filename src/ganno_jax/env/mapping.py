"""The map over trainings: the one place where a function of one training becomes one of a batch."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Int

from ganno_jax.platforms import platform

Mapping = Literal["vmap", "map", "auto"] | int
"""How trainings are computed: side by side, one after another, whichever suits the device, or so many at a time."""

AT_ONCE = 2**16
"""Numbers in the states of trainings that `auto` runs side by side on a CPU: 256 KiB of float32."""


def map_trainings(function: Callable[..., Any], mapping: Mapping, *arguments: Any) -> Any:
    """Apply a function of one training to a batch of them.

    Args:
      function: of one training.
      mapping: "vmap" runs all trainings in step, "map" one after another, an integer so many at a time.
        "auto" is `auto_mapping`.
      *arguments: pytrees with a leading training axis.

    Returns:
      What `function` returns, with a leading training axis. All mappings give the same values up to the order of
      float additions.
    """
    if mapping == "auto":
        mapping = auto_mapping(*arguments)
    if mapping == "vmap":
        return jax.vmap(function)(*arguments)
    batch_size = None if mapping == "map" else mapping
    size = jax.tree.leaves(arguments)[0].shape[0]
    if batch_size is not None and batch_size >= size:
        return jax.vmap(function)(*arguments)
    return jax.lax.map(lambda pack: function(*pack), arguments, batch_size=batch_size)


def advance_trainings(
    function: Callable[..., tuple[Any, Any]], mapping: Mapping, states: Any, *arguments: Any
) -> tuple[Any, Any]:
    """Apply a function that moves the state of one training to a batch of them, overwriting the old states.

    `map_trainings` would write the new states beside the old ones; here, unless all trainings run in step, memory
    holds one copy of them and the state of those that run at the moment.

    Args:
      function: (state, *arguments) of one training -> its new state, of the same shapes, and what else it gives.
      mapping: over trainings, see `map_trainings`.
      states: with a leading training axis.
      *arguments: further pytrees with a leading training axis.

    Returns:
      The new states, and the rest with a leading training axis.
    """
    if mapping == "auto":
        mapping = auto_mapping(states, *arguments)
    size = jax.tree.leaves(states)[0].shape[0]
    at_once = min(mapping, size) if isinstance(mapping, int) else 1 if mapping == "map" else size
    if at_once == size or size % at_once:
        return map_trainings(function, mapping, states, *arguments)
    together = jax.vmap(function) if at_once > 1 else function

    def cut(tree: Any) -> Any:
        shape = (size // at_once, at_once) if at_once > 1 else (size,)
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), tree)

    def joined(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), tree) if at_once > 1 else tree

    def one(states: Any, inputs: tuple[Int[jax.Array, ""], Any]) -> tuple[Any, Any]:
        number, rest = inputs
        state = jax.tree.map(
            lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), states
        )
        state, given = together(state, *rest)
        update = partial(jax.lax.dynamic_update_index_in_dim, index=number, axis=0)
        return jax.tree.map(lambda old, new: update(old, new), states, state), given

    states, given = jax.lax.scan(one, cut(states), (jnp.arange(size // at_once), cut(arguments)))
    return joined(states), joined(given)


def auto_mapping(*arguments: Any) -> Mapping:
    """The mapping that was fastest where it was measured (docs/performance.md).

    "vmap" on an accelerator. On a CPU "map" where a training has a convolution's kernel (an array of four axes),
    or where nothing shows its size (only keys and scalars); else as many trainings at a time as keep their states
    within `AT_ONCE` numbers, in equal chunks. Overhead per operation is then shared and the cache still holds them.

    Args:
      *arguments: pytrees with a leading training axis; only shapes matter.
    """
    if platform() != "cpu":
        return "vmap"
    leaves = jax.tree.leaves(arguments)
    trainings = leaves[0].shape[0]
    axes = max(leaf.ndim - 1 for leaf in leaves)
    numbers = sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    if axes >= 4 or axes == 0:
        return "map"
    most = max(1, AT_ONCE // numbers)
    at_once = max(n for n in range(1, min(most, trainings) + 1) if trainings % n == 0)
    return "map" if at_once == 1 else "vmap" if at_once == trainings else at_once
