"""Distributions of the numbers that tell one training problem from another. Their bounds are arrays."""

import math
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray


class Distribution(Protocol):
    """Something to draw one number from."""

    def sample(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One draw."""
        ...


@struct.dataclass
class Constant:
    """Always the same number."""

    value: float | Float[Array, "..."]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "..."]:
        """The number; `key` is not used."""
        del key
        return jnp.asarray(self.value, jnp.float32)


@struct.dataclass
class Uniform:
    """Uniform on `[low, high)`; a `ValueError` unless low <= high, finite."""

    low: float
    high: float

    def __post_init__(self):
        _require_range(self, -math.inf)

    def sample(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One draw."""
        return self.low + (self.high - self.low) * jax.random.uniform(key)


@struct.dataclass
class LogUniform:
    """The logarithm is uniform on `[log low, log high)`; a `ValueError` unless 0 < low <= high, finite."""

    low: float
    high: float

    def __post_init__(self):
        _require_range(self, 0.0)

    def sample(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One draw."""
        low, high = jnp.log(self.low), jnp.log(self.high)
        return jnp.exp(low + (high - low) * jax.random.uniform(key))


def _require_range(bounds: Uniform | LogUniform, above: float) -> None:
    """Check bounds that are numbers; inside of JAX they are traced or placeholders."""
    low, high = bounds.low, bounds.high
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return
    if not (above < low <= high < math.inf):
        needs = "" if above == -math.inf else f"{above:g} < "
        raise ValueError(
            f"{type(bounds).__name__} needs {needs}low <= high, both finite; got {low:g} and {high:g}."
        )


@struct.dataclass
class Choice:
    """One of a few numbers, each equally likely."""

    values: tuple[float, ...]

    def sample(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One draw."""
        values = jnp.asarray(self.values, jnp.float32)
        return values[jax.random.randint(key, (), 0, values.shape[0])]


@struct.dataclass
class WholeShares:
    """Independent whole numbers, each uniform on its `low..high` with both ends, as shares of `high`.

    For networks of random sizes as a `width`: numbers of filters within the largest network.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    def sample(self, key: PRNGKeyArray) -> Float[Array, " number"]:
        """One draw of each number."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        return jax.random.randint(key, high.shape, low, high + 1) / high.astype(jnp.float32)
