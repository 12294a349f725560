"""How many parameters of a layer are in use, where units of a network are masked."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganno_jax.inner.layers import LayerMap


def sizes_in_use(params: PyTree, layers: LayerMap) -> Float[Array, " layer"]:
    """Parameters per layer of a network with masked units, without those of the masked ones.

    Weights into and out of a masked unit are zero from the start and stay so, unlike any others. Of a leaf with one
    number per unit, such as a bias, those are in use whose unit has weights that are not zero. A layer whose weights
    are all zero, as some last layers start, counts whole.
    """
    leaves = jax.tree.leaves(params)
    return jnp.stack([_in_use([leaves[i] for i in group]) for group in layers.leaves])


def _in_use(leaves: Sequence[Array]) -> Float[Array, ""]:
    kernels = [x != 0 for x in leaves if jnp.ndim(x) > 1]
    units = {x.shape[-1]: jnp.any(x, axis=tuple(range(x.ndim - 1))) for x in kernels}
    flags = [*kernels]
    for x in leaves:
        if jnp.ndim(x) <= 1:
            there = units.get(jnp.size(x))
            flags.append(jnp.ones(jnp.shape(x), bool) if there is None else there)
    count = sum(jnp.sum(x, dtype=jnp.float32) for x in flags)
    whole = float(sum(jnp.size(x) for x in leaves))
    any_weight = jnp.any(jnp.stack([jnp.any(x) for x in kernels])) if kernels else False
    return jnp.where(any_weight, count, whole)
