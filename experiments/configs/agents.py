"""Flags of any training of agents: their network and the base under them, and what improves them.

Imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from experiments.configs.bounds import (
    HIGHEST_LEARNING_RATE,
    HIGHEST_RATE,
    LARGEST_SIZE,
    MANY,
    MOST_PASSES,
    WIDEST,
    WIDEST_ALPHA,
    Count,
    Positive,
    Within,
)

Shape = Literal[  # of `base_shapes.SHAPES`
    "warmup_cosine", "warmup_linear", "one_cycle", "linear_one_cycle", "flat"
]
# Features in which the agents would read their own persistent noise as a property of the training.
NOISY_FEATURES = (
    "rate",
    "rate_change",
    "rate_drift",
    "rate_contrast",
    "relative_update",
    "forgetting",
)


@dataclass(frozen=True)
class TeamConfig:
    """Agents of any training of agents: their network, which all layers share, and the base under their actions."""

    actions: Literal["multipliers", "residual", "direct", "relative", "whole"] = "multipliers"
    """Compounding multipliers, a bounded residual on a base schedule, the rate itself, the
    relative size of the update, or the whole update: its relative size and the forgetting."""
    alpha: Annotated[float | None, Positive(WIDEST_ALPHA)] = None
    """Bound of the agents' corrections in log space, > 0 (residual, relative, whole); by default the action's own."""
    shape: Shape = "warmup_cosine"
    """Base schedule."""
    relative_size: Annotated[float, Positive(LARGEST_SIZE)] = 0.05
    """Relative size of an update at the schedule's peak, > 0 (relative, whole)."""
    sharing: Annotated[float, Within(0, 1)] = 0.0
    """Of the denominator, [0, 1]: 0 each layer's own, 1 their geometric mean for all (relative, whole)."""
    horizon_exponent: Annotated[float, Within(0, 2)] = 0.0
    """The size is (600 / steps)^this times as large, >= 0 (relative, whole)."""
    forgetting: Annotated[float, Within(0, 100)] = 1.0
    """Of the base over a training of one pass, >= 0 (whole)."""
    epoch_exponent: Annotated[float, Within(0, 2)] = 0.45
    """The base's forgetting grows with this power of the passes over the data, >= 0 (whole)."""
    coupling: Annotated[float, Within(0, 2)] = 0.0
    """The size is (the base's forgetting over the training)^this times as large, >= 0 (whole)."""
    critic: Literal["central", "local"] = "central"
    """A central critic is MAPPO, a local one IPPO; they matter with a critic's baseline only."""
    recurrent: bool = False
    """GRU memories instead of feed-forward networks."""
    hidden: Annotated[int, Within(1, WIDEST)] = 64
    """Units of each layer of the agents' networks."""
    initial_log_std: float = -0.7
    """Log standard deviation of real-valued actions at the start."""
    hidden_features: tuple[str, ...] = ()
    """Features that the agents must not see; `all` blinds them."""


@dataclass(frozen=True)
class AgentConfig(TeamConfig):
    """The agents: one network, shared by all layers."""

    peak: Annotated[float | None, Positive(HIGHEST_RATE)] = None
    """Peak of the base schedule, > 0 (residual); None takes the training's initial rate."""


@dataclass(frozen=True)
class LearnerFlags:
    """Settings of the learner that any training of agents can be given, with the names of `MAPPOConfig`.

    How many and how large differs: kinds of experiment have other numbers there.
    """

    num_updates: Count = 100
    """Learner updates; the learning rate falls linearly to zero over them."""
    num_envs: Count = 64
    """Trainings per update."""
    group_size: Count = 4
    """Trainings that share seed and batches, so that their mean is a baseline."""
    group_scale: bool = False
    """Divide advantages by their deviation in the group: trainings weigh alike, however much actions change them."""
    num_minibatches: Count = 4
    """Minibatches per pass."""
    learning_rate: Annotated[float, Positive(HIGHEST_LEARNING_RATE)] = 1e-3
    """Of the agents' Adam."""
    noise_fall: Annotated[float, Within(0, 25)] = 0.0
    """How much the log standard deviation of real-valued actions falls over the training, >= 0."""
    noise_correlation: Annotated[float, Within(0, 0.999)] = 0.0
    """Of the noise of successive real-valued actions, in [0, 1)."""
    noise_shared: Annotated[float, Within(0, 1)] = 0.0
    """Share of that noise which all agents of a training have in common, in [0, 1]."""
    critic_baseline: bool = True
    """Whether returns are compared with a critic's values, or with the group's mean alone: then there is no critic."""


@dataclass(frozen=True)
class LearnerConfig(LearnerFlags):
    """PPO."""

    rollout_decisions: int | None = None
    """Decisions per rollout; None is a whole episode."""
    num_epochs: Annotated[int, Within(1, MOST_PASSES)] = 4
    """Passes over each rollout."""
    discount: Annotated[float, Within(0, 1)] = 1.0
    """Discount factor, in [0, 1]."""
    trace_decay: Annotated[float, Within(0, 1)] = 0.95
    """Lambda of the advantage estimates, in [0, 1]."""
    clip: Annotated[float, Positive(100)] = 0.2
    """Largest change of the probability ratio that pays."""
    entropy_coefficient: Annotated[float, Within(0, 100)] = 0.001
    """Weight of the entropy bonus."""
    max_gradient_norm: Annotated[float, Positive(MANY)] = 0.5
    """Largest norm of the agents' gradient, and of the critic's."""
    target_kl: Annotated[float, Within(0, MANY)] = 0.05
    """No further steps in an update once the mean KL divergence is above this."""
