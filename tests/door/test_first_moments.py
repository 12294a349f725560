"""First moments in half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax.door.first_moments import store_first_moments
from ganno_jax.inner import Direction

from .test_control import PARAMS, descend, toy_loss

DIRECTIONS = {
    "adam": optax.scale_by_adam(),
    "momentum": optax.trace(0.9),
    "muon": Direction("muon", momentum=0.95).transformation(),
}


def kept(state):
    """Dtypes of the leaves that have as many entries as a parameter."""
    sizes = {w.size for w in jax.tree.leaves(PARAMS)} - {1}
    return [x.dtype.name for x in jax.tree.leaves(state) if jnp.size(x) in sizes]


@pytest.mark.parametrize("name", DIRECTIONS)
def test_what_is_kept_is_rounded_and_nothing_else_changes(name):
    whole, half = DIRECTIONS[name], store_first_moments(DIRECTIONS[name], jnp.bfloat16)
    gradient = jax.grad(toy_loss)(PARAMS, jnp.linspace(-1, 1, 10).reshape(5, 2))
    state, other = whole.init(PARAMS), half.init(PARAMS)
    for _ in range(2):
        rounded = jax.tree.map(lambda x, y: y.astype(x.dtype), state, other)
        updates, state = whole.update(gradient, rounded, PARAMS)
        stored, other = half.update(gradient, other, PARAMS)
        jax.tree.map(np.testing.assert_array_equal, updates, stored)
    assert "bfloat16" in kept(other)
    if name == "adam":
        assert kept(other).count("float32") == kept(other).count("bfloat16")  # second moments


def test_an_optimizer_with_small_moments_trains_as_well_and_takes_fewer_bytes():
    ends, sizes = [], []
    for dtype in (None, jnp.bfloat16):
        optimizer = ganno_jax.optimizer(60, mu_dtype=dtype)
        (_, state), (losses, _) = descend(optimizer, PARAMS, 60)
        ends.append(float(losses[-1]))
        sizes.append(sum(x.nbytes for x in jax.tree.leaves(state.parts)))
    np.testing.assert_allclose(np.log(ends[1]), np.log(ends[0]), atol=0.3)
    assert sizes[1] < sizes[0]


def test_moments_of_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="`mu_dtype` must be a floating dtype"):
        ganno_jax.optimizer(10, mu_dtype=jnp.int8).init(PARAMS)
