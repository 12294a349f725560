r"""Rewards: what a decision is worth. They may use examples that the training sets aside; they exist in training only.

A reward sees the training before and after an env step, and a function that replays the step with other rates. In all
equations $\ell$ is a loss and $t$ counts decisions.

A diverged training is paid once, and never more than it would have got by going on to any finite end: losses above
$L = $ `explosion` $\cdot\,\ell_0$, where divergence begins, count as $L$, and a diverged training ends at $L$. Each
reward says what that comes to; `penalty` is the least that divergence costs. With discounting this holds for the
undiscounted sum.
"""

from collections.abc import Callable
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class Outcome:
    """How a training stands after an env step."""

    train_loss: Float[Array, ""]  # mean over the window
    reward_loss: Float[
        Array, ""
    ]  # on the examples that the training sets aside; NaN where it sets none aside
    reward_accuracy: Float[Array, ""]  # NaN where the task has none
    instability: Float[Array, ""]  # log(largest / mean training loss) in the window, >= 0
    diverged: Bool[Array, ""]


@struct.dataclass
class RewardContext:
    """The transition that is rewarded."""

    first: Outcome  # before the first inner step
    before: Outcome
    after: Outcome
    remaining: Int[Array, ""]  # decisions of the training that were left, this one included
    rates_before: Float[Array, " layer"]
    rates: Float[Array, "inner_step layer"]
    explosion: float  # a loss of so many times the first is divergence

    @property
    def is_last(self) -> Bool[Array, ""]:
        """Whether the training ends with this decision."""
        return self.remaining <= 1


ReplayFn = Callable[[Float[Array, "inner_step layer"]], Outcome]
"""What the window would have come to at other rates: the same weights and batches, played again."""


class Reward(Protocol):
    """Maps a transition to one number per layer.

    Class attributes `at_end` and `needs_accuracy`, False where they are missing, tell `Env.create` that a reward is
    paid at the end of the training only, and that it needs an accuracy.
    """

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        ...


@struct.dataclass
class LogLossDecrease:
    r"""Team reward: decrease of the log loss, $r_t = \log \ell_{t-1} - \log \ell_t$, the same for all layers.

    Over an episode it adds up to $\log(\ell_0 / \ell_T)$. `stability` weighs a penalty on spikes inside the window.
    Divergence pays $-\max(\text{penalty}, \log L - \log \ell_{t-1})$ and the largest stability penalty, $\log K$ for
    K inner steps, for this and every decision left.

    References:
      Decrease of the log error: Daniel, Taylor and Nowozin, AAAI 2016. Stability term: Shang et al. 2026 (SOLAR).
    """

    on: str = struct.field(pytree_node=False, default="reward")  # or "train"
    stability: float = 0.0
    penalty: float = 2.0

    def __post_init__(self):
        _check_loss(self.on)

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        before, after = (_log_loss(o, self.on, context) for o in (context.before, context.after))
        value = before - after - self.stability * context.after.instability
        fall = jnp.maximum(self.penalty, _log_ceiling(self.on, context) - before)
        return _team(value, -fall - self.stability * _most_instability(context), context)


@struct.dataclass
class TerminalAccuracy:
    r"""Team reward at the end only: $r_T$ = accuracy on reward examples, in [0, 1].

    Divergence pays minus the penalty, which must not be negative, and the largest stability penalty, $\log K$ for K
    inner steps, for this and every decision left.
    """

    at_end: ClassVar[bool] = True
    needs_accuracy: ClassVar[bool] = True

    stability: float = 0.0
    penalty: float = 1.0

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        accuracy = jnp.where(context.is_last, context.after.reward_accuracy, 0.0)
        value = accuracy - self.stability * context.after.instability
        broken = -self.penalty - self.stability * _most_instability(context)
        return _team(value, broken, context)


@struct.dataclass
class TerminalLogLoss:
    r"""Team reward at the end only: $r_T = -\log \ell_T$ on reward examples.

    Divergence pays $-\max(\text{penalty}, \log L)$.
    """

    at_end: ClassVar[bool] = True

    penalty: float = 2.0

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        del replay_fn
        value = jnp.where(context.is_last, -_log_loss(context.after, "reward", context), 0.0)
        broken = -jnp.maximum(self.penalty, _log_ceiling("reward", context))
        return _team(value, broken, context)


@struct.dataclass
class DifferenceReward:
    r"""Each agent's own contribution: $D_l = G(\eta) - G(\eta_{-l}, \eta_l^{\text{before}})$.

    G is the decrease of the log loss over the window; in the second term agent $l$ alone keeps its rate of the step
    before. All L+1 windows start from the same training and see the same batches: one `vmap`, at L+1 times the
    cost of a window, in training only. $D_l$ is bounded by `penalty` on both sides. Divergence pays
    $-\text{penalty}$ for this and every decision left, and the share of the team's fall to $L$.

    References:
      Difference rewards: Wolpert and Tumer 2001; for layers, as described by Shang et al. 2026 (SOLAR).
    """

    on: str = struct.field(pytree_node=False, default="reward")
    team_share: float = 0.5  # added: this much of the team reward G itself
    penalty: float = 1.0

    def __post_init__(self):
        _check_loss(self.on)

    def __call__(self, context: RewardContext, replay_fn: ReplayFn) -> Float[Array, " layer"]:
        """The reward of each layer's agent."""
        before = _log_loss(context.before, self.on, context)

        def after_without(layer: Int[Array, ""]) -> Float[Array, ""]:
            chosen = jnp.arange(context.rates.shape[-1]) == layer
            rates = jnp.where(chosen, context.rates_before, context.rates)
            outcome = replay_fn(rates)
            broken = _log_ceiling(self.on, context)
            return jnp.where(outcome.diverged, broken, _log_loss(outcome, self.on, context))

        after = _log_loss(context.after, self.on, context)
        others = jax.vmap(after_without)(jnp.arange(context.rates.shape[-1]))
        own = jnp.clip(others - after, -self.penalty, self.penalty)
        value = own + self.team_share * (before - after)
        fall = _log_ceiling(self.on, context) - before
        broken = -self.penalty * context.remaining - self.team_share * fall
        return jnp.where(context.after.diverged, broken, value)


def _check_loss(on: str) -> None:
    if on not in ("reward", "train"):
        raise ValueError(f"`on` must be 'reward' or 'train'; got {on!r}.")


def _loss(outcome: Outcome, on: str) -> Float[Array, ""]:
    return outcome.reward_loss if on == "reward" else outcome.train_loss


def _log_loss(outcome: Outcome, on: str, context: RewardContext) -> Float[Array, ""]:
    loss = jnp.log(jnp.maximum(_loss(outcome, on), 1e-8))
    return jnp.minimum(loss, _log_ceiling(on, context))


def _log_ceiling(on: str, context: RewardContext) -> Float[Array, ""]:
    r"""$\log L$: what a diverged training ends at, and a finite one at most."""
    return jnp.log(jnp.maximum(context.explosion * _loss(context.first, on), 1e-8))


def _most_instability(context: RewardContext) -> Float[Array, ""]:
    """The most that spikes could still add up to: losses of K steps are at most K times their mean."""
    return context.remaining * jnp.log(float(context.rates.shape[0]))


def _team(
    value: Float[Array, ""], broken: Float[Array, ""], context: RewardContext
) -> Float[Array, " layer"]:
    """One number for all layers: `broken` where the training diverged."""
    value = jnp.where(context.after.diverged, broken, value)
    return jnp.broadcast_to(value, (context.rates.shape[-1],))
