"""The training of a network as an episode. Pure, and for one training; batched from outside."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.checks import check_numbers, check_reward
from ganno_jax.env.hidden_loss import without_loss
from ganno_jax.env.observation import Observation, observe
from ganno_jax.env.observation_memory import ObservationMemory, empty_memory
from ganno_jax.env.rewards import LogLossDecrease, Outcome, Reward, RewardContext
from ganno_jax.inner.hyperparameters import Decision, LayerHyperparameters, by_inner_step
from ganno_jax.inner.state import InnerState, select
from ganno_jax.inner.statistics import Summary
from ganno_jax.inner.training import Training


@struct.dataclass
class EnvState:
    """One training between two decisions."""

    inner: InnerState
    memory: ObservationMemory
    observation: Observation  # of the last env step, by which the next decision is taken
    first: Outcome  # before the first inner step
    outcome: Outcome  # of the last env step
    decision: Int[Array, ""]
    loss_hidden: Bool[Array, ""] | None  # from the agents; None where it is hidden in no training


@struct.dataclass
class TimeStep:
    """What an env step pays, and whether the episode ends with it; what it shows is in the new `EnvState`."""

    reward: Float[Array, " layer"]
    terminated: Bool[Array, ""]  # diverged, or the budget is used up: no value after it
    truncated: Bool[Array, ""]  # the episode was cut short of the budget: bootstrap


@struct.dataclass
class Env:
    """Learning-rate control of one training: an env step is `interval` inner steps at given rates.

    Losses must be positive at the start, since a training counts as diverged where its loss is `explosion` times the
    first one, and since what the agents see and are paid for are logarithms of losses. Made by `create`, which checks.
    """

    training: Training
    reward: Reward
    num_decisions: int = struct.field(pytree_node=False)
    interval: int = struct.field(pytree_node=False)
    episode_decisions: int = struct.field(pytree_node=False)
    num_measured: int = struct.field(pytree_node=False)
    hidden_loss: float = struct.field(pytree_node=False, default=0.0)  # share of the trainings
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
        num_reward: int = 512,
        hidden_loss: float = 0.0,
    ) -> "Env":
        """Check the settings.

        Args:
          training: the inner problem.
          reward: of one transition.
          num_decisions: decisions in the whole training.
          interval: inner steps per decision.
          episode_decisions: cut episodes after this many decisions (truncation); all of them by default.
          num_measured: steps per window over which the per-layer statistics are taken, >= 2 for agreement.
          num_reward: training examples that every training sets aside, others than the next one, to be rewarded
            on them after every env step; at most a quarter of the training split.
          hidden_loss: share of the trainings, [0, 1], in which the agents do not see the loss, drawn with the training:
            what they learn there is for loops that cannot hand it over.

        Raises:
          ValueError: a count is not positive, the share is none, an episode is longer than the training, or the reward
            needs an accuracy that the task does not have, or an end that the episodes do not reach.
        """
        episode = num_decisions if episode_decisions is None else episode_decisions
        check_numbers(
            hidden_loss,
            num_decisions=num_decisions,
            interval=interval,
            episode_decisions=episode,
            num_measured=num_measured,
            num_reward=num_reward,
        )
        check_reward(reward, training.family, num_decisions, episode)
        num_reward = max(1, min(num_reward, training.family.num_examples // 4))
        return cls(
            training=_with_reward_examples(training, num_reward),
            reward=reward,
            num_decisions=num_decisions,
            interval=interval,
            episode_decisions=episode,
            num_measured=min(num_measured, interval),
            hidden_loss=hidden_loss,
        )

    def for_evaluation(self) -> "Env":
        """The same trainings on all training examples, the loss in sight: nothing is measured for a reward."""
        training = _with_reward_examples(self.training, 0)
        return self.replace(training=training, reward=LogLossDecrease(on="train"), hidden_loss=0.0)

    @property
    def num_reward(self) -> int:
        """Training examples that every training sets aside for its rewards."""
        return self.training.family.num_reward

    @property
    def num_layers(self) -> int:
        """Each with an agent of its own."""
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
        forgetting = jnp.zeros(self.num_layers)
        hidden = None
        if self.hidden_loss:
            hidden = jax.random.bernoulli(jax.random.fold_in(key, 1), self.hidden_loss)
        memory, observation = self._observe(memory, summary, rates, forgetting, inner, hidden)
        outcome = self._outcome(inner, summary)
        state = EnvState(
            inner=inner,
            memory=memory,
            observation=observation,
            first=outcome,
            outcome=outcome,
            decision=jnp.zeros((), jnp.int32),
            loss_hidden=hidden,
        )
        nothing = jnp.zeros((), bool)
        return state, TimeStep(jnp.zeros(self.num_layers), nothing, nothing)

    def step(
        self,
        state: EnvState,
        decision: Decision,
    ) -> tuple[EnvState, TimeStep]:
        """Train for `interval` inner steps.

        Args:
          state: of one training. One that has diverged stays as it is.
          decision: learning rates, >= 0, or all hyperparameters: one row for the whole window or one per inner step.

        Returns:
          The new state, and its time step. A training whose losses, statistics or parameters are not finite, or whose
          loss exploded, is put back to the window's start, marked as diverged and terminated, and rewarded with
          as the reward says; from then on its reward is zero. Its observation stays the last healthy one.
        """
        chosen = by_inner_step(decision, self.interval, self.num_layers)
        was_diverged = state.outcome.diverged
        inner, summary, outcome = self._transition(state, chosen)
        number = state.decision + 1
        context = RewardContext(
            first=state.first,
            before=state.outcome,
            after=outcome,
            remaining=self.num_decisions - state.decision,
            rates_before=state.observation.rates,
            rates=chosen.rates,
            explosion=self.explosion,
        )

        def replay(rates: Float[Array, "inner_step layer"]) -> Outcome:
            return self._transition(state, chosen.replace(rates=rates))[2]

        reward = self.reward(context, replay)
        reward = jnp.where(was_diverged, 0.0, reward)

        rates = chosen.rates[-1]
        forgetting = jnp.zeros_like(rates) if chosen.forgetting is None else chosen.forgetting[-1]
        memory, observation = self._observe(
            state.memory, summary, rates, forgetting, inner, state.loss_hidden
        )
        diverged = outcome.diverged
        memory = select(diverged, state.memory, memory)
        observation = select(diverged, state.observation, observation)
        terminated = diverged | (number >= self.num_decisions)
        truncated = ~terminated & (number >= self.episode_decisions)
        state = state.replace(
            inner=inner,
            memory=memory,
            observation=observation,
            outcome=outcome,
            decision=number,
        )
        return state, TimeStep(reward, terminated, truncated)

    def _transition(
        self, state: EnvState, chosen: LayerHyperparameters
    ) -> tuple[InnerState, Summary, Outcome]:
        """One window from `state`, with divergence taken care of."""
        inner, summary = self.training.window(
            state.inner, chosen, self.num_measured, self.total_steps
        )
        outcome = self._outcome(inner, summary)
        sane = _all_finite(summary) & (summary.loss <= self.explosion * state.first.train_loss)
        if (
            self.num_reward
        ):  # the window's losses are taken before its steps: this one shows what the last one did
            sane = sane & jnp.isfinite(outcome.reward_loss)
        diverged = state.outcome.diverged | ~sane
        inner = select(diverged, state.inner, inner)
        outcome = select(diverged, state.outcome, outcome).replace(diverged=diverged)
        return inner, summary, outcome

    def _outcome(self, inner: InnerState, summary: Summary) -> Outcome:
        loss = accuracy = jnp.full((), jnp.nan)
        if self.num_reward:
            batch = self.training.family.reward_batch(inner.task)
            loss, accuracy = self.training.measure(inner, batch)
        return Outcome(
            train_loss=summary.loss,
            reward_loss=loss,
            reward_accuracy=accuracy,
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
        forgetting: Float[Array, " layer"],
        inner: InnerState,
        loss_hidden: Bool[Array, ""] | None,
    ) -> tuple[ObservationMemory, Observation]:
        memory, observation = observe(
            memory,
            summary,
            LayerHyperparameters(rates, forgetting),
            inner.hyperparameters.initial_rate,
            inner.step,
            jnp.int32(self.total_steps),
            self.training.layers,
            self.interval,
            self.training.steps_per_epoch(inner.task),
        )
        if loss_hidden is None:
            return memory, observation
        features = jnp.where(loss_hidden, without_loss(observation.features), observation.features)
        return memory, observation.replace(features=features)


def _with_reward_examples(training: Training, num_reward: int) -> Training:
    return training.replace(family=training.family.replace(num_reward=num_reward))


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))
