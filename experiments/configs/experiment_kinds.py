"""Kinds of experiment: each has a type of configuration and a module with its commands.

A module has `train`, `evaluate` and `plot`, each of a configuration and the words of the command line.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from experiments.configs.broad import BroadExperiment, SuiteExperiment
from experiments.configs.config import Config
from experiments.configs.rules import RuleSearchExperiment
from experiments.configs.step_size import StepSizeExperiment
from experiments.configs.values import from_dict

AnyConfig = Config | StepSizeExperiment | RuleSearchExperiment | BroadExperiment | SuiteExperiment

# What makes a stored configuration one of its kind, its type, its commands; agents are the default.
KINDS: dict[str, tuple[type, str]] = {
    "step_size": (StepSizeExperiment, "experiments.step_size.commands"),
    "search": (RuleSearchExperiment, "experiments.rules.commands"),
    "broad": (BroadExperiment, "experiments.broad.commands"),
    "suite": (SuiteExperiment, "experiments.suites.commands"),
    "learner": (Config, "experiments.agents.commands"),
}


# Commands that several processes can run as one.
_OF_PROCESSES = {("train", Config), ("evaluate", Config), ("train", BroadExperiment)}


def takes_processes(command: str, config: AnyConfig) -> bool:
    """Whether several processes can run this command as one."""
    return (command, type(config)) in _OF_PROCESSES


def commands_of(config: AnyConfig) -> ModuleType:
    """The module whose functions do the commands; importing it imports JAX."""
    return importlib.import_module(dict(KINDS.values())[type(config)])


def stored(values: Mapping[str, Any]) -> AnyConfig:
    """The configuration that `config.to_dict` wrote, of whichever kind.

    Raises:
      ValueError: a setting that does not exist here, or is of another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"a configuration must be a group of settings; got {type(values).__name__}"
        )
    kind = next((made for group, (made, _) in KINDS.items() if group in values), Config)
    return from_dict(values, kind)
