"""Configuration of step-size controllers. Frozen dataclasses; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from experiments.configs.bounds import (
    HIGHEST_RATE,
    Count,
    Each,
    Positive,
    Rising,
    SeedNumber,
    Some,
    SomeCount,
    Within,
)
from experiments.configs.config import DataConfig, NetworkConfig, Range, Scale
from experiments.configs.place import PlaceConfig
from experiments.configs.values import PLACES_OF_DATA, flat

SomeRates = Annotated[tuple[float, ...], Some(), Each(Positive(HIGHEST_RATE))]


@dataclass(frozen=True)
class StepSizeConfig:
    """How controllers are learned and tested. The defaults take minutes on two cores."""

    family: Literal["mlp", "random_cnn"] = "mlp"
    """Networks learned on: MLPs of one hidden layer of 8 to 32 units, or random CNNs."""
    family_data: str | None = None
    """Data set learned on, at the image size of the tested one; by default the tested one."""
    data_fraction: Annotated[Range, Rising(above=0.0, highest=1.0)] = (0.5, 1.0)
    """Share of the training examples that a task learned on has, uniform, in (0, 1]."""
    fewest_filters: Annotated[tuple[int, int, int], Each(Within(1))] = (2, 5, 50)
    """Filters of the smallest random CNN."""
    most_filters: Annotated[tuple[int, int, int], Each(Within(1))] = (9, 24, 249)
    """Filters of the largest random CNN."""
    controllers: str | None = None
    """Folder of another run: test its controllers instead of a search, and draw its panels too."""
    strategy: Literal["reps", "cmaes", "random"] = "reps"
    """The learner."""
    initial_rate: Annotated[Range | None, Rising(above=0.0, highest=HIGHEST_RATE)] = None
    """Rate before the first decision, log-uniform, > 0; by default 1e-4 to 0.1, rmsprop 1e-5 to 0.01."""
    batch_size: Count = 64
    """Examples per inner step."""
    num_steps: Count = 600
    """Inner steps of the longest training."""
    fewest_steps: Count = 300
    """Inner steps of the shortest."""
    by_layer: bool = False
    """A rate for each layer, from the change along its own update, instead of one for all; ours."""
    interval: Count = 10
    """Inner steps per decision; 1 is every-step control, as published."""
    limit: SomeCount = None
    """Examples of the batch that the features are taken over; all by default."""
    num_samples: Count = 32
    """Controllers per iteration."""
    num_tasks: Count = 4
    """Tasks per iteration; every controller is tried on each."""
    num_iterations: Count = 20
    """Iterations of the search."""
    num_judged: SomeCount = None
    """Training examples behind the return; all by default."""
    test_steps: Count = 600
    """Inner steps on the test network."""
    test_batch_size: Count = 64
    """Examples per inner step on the test network (published: 512)."""
    num_runs: Count = 6
    """Seeds from each initial rate, and of every schedule."""
    tuning_runs: Count = 20
    """Seeds on which schedules are tuned, all of them for the best settings; others than the reported ones."""
    rates: SomeRates = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
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


# What a checkpoint does not depend on: what is only about the evaluation.
_EVALUATED = (
    *("test_steps", "test_batch_size", "num_runs", "tuning_runs", "rates", "compare"),
    *("num_perturbed", "perturbed_runs", "agents", "chunk", "at_once", "controllers"),
)


def learned_settings(config: StepSizeExperiment) -> dict[str, Any]:
    """The settings that decide what is found, flat, as a checkpoint keeps them; the network is only tested."""
    other_data = () if config.step_size.family_data is None else ("name",)
    return {
        "optimizers": list(config.optimizers),
        **flat("data", config.data, without=(*PLACES_OF_DATA, *other_data)),
        **flat("step_size", config.step_size, without=_EVALUATED),
    }
