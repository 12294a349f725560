"""An LSTM that writes a rule token by token; the place fixes the kind of token."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.rules.language import (
    MAX_STEPS,
    NUM_BINARIES,
    NUM_OPERANDS,
    NUM_UNARIES,
    ROW,
    row_sizes,
)

_KIND_STARTS = np.array([0, 0, 1, 1, 2])
_STARTS = np.cumsum([0, NUM_OPERANDS + MAX_STEPS - 1, NUM_UNARIES])
VOCABULARY = int(_STARTS[-1] + NUM_BINARIES)
"""Operands (values of rows among them), unaries and binaries in one list."""


@struct.dataclass
class RuleWriter:
    """Weights of a single-layer LSTM with a softmax per token, fed back as the next input."""

    embedding: Float[Array, "entry hidden"]
    """One more row than tokens: the last starts a rule."""
    kernel: Float[Array, "input gate"]
    """From embedding and hidden state to input, forget, cell and output gates."""
    bias: Float[Array, " gate"]
    head: Float[Array, "hidden token"]


class Choices(NamedTuple):
    """What the writer thought of tables, summed or averaged over the batch by the caller."""

    log_probs: Float[Array, "rule position"]
    entropy: Float[Array, "rule position"]


def init(key: PRNGKeyArray, hidden: int = 150, scale: float = 0.08) -> RuleWriter:
    """All weights uniform in [-scale, scale]; the forget gate starts open by a bias of 1.

    Args:
      key: of the draw.
      hidden: units of the LSTM and size of the embedding, >= 1.
      scale: of the weights, > 0.
    """
    keys = jax.random.split(key, 3)

    def uniform(key, *shape):
        return jax.random.uniform(key, shape, minval=-scale, maxval=scale)

    bias = jnp.zeros((4, hidden)).at[1].set(1.0).reshape(-1)
    return RuleWriter(
        uniform(keys[0], VOCABULARY + 1, hidden),
        uniform(keys[1], 2 * hidden, 4 * hidden),
        bias,
        uniform(keys[2], hidden, VOCABULARY),
    )


def _places(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Per position: where its kind starts in the vocabulary, and which ids of that are allowed."""
    starts = np.tile(_STARTS[_KIND_STARTS], num_steps)
    ids = np.arange(VOCABULARY)
    sizes = row_sizes(num_steps).reshape(-1)
    allowed = (ids >= starts[:, None]) & (ids < (starts + sizes)[:, None])
    return starts.astype(np.int32), allowed


def _log_probs(writer: RuleWriter, carry, token, allowed):
    """One LSTM step: the new memory, and log-probabilities of the next token."""
    hidden, cell = carry
    gates = jnp.concatenate([writer.embedding[token], hidden]) @ writer.kernel
    into, forget, new, out = jnp.split(gates + writer.bias, 4)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
    hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
    logits = jnp.where(allowed, hidden @ writer.head, -jnp.inf)
    return (hidden, cell), jax.nn.log_softmax(logits)


def _start(writer: RuleWriter):
    zeros = jnp.zeros(writer.head.shape[0])
    return (zeros, zeros), jnp.int32(VOCABULARY)


def sample(
    writer: RuleWriter, num_rules: int, num_steps: int, key: PRNGKeyArray
) -> Int[Array, "rule step 5"]:
    """Draw rules; all are well formed, as ids that a place does not allow have probability 0.

    Args:
      writer: the network.
      num_rules: how many.
      num_steps: rows of each rule, >= 1.
      key: of the draw.
    """
    starts, allowed = (jnp.asarray(part) for part in _places(num_steps))

    def one(key):
        def position(state, at):
            carry, token = state
            start, mask, key = at
            carry, log_probs = _log_probs(writer, carry, token, mask)
            token = jax.random.categorical(key, log_probs).astype(jnp.int32)
            return (carry, token), token - start

        keys = jax.random.split(key, num_steps * ROW)
        return jax.lax.scan(position, _start(writer), (starts, allowed, keys))[1]

    tokens = jax.vmap(one)(jax.random.split(key, num_rules))
    return tokens.reshape(num_rules, num_steps, ROW)


def choices(writer: RuleWriter, tables: Int[Array, "rule step 5"]) -> Choices:
    """Log-probability of each token given those before it, and the entropy of the choice."""
    starts, allowed = (jnp.asarray(part) for part in _places(tables.shape[1]))

    def one(table):
        tokens = table.reshape(-1) + starts

        def position(state, at):
            carry, before = state
            mask, token = at
            carry, log_probs = _log_probs(writer, carry, before, mask)
            # Masked entries are -inf: keep them out of the product, and of its gradient.
            finite = jnp.where(mask, log_probs, 0.0)
            entropy = -jnp.sum(jnp.where(mask, jnp.exp(finite), 0.0) * finite)
            return (carry, token), (finite[token], entropy)

        return jax.lax.scan(position, _start(writer), (allowed, tokens))[1]

    return Choices(*jax.vmap(one)(tables))
