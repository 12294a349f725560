"""Streams of random numbers: what is drawn for one purpose is never drawn for another, whatever the seeds."""

import zlib

import jax
from jaxtyping import PRNGKeyArray


def stream(seed: int, purpose: str) -> PRNGKeyArray:
    """The key for a purpose, such as "tuning", of everything with this seed.

    Adding numbers to a seed would not do: with seeds 0 and 1 one run would tune on what the other reports.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
