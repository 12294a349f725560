r"""Rewards: what a decision is worth. They may use validation data; they exist in training only.

A reward sees the training before and after an env step, and a function that replays the step with other rates. In all
equations $\ell$ is a loss, $t$ counts decisions, a diverged training gets `-penalty` once.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class Outcome:
    """How a training stands after an env step."""

    train_loss: Float[Array, ""]  # mean over the window
    validation_loss: Float[Array, ""]
    validation_accuracy: Float[Array, ""]  # NaN where the task has none
    instability: Float[Array, ""]  # log(largest / mean training loss) in the window, >= 0
    diverged: Bool[Array, ""]


@struct.dataclass
class RewardContext:
    """The transition that is rewarded."""

    before: Outcome
    after: Outcome
    is_last: Bool[Array, ""]
    rates_before: Float[Array, " layer"]
    rates: Float[Array, "inner_step layer"]


ReplayFn = Callable[[Float[Array, "inner_step layer"]], Outcome]


class Reward(Protocol):
    """Maps a transition to one number per layer."""

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        ...


@struct.dataclass
class LogLossDecrease:
    r"""Team reward: decrease of the log loss, $r_t = \log \ell_{t-1} - \log \ell_t$, the same for all layers.

    Over an episode it adds up to $\log(\ell_0 / \ell_T)$. `stability` weighs a penalty on spikes inside the window.

    References:
      Decrease of the log error: Daniel, Taylor and Nowozin, AAAI 2016. Stability term: Shang et al. 2026 (SOLAR).
    """

    on: str = struct.field(pytree_node=False, default="validation")  # or "train"
    stability: float = 0.0
    penalty: float = 2.0

    def __post_init__(self):
        if self.on not in ("validation", "train"):
            raise ValueError(f"`on` must be 'validation' or 'train'; got {self.on!r}.")

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        return _team(self._value(context), context)

    def _value(self, context: RewardContext) -> Float[Array, ""]:
        before, after = (_log_loss(o, self.on) for o in (context.before, context.after))
        value = before - after - self.stability * context.after.instability
        return jnp.where(context.after.diverged, -self.penalty, value)


@struct.dataclass
class TerminalAccuracy:
    r"""Team reward at the end only: $r_T$ = validation accuracy, in [0, 1]."""

    stability: float = 0.0
    penalty: float = 1.0

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        accuracy = jnp.where(context.is_last, context.after.validation_accuracy, 0.0)
        value = accuracy - self.stability * context.after.instability
        return _team(jnp.where(context.after.diverged, -self.penalty, value), context)


@struct.dataclass
class TerminalLogLoss:
    r"""Team reward at the end only: $r_T = -\log \ell_T$ on validation data."""

    penalty: float = 2.0

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        value = jnp.where(context.is_last, -_log_loss(context.after, "validation"), 0.0)
        return _team(jnp.where(context.after.diverged, -self.penalty, value), context)


@struct.dataclass
class DifferenceReward:
    r"""Each agent's own contribution: $D_l = G(\eta) - G(\eta_{-l}, \eta_l^{\text{before}})$.

    G is the decrease of the log loss over the window; in the second term agent $l$ alone keeps its rate of the step
    before. All L+1 windows start from the same training and see the same batches: one `vmap`, at L+1 times the
    cost of a window, in training only.

    References:
      Difference rewards: Wolpert and Tumer 2001; for layers, as described by Shang et al. 2026 (SOLAR).
    """

    on: str = struct.field(pytree_node=False, default="validation")
    team_share: float = 0.5  # added: this much of the team reward G itself
    penalty: float = 2.0

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""

        def without(layer: Int[Array, ""]) -> Float[Array, ""]:
            chosen = jnp.arange(context.rates.shape[-1]) == layer
            rates = jnp.where(chosen, context.rates_before, context.rates)
            return self._gain(context, replay_fn(rates))

        gain = self._gain(context, context.after)
        others = jax.vmap(without)(jnp.arange(context.rates.shape[-1]))
        value = gain - others + self.team_share * gain
        return jnp.where(context.after.diverged, -self.penalty, value)

    def _gain(self, context: RewardContext, after: Outcome) -> Float[Array, ""]:
        gain = _log_loss(context.before, self.on) - _log_loss(after, self.on)
        return jnp.where(after.diverged, -self.penalty, jnp.clip(gain, -self.penalty, self.penalty))


def _log_loss(outcome: Outcome, on: str) -> Float[Array, ""]:
    loss = outcome.validation_loss if on == "validation" else outcome.train_loss
    return jnp.log(jnp.maximum(loss, 1e-8))


def _team(value: Float[Array, ""], context: RewardContext) -> Float[Array, " layer"]:
    return jnp.broadcast_to(value, (context.rates.shape[-1],))
