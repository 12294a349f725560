"""Ways to search whose rules an LSTM writes: REINFORCE and PPO, methods as in `methods`."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.rules import writer
from ganno_jax.rules.methods import Metrics, Rewards, Tables
from ganno_jax.rules.writer import RuleWriter

LARGEST_ADVANTAGE = 3.0
"""Of `PPO`, in deviations of the batch's rewards."""


@struct.dataclass
class WriterState:
    """The writer, its optimizer and the moving average of the rewards."""

    writer: RuleWriter
    opt_state: Any
    baseline: Float[Array, ""]
    num_updates: Int[Array, ""]


class _Written:
    """What methods share whose rules are written by an LSTM."""

    num_steps: int
    batch_size: int
    hidden: int

    def init(self, key: PRNGKeyArray) -> WriterState:
        """A fresh writer, and no baseline yet."""
        return _init(key, self.hidden)

    def propose(self, state: WriterState, key: PRNGKeyArray) -> Tables:
        """Rules that the writer draws, token by token."""
        return writer.sample(state.writer, self.batch_size, self.num_steps, key)


@struct.dataclass
class Reinforce(_Written):
    r"""REINFORCE with a moving baseline: ascends $E[(r - b) \log \pi(\text{rule})]$ plus
    entropy."""

    learning_rate: float | Array = 1e-3
    entropy_weight: float | Array = 0.5
    """Times the mean entropy of a token's choice, in nats; far below, it repeats itself soon."""
    baseline_decay: float | Array = 0.9
    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)
    hidden: int = struct.field(pytree_node=False, default=150)

    def learn(
        self, state: WriterState, tables: Tables, rewards: Rewards
    ) -> tuple[WriterState, Metrics]:
        """One gradient step of the writer.

        Args:
          state: of the network that wrote the rules.
          tables: the rules.
          rewards: of each, finite.

        Returns:
          The new state, the moving average of rewards and the mean entropy of a token's choice in nats.
        """
        baseline, advantages = _compared(state, rewards, self.baseline_decay)
        grads, entropy = jax.grad(reinforce_loss, has_aux=True)(
            state.writer, tables, advantages, self.entropy_weight
        )
        new, opt_state = _apply(state.writer, state.opt_state, grads, self.learning_rate)
        state = WriterState(new, opt_state, baseline, state.num_updates + 1)
        return state, {"baseline": baseline, "entropy": entropy}


@struct.dataclass
class PPO(_Written):
    """Proximal policy optimization of the tokens, the rule's advantage standing at each of them."""

    learning_rate: float | Array = 1e-3
    entropy_weight: float | Array = 3.0
    """As in `Reinforce`, against advantages of unit deviation, which is why it is larger."""
    baseline_decay: float | Array = 0.9
    clip: float | Array = 0.2
    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)
    num_epochs: int = struct.field(pytree_node=False, default=4)
    hidden: int = struct.field(pytree_node=False, default=150)

    def learn(
        self, state: WriterState, tables: Tables, rewards: Rewards
    ) -> tuple[WriterState, Metrics]:
        """`num_epochs` gradient steps of the writer on the same rules.

        Args:
          state: of the network that wrote the rules.
          tables: the rules.
          rewards: of each, finite.

        Returns:
          The new state, the moving average of rewards and the mean entropy of a token's choice in nats, before the
          first step.
        """
        baseline, advantages = _compared(state, rewards, self.baseline_decay)
        advantages = scaled_advantages(advantages, rewards)
        old_log_probs = writer.choices(state.writer, tables).log_probs

        def epoch(carry, _):
            grads, entropy = jax.grad(ppo_loss, has_aux=True)(
                carry[0], tables, advantages, old_log_probs, self.clip, self.entropy_weight
            )
            return _apply(*carry, grads, self.learning_rate), entropy

        (new, opt_state), entropy = jax.lax.scan(
            epoch, (state.writer, state.opt_state), length=self.num_epochs
        )
        state = WriterState(new, opt_state, baseline, state.num_updates + 1)
        return state, {"baseline": baseline, "entropy": entropy[0]}


def scaled_advantages(advantages: Rewards, rewards: Rewards) -> Rewards:
    """Advantages over the rewards' deviation, within `[-LARGEST_ADVANTAGE, LARGEST_ADVANTAGE]`.

    A batch that repeats one rule has no deviation; unbounded, its advantages would drown out the entropy just where it
    is needed.
    """
    scaled = advantages / (rewards.std() + 1e-6)
    return jnp.clip(scaled, -LARGEST_ADVANTAGE, LARGEST_ADVANTAGE)


def reinforce_loss(
    params: RuleWriter, tables: Tables, advantages: Rewards, entropy_weight: float | Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss whose gradient is the policy gradient, and the mean entropy per token.

    Args:
      params: of the writer.
      tables: rules that it wrote.
      advantages: of each, rewards less the baseline.
      entropy_weight: in units of a reward per nat.
    """
    seen = writer.choices(params, tables)
    gain = jnp.mean(advantages * seen.log_probs.sum(axis=1))
    return -gain - entropy_weight * seen.entropy.mean(), seen.entropy.mean()


def ppo_loss(
    params: RuleWriter,
    tables: Tables,
    advantages: Rewards,
    old_log_probs: Float[Array, "rule position"],
    clip: float | Array,
    entropy_weight: float | Array,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The clipped surrogate, one ratio per token, summed over a rule; and the mean entropy.

    Args:
      params: of the writer.
      tables: rules that it wrote before these steps.
      advantages: of each.
      old_log_probs: of its tokens, in nats, before these steps.
      clip: how far from 1 a ratio may be, in (0, 1).
      entropy_weight: in units of an advantage per nat.
    """
    seen = writer.choices(params, tables)
    ratio = jnp.exp(seen.log_probs - old_log_probs)
    gain = advantages[:, None] * ratio
    clipped = advantages[:, None] * jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    surrogate = jnp.minimum(gain, clipped).sum(axis=1).mean()
    return -surrogate - entropy_weight * seen.entropy.mean(), seen.entropy.mean()


def _init(key: PRNGKeyArray, hidden: int) -> WriterState:
    params = writer.init(key, hidden)
    return WriterState(params, optax.scale_by_adam().init(params), jnp.float32(0.0), jnp.int32(0))


def _compared(
    state: WriterState, rewards: Rewards, decay: float | Array
) -> tuple[Float[Array, ""], Rewards]:
    """The moving average with these rewards, and their excess over the one before; of the first ones over their own."""
    is_first = state.num_updates == 0
    moved = decay * state.baseline + (1.0 - decay) * rewards.mean()
    baseline = jnp.where(is_first, rewards.mean(), moved)
    return baseline, rewards - jnp.where(is_first, baseline, state.baseline)


def _apply(params: RuleWriter, opt_state: Any, grads: RuleWriter, learning_rate: float | Array):
    direction, opt_state = optax.scale_by_adam().update(grads, opt_state)
    return jax.tree.map(lambda p, d: p - learning_rate * d, params, direction), opt_state
