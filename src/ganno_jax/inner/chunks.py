"""Means over many examples, so many at a time, to bound the memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def mean_in_chunks(
    means_fn: Callable[[Int[Array, " example"]], tuple[Float[Array, ""], Float[Array, ""]]],
    num_examples: int,
    chunk: int | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Two means over the first `num_examples`, such as of loss and accuracy.

    Args:
      means_fn: means over the examples of these indices.
      num_examples: how many.
      chunk: so many at a time, what is left over after them; by default all at once.
    """
    chunk = min(chunk or num_examples, num_examples)
    num_chunks, num_left = divmod(num_examples, chunk)

    def one(start: Int[Array, ""] | int, size: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return means_fn(start + jnp.arange(size))

    if num_chunks == 1 and not num_left:
        return one(0, chunk)
    chunks = jax.lax.map(lambda start: one(start, chunk), jnp.arange(num_chunks) * chunk)
    left = one(num_examples - num_left, num_left) if num_left else (0.0, 0.0)
    first, second = (
        (chunk * jnp.sum(whole) + num_left * rest) / num_examples
        for whole, rest in zip(chunks, left, strict=True)
    )
    return first, second
