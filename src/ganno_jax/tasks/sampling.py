"""Which examples come next: epochs, subsets and label noise as stateless functions of a counter.

Nothing here sorts, draws from a generator or keeps memory of the size of the data set: an epoch's
order is a pseudo-random permutation that is evaluated at single points, so trainings of one batched
program can have data sets of different (traced) sizes. All arithmetic is in 32 bits.

References:
  Swap-or-not: Hoang, Morris, Rogaway, "An enciphering scheme based on a card shuffle", CRYPTO 2012,
  arXiv:1208.1176. Finalizer of 32-bit MurmurHash3: Austin Appleby, public domain.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, Key, UInt32

NUM_ROUNDS = 24
"""Rounds of the shuffle.

A pair that no round has parted shows as an excess of fixed points and of neighbours that stay neighbours; each round
halves it. At 16 rounds it is visible from 60,000 examples on (125 fixed points in 60 epochs instead of 60), at 24 not
at 1,048,569.
"""
# Digits of pi: one stream per use.
_EPOCHS, _SUBSET, _NOISE, _VISIT = 0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344
_GOLDEN = 0x9E3779B9


def epoch_indices(
    position: Integer[Array, " batch"], num_examples: Int[Array, ""] | int, key: Key[Array, ""]
) -> Int[Array, " batch"]:
    """The examples at places `position` of an endless stream that reshuffles every epoch.

    Epoch `position // num_examples` visits every example exactly once, in an order of its own.

    Args:
      position: number of examples since the start of the training, in [0, 2^32) as uint32.
      num_examples: $n$, in [1, 2^31); traced or not.
      key: one per training; other uses of the same key in this module are independent of this one.

    Returns:
      Indices in `[0, num_examples)`.
    """
    position = jnp.asarray(position).astype(jnp.uint32)
    size = jnp.maximum(jnp.asarray(num_examples), 1).astype(jnp.uint32)
    epoch = position // size
    left, right = _seed(key, _EPOCHS)
    seed = (_mix(left ^ epoch), _mix(right + epoch * jnp.uint32(_GOLDEN)))
    return _swap_or_not(position - epoch * size, size, seed).astype(jnp.int32)


def batch_indices(
    step: Int[Array, ""] | int,
    batch_size: int,
    num_examples: Int[Array, ""] | int,
    key: Key[Array, ""],
) -> Int[Array, " batch"]:
    """Indices of the examples of inner step `step`; batches run on across the end of an epoch.

    `step * batch_size` must stay below 2^32.

    Args:
      step: of the training, from 0.
      batch_size: examples per step, >= 1.
      num_examples: of the training, >= 1; may be traced.
      key: of the training; the same key gives the same batches.

    Returns:
      In [0, num_examples).
    """
    first = jnp.asarray(step).astype(jnp.uint32) * jnp.uint32(batch_size)
    return epoch_indices(first + jnp.arange(batch_size, dtype=jnp.uint32), num_examples, key)


def subset(
    indices: Int[Array, " batch"], num_examples: Int[Array, ""] | int, key: Key[Array, ""]
) -> Int[Array, " batch"]:
    """The examples that the numbers `indices` of this training's own subset stand for.

    A permutation of all `num_examples`, fixed by `key`: its first `num_active` values are a random
    subset of that size, and a larger subset contains the smaller one. So a training on `num_active`
    (traced) of N examples reads `subset(batch_indices(step, batch, num_active, key), N, key)`, and its
    last values are examples that such a training never sees.

    Args:
      indices: in [0, num_active).
      num_examples: N, of the whole split; may be traced.
      key: of the training.

    Returns:
      In [0, num_examples), no two alike for two indices that differ.
    """
    size = jnp.maximum(jnp.asarray(num_examples), 1).astype(jnp.uint32)
    place = jnp.minimum(jnp.asarray(indices).astype(jnp.uint32), size - 1)
    return _swap_or_not(place, size, _seed(key, _SUBSET)).astype(jnp.int32)


def noisy_targets(
    targets: Int[Array, "batch ..."],
    indices: Int[Array, " batch"],
    noise_probability: Float[Array, ""] | float,
    num_classes: Int[Array, ""] | int,
    key: Key[Array, ""],
) -> Int[Array, "batch ..."]:
    """Replace some targets by a wrong class, the same one each time that an example is seen.

    Args:
      targets: class ids in `[0, num_classes)`; for sequences every place has noise of its own.
      indices: which examples these are, in the numbering of the whole split.
      noise_probability: chance of a target to be replaced, at most 1; below 0 is none.
      num_classes: the wrong class is uniform over the other `num_classes - 1`.
      key: one per training.
    """
    left, right = _seed(key, _NOISE)
    example = _mix(jnp.asarray(indices).astype(jnp.uint32) ^ left)
    example = example.reshape((-1,) + (1,) * (targets.ndim - 1))
    places = jnp.arange(targets[0].size, dtype=jnp.uint32).reshape(targets.shape[1:])
    bits = _mix((example + places * jnp.uint32(_GOLDEN)) ^ right)
    uniform = (bits >> 8).astype(jnp.float32) * jnp.float32(2**-24)
    others = jnp.asarray(num_classes, jnp.uint32) - 1
    offset = 1 + _below(_mix(bits ^ jnp.uint32(_GOLDEN)), others).astype(targets.dtype)
    wrong = (targets + offset) % jnp.asarray(num_classes, targets.dtype)
    return jnp.where(uniform < noise_probability, wrong, targets)


def visit_words(
    step: Int[Array, ""] | int, batch_size: int, key: Key[Array, ""]
) -> UInt32[Array, " batch"]:
    """A random word for each place of a step's batch; a smaller batch has the first ones of a larger one.

    Args:
      step: of the training, from 0.
      batch_size: number of words.
      key: one per training.
    """
    left, right = _seed(key, _VISIT)
    number = jnp.asarray(step).astype(jnp.uint32)
    left, right = _mix(left ^ number), _mix(right + number * jnp.uint32(_GOLDEN))
    return _mix(_mix(jnp.arange(batch_size, dtype=jnp.uint32) ^ left) ^ right)


def _swap_or_not(
    place: UInt32[Array, " batch"],
    size: UInt32[Array, ""],
    seed: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
    num_rounds: int = NUM_ROUNDS,
) -> UInt32[Array, " batch"]:
    r"""A pseudo-random permutation of `[0, size)`, evaluated at `place`.

    Round $r$ pairs $x$ with $K_r - x \bmod n$ and swaps the two if a hash of the pair says so.
    """
    left, right = seed

    # Not unrolled: the compiler would repeat all rounds in each of its kernels, most of the program of an env step.
    def one_round(number: Int[Array, ""], place: UInt32[Array, " batch"]):
        weyl = (2 * jnp.asarray(number, jnp.uint32) + 1) * jnp.uint32(_GOLDEN)
        mirror = _below(_mix(left + weyl), size)
        partner = jnp.where(mirror >= place, mirror - place, mirror - place + size)
        swap = _mix(jnp.maximum(place, partner) ^ (right + weyl)) >> 31
        return jnp.where(swap == 1, partner, place)

    return jax.lax.fori_loop(0, num_rounds, one_round, place)


def _seed(key: Key[Array, ""], stream: int) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    """Two words that depend on all words of a PRNG key of any implementation, and on the use."""
    left, right = jnp.uint32(stream), jnp.uint32(stream ^ _GOLDEN)
    words = jax.random.key_data(key)
    for number in range(words.shape[-1]):
        left = _mix(left ^ words[number])
        right = _mix(right + words[number]) ^ left
    return left, right


def _mix(word: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """MurmurHash3's finalizer: a bijection of 32-bit words in which each bit moves every other."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _below(word: UInt32[Array, "..."], bound: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A random word scaled to `[0, bound)`: the upper half of their 64-bit product."""
    high, low = word >> 16, word & 0xFFFF
    bound_high, bound_low = bound >> 16, bound & 0xFFFF
    middle = high * bound_low + (low * bound_low >> 16)
    carry = low * bound_high + (middle & 0xFFFF)
    return high * bound_high + (middle >> 16) + (carry >> 16)
