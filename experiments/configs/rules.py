"""Configuration of searches of update rules. Frozen dataclasses; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from experiments.configs.bounds import (
    HIGHEST_PEAK,
    MANY,
    Count,
    Ladder,
    SeedNumber,
    Within,
)
from experiments.configs.config import DataConfig, NetworkConfig, Scale
from experiments.configs.place import PlaceConfig
from experiments.configs.values import PLACES_OF_DATA, flat

MOST_ROWS = 4  # of a rule, as `rules.MAX_STEPS`
RisingRates = Annotated[tuple[float, ...], Ladder(HIGHEST_PEAK)]


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
    rates: RisingRates = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Learning rates tried with every rule, rising; the best counts."""
    child_batch_size: Count = 64
    """Examples per inner step, in the search and in the comparison."""
    num_steps: Count = 100
    """Inner steps of each training in the search."""
    sweep_steps: Annotated[int, Within(0)] = 0
    """Steps that each rule first trains at every rate, to take `num_steps` at the best alone; 0: none."""
    num_reward: Annotated[int, Within(1, MANY)] = 512
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


# What a checkpoint does not depend on: what is only about the evaluation.
_EVALUATED = ("top", "num_found", "compared_steps", "tuning_runs", "num_runs")


def learned_settings(config: RuleSearchExperiment) -> dict[str, Any]:
    """The settings that decide what is found, flat, as a checkpoint keeps them."""
    return {
        **flat("data", config.data, without=PLACES_OF_DATA),
        **flat("network", config.network),
        **flat("search", config.search, without=_EVALUATED),
    }
