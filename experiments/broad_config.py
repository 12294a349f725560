"""Configurations of broad meta-training and of the held-out suite. Frozen dataclasses; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from experiments.config import PlaceConfig, Scale


@dataclass(frozen=True)
class BroadConfig:
    """The agents and their learner; the problems are those of `experiments.broad_families`."""

    num_updates: int = 200
    """Learner updates, each of one rollout in every problem."""
    num_envs: int = 32
    """Trainings per problem and update."""
    group_size: int = 8
    """Trainings that share task, initialization and batches; must divide `num_envs`."""
    learning_rate: float = 1e-3
    """Of the learner's Adam, > 0."""
    noise_correlation: float = 0.9
    """Of successive exploration noise, [0, 1)."""
    initial_log_std: float = -1.8
    """Of the exploration noise."""
    alpha: float = 2.0
    """Bound of an action in log space, > 0."""
    relative_size: float = 0.1
    """Relative size of an update at the base schedule's peak, > 0."""
    critic: Literal["central", "local"] = "central"
    """A central critic is MAPPO, a local one IPPO."""
    blind: bool = False
    """Hide every feature from the agents (an ablation)."""
    seed: int = 0
    """Of the agents' training."""


@dataclass(frozen=True)
class SuiteConfig:
    """The held-out suite: how many runs stand behind every number."""

    data_dir: str | None = None
    """Folder with the data sets; problems whose data are missing are left out, and that is said."""
    sweeps: bool = True
    """Also vary one setting at a time: initial rate, weight decay, optimizer, batch, budget, network."""
    num_seeds: int = 10
    """Reported runs per method and problem, >= 4; their initial rates cover the range."""
    tuning_seeds: int = 2
    """Runs per candidate where a method is tuned; others than the reported ones."""
    num_peaks: int = 7
    """Peak rates per schedule."""
    num_trials: int = 30
    """Random settings of NAdamW."""


@dataclass(frozen=True)
class BroadExperiment:
    """Meta-training on many kinds of problems, then the held-out suite."""

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
class HeldOutExperiment:
    """A finished controller, zero-shot on the held-out suite."""

    preset: Annotated[str, tyro.conf.Suppress] = "held-out"
    controller: Annotated[str, tyro.conf.Suppress] = ""
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset
