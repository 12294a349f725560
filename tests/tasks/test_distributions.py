"""What the numbers of a family are drawn from."""

import jax
import numpy as np
import pytest

from ganno_jax.tasks.distributions import Choice, Constant, LogUniform, Uniform

from ..probes import quick_jit
from .test_family import KEY, KEYS


@pytest.mark.parametrize(
    "make",
    [lambda: LogUniform(0.0, 1.0), lambda: LogUniform(2.0, 1.0), lambda: Uniform(0.0, np.inf)],
)
def test_bounds_that_are_none_are_refused(make):
    with pytest.raises(ValueError, match="low <= high, both finite; got"):
        make()


@pytest.mark.parametrize(
    "distribution, low, high",
    [
        (Constant(0.3), 0.3, 0.3),
        (Uniform(0.5, 2.0), 0.5, 2.0),
        (LogUniform(1e-5, 3.0), 1e-5, 3.0),
        (Choice((0.1, 0.2, 0.4)), 0.1, 0.4),
    ],
)
def test_draws_lie_between_the_bounds(distribution, low, high):
    draws = np.asarray(quick_jit(jax.vmap(distribution.sample))(KEYS))
    assert draws.min() >= np.float32(low) * (1 - 1e-6)
    assert draws.max() <= np.float32(high) * (1 + 1e-6)
    assert draws.std() > 0 or low == high


def test_a_log_uniform_draw_is_uniform_in_its_logarithm():
    draws = quick_jit(jax.vmap(LogUniform(1e-4, 1.0).sample))(jax.random.split(KEY, 4000))
    shares = np.histogram(np.log10(draws), bins=4, range=(-4, 0))[0] / 4000
    np.testing.assert_allclose(shares, 0.25, atol=0.03)  # four standard deviations
