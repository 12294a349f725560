"""Configurations of the systems beside the agents: step-size controllers, search of update rules.

Frozen dataclasses like those of `experiments.configs.config`; imports nothing heavy.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from experiments.configs.bounds import Count, SeedNumber, SomeCount, Within
from experiments.configs.config import DataConfig, NetworkConfig, Range, Scale
from experiments.configs.place import PlaceConfig

MOST_ROWS = 4  # of a rule, as `rules.MAX_STEPS`


@dataclass(frozen=True)
class StepSizeConfig:
    """How controllers are learned and tested. The defaults take minutes on two cores."""

    family: Literal["mlp", "random_cnn"] = "mlp"
    """Networks learned on: MLPs of one hidden layer of 8 to 32 units, or random CNNs."""
    family_data: str | None = None
    """Data set learned on, at the image size of the tested one; by default the tested one."""
    data_fraction: Range = (0.5, 1.0)
    """Share of the training examples that a task learned on has, uniform, in (0, 1]."""
    fewest_filters: tuple[int, int, int] = (2, 5, 50)
    """Filters of the smallest random CNN."""
    most_filters: tuple[int, int, int] = (9, 24, 249)
    """Filters of the largest random CNN."""
    controllers: str | None = None
    """Folder of another run: test its controllers instead of a search, and draw its panels too."""
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
    by_layer: bool = False
    """A rate for each layer, from the change along its own update, instead of one for all; ours."""
    interval: Count = 10
    """Inner steps per decision; 1 is every-step control, as published."""
    limit: SomeCount = None
    """Examples of the batch that the features are taken over; all by default."""
    num_samples: int = 32
    """Controllers per iteration."""
    num_tasks: Count = 4
    """Tasks per iteration; every controller is tried on each."""
    num_iterations: Count = 20
    """Iterations of the search."""
    num_judged: SomeCount = None
    """Training examples behind the return; all by default."""
    test_steps: int = 600
    """Inner steps on the test network."""
    test_batch_size: int = 64
    """Examples per inner step on the test network (published: 512)."""
    num_runs: Count = 6
    """Seeds from each initial rate, and of every schedule."""
    tuning_runs: Count = 4
    """Seeds on which schedules are tuned; others than the reported ones."""
    rates: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Initial rates of the sensitivity figure under momentum; RMSprop starts from a tenth of them."""
    compare: bool = True
    """Also tune and run the handcrafted schedules in the evaluation."""
    agents: str | None = None
    """Per-layer agents to compare with under momentum: a shipped controller or a controller file."""
    chunk: SomeCount = None
    """Examples at a time in the final losses, to bound the memory; all by default."""
    at_once: SomeCount = None
    """Trainings of the tests at a time, to bound the memory; by default what is fastest."""
    num_perturbed: Count = 10
    """Controllers with changed weights."""
    perturbed_runs: Count = 2
    """Seeds from each initial rate of those controllers."""
    seed: SeedNumber = 0
    """Of everything."""


@dataclass(frozen=True)
class StepSizeExperiment:
    """Step-size controllers, one for each optimizer. `data` and `network` are those of the test."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    optimizers: tuple[Literal["momentum", "rmsprop"], ...] = ("momentum", "rmsprop")
    """A controller is learned and tested for each: momentum, rmsprop."""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig("mlp", features=(64, 32)))
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
    budget: Count = 1000
    """Distinct rules to evaluate."""
    batch_size: Count = 16
    """Rules proposed per update."""
    num_rows: Annotated[int, Within(1, MOST_ROWS)] = 2
    """Rows of a rule, 1 to 4; each combines two operands."""
    rates: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Learning rates tried with every rule, rising; the best counts."""
    child_batch_size: int = 64
    """Examples per inner step, in the search and in the comparison."""
    num_steps: Count = 100
    """Inner steps of each training in the search."""
    sweep_steps: Annotated[int, Within(0)] = 0
    """If above 0, each rule first trains so many steps at every rate, then `num_steps` at the best."""
    num_reward: Count = 512
    """Training examples behind the reward, which each training sets aside anew; at most a quarter of them."""
    num_seeds: Count = 1
    """Trainings per rule and rate in the search."""
    control_share: Annotated[float, Within(0, 1)] = 0.25
    """Share of the budget that random search gets as a control; 0 for no control."""
    top: Count = 50
    """Rules on the leaderboard."""
    num_found: Count = 3
    """Best found rules in the comparison."""
    compared_steps: Count = 1000
    """Inner steps of each training in the comparison."""
    tuning_runs: Count = 4
    """Seeds on which the rate is chosen, by accuracy on the selection split."""
    num_runs: Count = 16
    """Reported seeds, others than those of the choice; on the report split."""
    seed: SeedNumber = 0
    """Of everything."""


@dataclass(frozen=True)
class RuleSearchExperiment:
    """A search of update rules on `network`, compared with optimizers on `compared_network`."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    scale: Scale = "small"
    """small: minutes on two CPU cores; paper: for an accelerator."""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig("mlp", features=(32,)))
    compared_network: NetworkConfig = field(
        default_factory=lambda: NetworkConfig("mlp", features=(64, 32))
    )
    search: RuleSearchConfig = field(default_factory=RuleSearchConfig)
    run: PlaceConfig = field(default_factory=PlaceConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset


# What a checkpoint does not depend on: where data lie, and what is only about the evaluation.
_EVALUATED = {
    "step_size": (
        *("test_steps", "test_batch_size", "num_runs", "tuning_runs", "rates", "compare"),
        *("num_perturbed", "perturbed_runs", "agents", "chunk", "at_once", "controllers"),
    ),
    "search": ("top", "num_found", "compared_steps", "tuning_runs", "num_runs"),
    "data": ("dir",),
    "network": (),
}


def learned_settings(config: StepSizeExperiment | RuleSearchExperiment) -> dict[str, Any]:
    """The settings that decide what is found, flat, as a checkpoint keeps them."""
    values = dataclasses.asdict(config)
    flat: dict[str, Any] = {}
    if isinstance(config, StepSizeExperiment):  # its network is only tested
        flat["optimizers"] = list(config.optimizers)
        groups = {"data": values["data"], "step_size": values["step_size"]}
        if config.step_size.family_data is not None:
            del groups["data"]["name"]
    else:
        groups = {name: values[name] for name in ("data", "network", "search")}
    for group, part in groups.items():
        for name, value in part.items():
            if name not in _EVALUATED[group]:
                flat[f"{group}.{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
