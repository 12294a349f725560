"""Configurations of the systems beside the agents: step-size controllers, search of update rules.

Frozen dataclasses like those of `experiments.config`; imports nothing heavy.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from experiments.config import PlaceConfig, Range, Scale


@dataclass(frozen=True)
class StepSizeConfig:
    """One controller: where it is learned, and where it is tested. The defaults take minutes on two cores."""

    family: Literal["digits_mlp", "random_cnn"] = "digits_mlp"
    """Learn on MLPs 64-(8..32)-10 on digits, or on the published random CNNs on MNIST."""
    test_data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Test network: 64-64-32-10 on digits, 20-50-500 filters on MNIST, 32-32-64-64 on CIFAR-10."""
    data_dir: str | None = None
    """Folder with the data sets."""
    optimizer: Annotated[Literal["momentum", "rmsprop"], tyro.conf.Suppress] = "momentum"
    """Momentum 0.9, or RMSprop with decay 0.9 and gradients clipped to [-1, 1]."""
    strategy: Literal["reps", "cmaes", "random"] = "reps"
    """The learner."""
    initial_rate: Range | None = None
    """Rate before the first decision, log-uniform, > 0; by default 1e-4 to 0.1, rmsprop 1e-5 to 0.01."""
    batch_size: int = 64
    """Examples per inner step."""
    num_steps: int = 600
    """Inner steps of the longest training."""
    fewest_steps: int = 300
    """Inner steps of the shortest."""
    interval: int = 10
    """Inner steps per decision; 1 is every-step control, as published."""
    limit: int | None = None
    """Examples of the batch that the features are taken over; all by default."""
    num_samples: int = 32
    """Controllers per iteration."""
    num_tasks: int = 4
    """Tasks per iteration; every controller is tried on each."""
    num_iterations: int = 20
    """Iterations of the search."""
    num_judged: int | None = None
    """Training examples behind the return; all by default."""
    test_steps: int = 1000
    """Inner steps on the test network."""
    test_batch_size: int = 64
    """Examples per inner step on the test network (published: 512)."""
    num_runs: int = 8
    """Seeds of every number in the evaluation."""
    tuning_runs: int = 4
    """Seeds on which schedules are tuned; others than the reported ones."""
    rates: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Initial rates of the sensitivity figure."""
    compare: bool = True
    """Also tune and run the handcrafted schedules in the evaluation."""
    num_perturbed: int = 20
    """Controllers with changed weights."""
    seed: int = 0
    """Of everything."""


@dataclass(frozen=True)
class StepSizeExperiment:
    """Step-size controllers, one for each optimizer."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    optimizers: tuple[Literal["momentum", "rmsprop"], ...] = ("momentum", "rmsprop")
    """A controller is learned and tested for each: momentum, rmsprop."""
    step_size: StepSizeConfig = field(default_factory=StepSizeConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset


@dataclass(frozen=True)
class RuleSearchConfig:
    """How update rules are searched, and how what was found is compared."""

    method: Literal["ppo", "reinforce", "evolution", "random"] = "ppo"
    """Who proposes rules: an LSTM trained by ppo or reinforce, evolution, or random."""
    budget: int = 1000
    """Distinct rules to evaluate."""
    batch_size: int = 16
    """Rules proposed per update."""
    num_rows: int = 2
    """Rows of a rule, 1 to 4; each combines two operands."""
    rates: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Learning rates tried with every rule, rising; the best counts."""
    features: tuple[int, ...] = (32,)
    """Units of each hidden layer of the network searched on."""
    child_batch_size: int = 64
    """Examples per inner step."""
    num_steps: int = 100
    """Inner steps of each training in the search."""
    num_seeds: int = 1
    """Trainings per rule and rate in the search."""
    control_share: float = 0.25
    """Share of the budget that random search gets as a control; 0 for no control."""
    top: int = 50
    """Rules on the leaderboard."""
    num_found: int = 3
    """Best found rules in the comparison."""
    compared_features: tuple[int, ...] = (64, 32)
    """Units of each hidden layer of the network compared on."""
    compared_steps: int = 1000
    """Inner steps of each training in the comparison."""
    tuning_runs: int = 4
    """Seeds on which the rate is chosen, by validation accuracy."""
    num_runs: int = 16
    """Reported seeds, others than those of the choice; test accuracy."""
    seed: int = 0
    """Of everything."""


@dataclass(frozen=True)
class RuleSearchExperiment:
    """A search of update rules."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    search: RuleSearchConfig = field(default_factory=RuleSearchConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset


# What a checkpoint does not depend on: where data lie, and what is only about the evaluation.
_EVALUATED = {
    StepSizeConfig: (
        *("data_dir", "test_data", "test_steps", "test_batch_size", "num_runs", "tuning_runs"),
        *("rates", "compare", "num_perturbed"),
    ),
    RuleSearchConfig: (
        *("top", "num_found", "compared_features", "compared_steps", "tuning_runs", "num_runs"),
    ),
}


def learned_settings(part: StepSizeConfig | RuleSearchConfig) -> dict[str, Any]:
    """The settings that decide what is found, as a checkpoint keeps them."""
    values = dataclasses.asdict(part)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in _EVALUATED[type(part)]
    }
