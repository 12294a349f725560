"""Devices: a mesh with one axis over trainings, and arrays on it and back."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

AXIS = "trainings"
"""Name of the mesh axis over which trainings are split."""


def padded_rows(count: int, mesh: Mesh) -> Int[np.ndarray, " row"]:
    """Numbers of `count` rows, and the first ones again until every device of the mesh gets equally many."""
    return np.arange(-(-count // mesh.size) * mesh.size) % count


def to_mesh(tree: Any, mesh: Mesh, *axes: str) -> Any:
    """Put arrays on all devices of a mesh, those of other processes too, which must give the same values.

    Args:
      tree: of arrays, typed keys and numbers.
      mesh: from `make_mesh`.
      *axes: how leading axes are split, such as `AXIS`; none of them where there are none.
    """
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                put(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, tree)


def to_host(tree: Any) -> Any:
    """Arrays of all trainings as host arrays; where some lie with other processes, all of these must call this."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All devices in one axis over trainings."""
    return jax.make_mesh(
        (len(devices or jax.devices()),),
        (AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
    )
