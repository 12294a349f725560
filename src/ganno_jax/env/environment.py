"""The training of a network as an episode. Pure, and for one training; batched from outside."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.observation import Observation, ObservationMemory, empty_memory, observe
from ganno_jax.env.rewards import Outcome, Reward, RewardContext, TerminalAccuracy
from ganno_jax.inner.statistics import Summary
from ganno_jax.inner.training import InnerState, Training, select


@struct.dataclass
class EnvState:
    """One training between two decisions."""

    inner: InnerState
    memory: ObservationMemory
    observation: Observation
    outcome: Outcome
    rates: Float[Array, " layer"]  # of the last inner step
    first_loss: Float[Array, ""]
    decision: Int[Array, ""]


@struct.dataclass
class TimeStep:
    """What a transition shows."""

    observation: Observation
    reward: Float[Array, " layer"]
    terminated: Bool[Array, ""]  # diverged, or the budget is used up: no value after it
    truncated: Bool[Array, ""]  # the episode was cut short of the budget: bootstrap
    outcome: Outcome


@struct.dataclass
class Env:
    """Learning-rate control of one training: an env step is `interval` inner steps at given rates.

    Losses must be positive at the start, since a training counts as diverged where its loss is `explosion` times the
    first one, and since what the agents see and are paid for are logarithms of losses.
    """

    training: Training
    reward: Reward
    num_decisions: int = struct.field(pytree_node=False)
    interval: int = struct.field(pytree_node=False)
    episode_decisions: int = struct.field(pytree_node=False)
    num_measured: int = struct.field(pytree_node=False)
    num_validation: int = struct.field(pytree_node=False)
    explosion: float = (
        20.0  # diverged when the window's mean loss exceeds this many times the first loss
    )

    @classmethod
    def create(
        cls,
        training: Training,
        reward: Reward,
        *,
        num_decisions: int,
        interval: int,
        episode_decisions: int | None = None,
        num_measured: int = 2,
        num_validation: int = 512,
    ) -> "Env":
        """Check the settings.

        Args:
          training: the inner problem.
          reward: of one transition.
          num_decisions: decisions in the whole training.
          interval: inner steps per decision.
          episode_decisions: cut episodes after this many decisions (truncation); all of them by default.
          num_measured: steps per window over which the per-layer statistics are taken, >= 2 for agreement.
          num_validation: validation examples on which the outcome is evaluated after every env step.

        Raises:
          ValueError: a count is not positive, an episode is longer than the training, or the reward needs an accuracy
            that the task does not have.
        """
        episode = num_decisions if episode_decisions is None else episode_decisions
        counts = {
            "num_decisions": num_decisions,
            "interval": interval,
            "episode_decisions": episode,
            "num_measured": num_measured,
            "num_validation": num_validation,
        }
        for name, count in counts.items():
            if not hasattr(count, "__index__"):
                raise ValueError(f"`{name}` must be a whole number; got {count!r}.")
            if count < 1:
                raise ValueError(f"`{name}` must be at least 1; got {count}.")
        if isinstance(reward, type) or not callable(reward):
            raise ValueError(
                f"`reward` must be an instance of a reward, such as `LogLossDecrease()`; got {reward!r}."
            )
        if episode > num_decisions:
            raise ValueError(
                f"an episode of {episode} decisions is longer than the training's {num_decisions}."
            )
        if isinstance(reward, TerminalAccuracy) and not training.has_accuracy:
            raise ValueError(
                f"`TerminalAccuracy` needs an accuracy, which {training.family.name} does not have; "
                "`TerminalLogLoss` needs none."
            )
        available = training.family.dataset.validation.num_examples
        return cls(
            training=training,
            reward=reward,
            num_decisions=num_decisions,
            interval=interval,
            episode_decisions=episode,
            num_measured=min(num_measured, interval),
            num_validation=min(num_validation, available),
        )

    @property
    def num_layers(self) -> int:
        return self.training.num_layers

    @property
    def total_steps(self) -> int:
        """Inner steps of a whole training."""
        return self.num_decisions * self.interval

    def reset(
        self, key: PRNGKeyArray, initial_rate: Float[Array, ""] | None = None
    ) -> tuple[EnvState, TimeStep]:
        """Start a training: draw it, and look at its first batch without taking a step.

        Args:
          key: decides everything about the training: task, initialization, batches.
          initial_rate: instead of the drawn one, > 0.
        """
        inner = self.training.init(key, initial_rate)
        initial_rate = inner.hyperparameters.initial_rate
        rates = jnp.full(self.num_layers, initial_rate)
        memory = empty_memory(self.num_layers, initial_rate)
        summary = self.training.first_look(inner)
        memory, observation = self._observe(memory, summary, rates, inner)
        outcome = self._outcome(inner, summary)
        state = EnvState(
            inner=inner,
            memory=memory,
            observation=observation,
            outcome=outcome,
            rates=rates,
            first_loss=summary.loss,
            decision=jnp.zeros((), jnp.int32),
        )
        nothing = jnp.zeros((), bool)
        step = TimeStep(observation, jnp.zeros(self.num_layers), nothing, nothing, outcome)
        return state, step

    def step(
        self,
        state: EnvState,
        rates: Float[Array, " layer"] | Float[Array, "inner_step layer"],
    ) -> tuple[EnvState, TimeStep]:
        """Train for `interval` inner steps.

        Args:
          state: of one training. One that has diverged stays as it is.
          rates: learning rates, >= 0: one row for the whole window or one row per inner step.

        Returns:
          The new state, and what it shows. A training whose losses, statistics or parameters are not finite, or whose
          loss exploded, is put back to the window's start, marked as diverged and terminated, and rewarded with
          the reward's penalty; from then on its reward is zero.
        """
        rates = jnp.broadcast_to(rates, (self.interval, self.num_layers))
        was_diverged = state.outcome.diverged
        inner, summary, outcome = self._transition(state, rates)
        decision = state.decision + 1
        context = RewardContext(
            before=state.outcome,
            after=outcome,
            is_last=decision >= self.num_decisions,
            rates_before=state.rates,
            rates=rates,
        )
        reward = self.reward(context, lambda other: self._transition(state, other)[2])
        reward = jnp.where(was_diverged, 0.0, reward)

        memory, observation = self._observe(state.memory, summary, rates[-1], inner)
        diverged = outcome.diverged
        memory = select(diverged, state.memory, memory)
        observation = observation.replace(
            features=jnp.where(diverged, state.observation.features, observation.features)
        )
        terminated = diverged | (decision >= self.num_decisions)
        truncated = ~terminated & (decision >= self.episode_decisions)
        state = EnvState(
            inner=inner,
            memory=memory,
            observation=observation,
            outcome=outcome,
            rates=rates[-1],
            first_loss=state.first_loss,
            decision=decision,
        )
        return state, TimeStep(observation, reward, terminated, truncated, outcome)

    def _transition(
        self, state: EnvState, rates: Float[Array, "inner_step layer"]
    ) -> tuple[InnerState, Summary, Outcome]:
        """One window from `state`, with divergence taken care of."""
        inner, summary = self.training.window(state.inner, rates, self.num_measured)
        outcome = self._outcome(inner, summary)
        # The window's losses are taken before its steps: only the validation loss shows what the last one did.
        sane = _all_finite(summary) & jnp.isfinite(outcome.validation_loss)
        sane = sane & (summary.loss <= self.explosion * state.first_loss)
        diverged = state.outcome.diverged | ~sane
        inner = select(diverged, state.inner, inner)
        outcome = select(diverged, state.outcome, outcome).replace(diverged=diverged)
        return inner, summary, outcome

    def _outcome(self, inner: InnerState, summary: Summary) -> Outcome:
        split = self.training.family.dataset.validation
        loss, accuracy = self.training.evaluate(inner, split, self.num_validation)
        return Outcome(
            train_loss=summary.loss,
            validation_loss=loss,
            validation_accuracy=accuracy,
            instability=jnp.log(
                jnp.maximum(summary.loss_largest, 1e-8) / jnp.maximum(summary.loss, 1e-8)
            ),
            diverged=jnp.zeros((), bool),
        )

    def _observe(
        self,
        memory: ObservationMemory,
        summary: Summary,
        rates: Float[Array, " layer"],
        inner: InnerState,
    ) -> tuple[ObservationMemory, Observation]:
        return observe(
            memory,
            summary,
            rates,
            inner.hyperparameters.initial_rate,
            inner.step,
            jnp.int32(self.total_steps),
            self.training.layers,
            self.interval,
        )


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))
