"""The map over trainings and over devices: the one place where the batch of trainings is made."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
from jax.sharding import Mesh

AXIS = "trainings"
"""Name of the mesh axis over which trainings are split."""

Mapping = Literal["vmap", "map", "auto"] | int


def map_trainings(function: Callable[..., Any], mapping: Mapping, *arguments: Any) -> Any:
    """Apply a function of one training to a batch of them.

    Args:
      function: of one training.
      mapping: "vmap" runs all trainings in step, "map" one after another, an integer so many at a time.
        "auto" is "map" on a CPU, where a small network's working set then stays in the cache, else "vmap".
      *arguments: pytrees with a leading training axis.

    Returns:
      What `function` returns, with a leading training axis. All mappings give the same values up to the order of
      float additions.
    """
    if mapping == "auto":
        mapping = "map" if jax.default_backend() == "cpu" else "vmap"
    if mapping == "vmap":
        return jax.vmap(function)(*arguments)
    batch_size = None if mapping == "map" else mapping
    size = jax.tree.leaves(arguments)[0].shape[0]
    if batch_size is not None and batch_size >= size:
        return jax.vmap(function)(*arguments)
    return jax.lax.map(lambda pack: function(*pack), arguments, batch_size=batch_size)


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All devices in one axis over trainings."""
    return jax.make_mesh(
        (len(devices or jax.devices()),),
        (AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
    )
