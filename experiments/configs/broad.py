"""Configurations of broad meta-training and of the suites. Frozen dataclasses; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from experiments.configs.agents import NOISY_FEATURES, LearnerFlags, Shape, TeamConfig
from experiments.configs.bounds import (
    HIGHEST_LEARNING_RATE,
    LARGEST_SIZE,
    MOST_MEMBERS,
    MOST_RUNS,
    WIDEST,
    WIDEST_ALPHA,
    BelowOne,
    Count,
    Positive,
    SeedNumber,
    Within,
)
from experiments.configs.config import AnyScale, Scale
from experiments.configs.place import PlaceConfig

SUITE_NAMES = (
    "development",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "unseen",
    "trainings",
    "budgets",
)
AT_FULL_SIZE = ("trainings", "budgets")
"""Suites whose trainings take minutes each."""


@dataclass(frozen=True)
class BroadConfig(LearnerFlags, TeamConfig):
    """The agents and their learner; problems are those of `problems.broad_families`, and some drawn at random."""

    actions: Literal["relative", "whole"] = "relative"
    """What agents set: the relative size of the update, or the whole update, which is its size and the forgetting."""
    alpha: Annotated[float, Positive(WIDEST_ALPHA)] = 2.5
    """Bound of an action in log space, > 0."""
    shape: Shape = "linear_one_cycle"
    """Base schedule."""
    relative_size: Annotated[float, Positive(LARGEST_SIZE)] = 0.1
    """Relative size of an update at the base schedule's peak, > 0."""
    sharing: Annotated[float, Within(0, 1)] = 0.75
    """Of the denominator of relative updates, [0, 1]: 0 each layer's own, 1 their geometric mean for all."""
    hidden: Annotated[int, Within(1, WIDEST)] = 128
    """Units of each layer of the agents' networks."""
    initial_log_std: float = -2.0
    """Of the exploration noise."""
    hidden_features: tuple[str, ...] = NOISY_FEATURES
    """Features that the agents do not see; all: none, agents that see nothing, for --suite.blind."""
    hidden_loss: Annotated[float, Within(0, 1)] = 0.0
    """Share of the trainings in which the agents do not see the loss, [0, 1]."""
    num_updates: Annotated[int, Within(0)] = 70
    """Learner updates, each of one rollout in every problem; a finished run goes on to more with --run.resume."""
    num_members: Annotated[int, Within(1, MOST_MEMBERS)] = 1
    """Teams of agents trained apart, with the seeds from `seed` on; the controller is their geometric mean."""
    head_start: Annotated[int, Within(0)] = 0
    """Trainings per problem under ten constant actions each, to which agents are fitted before they learn; 0: none."""
    random_kinds: Annotated[int, Within(0)] = 0
    """Further problems, drawn at random, that the head start takes a quarter as many trainings of."""
    random_learned: Annotated[int, Within(0)] = 0
    """Problems among them that are learned on after the head start too."""
    num_envs: Count = 32
    """Trainings per problem and update."""
    group_size: Count = 8
    """Trainings that share task, initialization and batches; must divide `num_envs`."""
    learning_rate: Annotated[float, Positive(HIGHEST_LEARNING_RATE)] = 2e-3
    """Of the learner's Adam, > 0."""
    num_minibatches: Count = 8
    """Minibatches per pass over a rollout; must divide `num_envs`."""
    noise_correlation: Annotated[float, Within(0, 0.999)] = 0.9
    """Of successive exploration noise, [0, 1)."""
    action_share: Annotated[float, Within(1e-6, 1)] = 1.0
    """Of the agents' log actions that the finished controller keeps, (0, 1]; less stays closer to the base."""
    size_share: Annotated[float, Positive(LARGEST_SIZE)] = 1.0
    """Of the base's size that the finished controller keeps, > 0."""
    forgetting_share: Annotated[float, Positive(LARGEST_SIZE)] = 1.0
    """Of the base's forgetting that the finished controller keeps, > 0 (whole)."""
    first_share: Annotated[float, Positive(LARGEST_SIZE)] = 0.1
    """Of the rate in the first window, > 0; momenta without a correction need less than 1."""
    shared: bool = False
    """One rate for all layers (an ablation): the mean action over the geometric mean of their ratios."""
    critic_baseline: bool = False
    """Compare returns with the critic's values too, not with the group's mean alone."""
    reward: Literal["terminal_log_loss", "log_loss", "terminal_accuracy"] = "terminal_log_loss"
    """log_loss pays the decrease at every decision, with returns to go."""
    families: Literal["optimizers", "horizons"] = "optimizers"
    """Problems that differ in their optimizers, or ones of 90 to 12,000 steps for one direction."""
    kinds: tuple[str, ...] = ()
    """Only problems whose names contain one of these; all by default."""
    direction: str = "own"
    """Optimizer of all trainings, which the controller then brings with it: nadam, adam, ...; own: each kind's own."""
    momentum: Annotated[float, BelowOne()] = 0.9
    """First-moment decay of that direction, [0, 1)."""
    second_decay: Annotated[float, BelowOne()] = 0.999
    """Second-moment decay of that direction, [0, 1)."""
    weight_decay: Annotated[float, Within(0, 100)] = 0.0
    """Weight decay of that direction per unit of rate, >= 0."""
    large: bool = False
    """Also the larger kinds: whole images, wider and deeper networks, up to 5,000 steps; for an accelerator."""
    own_runs: Annotated[int, Within(0)] = 32
    """Fresh runs per problem in which the agents are compared with untrained ones in the end; 0: none."""
    seed: SeedNumber = 0
    """Of the first team's training."""


@dataclass(frozen=True)
class Effort:
    """How many runs stand behind every number of a suite."""

    num_seeds: Annotated[int, Within(3, MOST_RUNS)] = 10
    """Reported runs per method and problem, >= 3."""
    tuning_seeds: Annotated[int, Within(1, MOST_RUNS)] = 20
    """Runs of each of the last candidates where a method is tuned; others than the reported ones."""
    peak_factor: Annotated[float, Within(1.01, 1000)] = 1.8
    """Peak rates are at most this factor apart around the best one, > 1."""
    num_trials: Annotated[int, Within(1, MOST_RUNS)] = 100
    """Random settings of NAdamW."""
    most_kept: Annotated[int, Within(1, MOST_RUNS)] = 8
    """Settings that go on from one round of tuning to the next, at most; few where a training takes minutes."""


@dataclass(frozen=True)
class SuiteConfig(Effort):
    """A suite of problems."""

    data_dir: str | None = None
    """Folder with the data sets; problems whose data are missing are left out, and that is said."""
    problems: str | None = None
    """TOML file of problems (docs/suites.md), or Python file with a tuple PROBLEMS, in the place of the suite's own."""
    methods: tuple[str, ...] = ()
    """Only methods whose names contain one of these words, besides the controller and what it is compared with."""
    schedules: bool = True
    """Whether that is the best of 14 tuned schedules; else it is tuned AdamW, which costs a tenth."""
    blind: str | None = None
    """Controller file of agents without features (--broad.hidden_features all), with as many updates."""
    more: tuple[str, ...] = ()
    """Controller files of the same recipe with other seeds: learner seeds."""
    velo: str | None = None
    """File with the weights of VeLO, which then takes part (docs/learned_optimizers.md)."""
    after_training: bool = True
    """Whether `train broad` ends with the development suite."""
    sweeps: bool = False
    """Also vary one setting of the first development problem at a time: decay, optimizer, batch, budget, network."""


@dataclass(frozen=True)
class BroadExperiment:
    """Meta-training on many kinds of problems, then the development suite."""

    preset: Annotated[str, tyro.conf.Suppress] = "broad"
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    broad: BroadConfig = field(default_factory=BroadConfig)
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset


@dataclass(frozen=True)
class SuiteExperiment:
    """A finished controller on a suite of problems, in plain Optax loops."""

    preset: Annotated[str, tyro.conf.Suppress] = "development"
    """Which suite."""
    controller: Annotated[str, tyro.conf.Suppress] = ""
    scale: AnyScale = "small"
    """small: minutes to hours on two CPU cores; medium: hours, of real sizes; paper: for an accelerator."""
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder: each suite and scale has its own."""
        return self.run.name or (
            self.preset if self.scale == "small" else f"{self.preset}_{self.scale}"
        )
