"""Values that cannot work, each said with its option's name before anything is made."""

import math

from experiments.configs.bounds import check_bounds, require_within
from experiments.configs.broad import BroadConfig
from experiments.configs.config import Config, EnvConfig, OptimizerConfig
from experiments.configs.rules import RuleSearchExperiment
from experiments.configs.step_size import StepSizeExperiment
from ganno_jax.policies.schedules import SCHEDULES

_WITHOUT_MOMENTUM = ("sgd", "rmsprop")


def check(config: Config) -> None:
    """Raise a `ValueError` for what can be said of the per-layer agents' settings without the data."""
    check_bounds(config)
    for name in ("network", "task", "optimizer", "env", "agent", "learner", "evaluate", "run"):
        check_bounds(getattr(config, name), f"{name}.")
    steps = config.env.num_decisions * config.env.interval
    require_within({"env.num_decisions times env.interval": (steps, 1, math.inf)})
    # Of windows shorter than the default all steps are measured.
    most = max(config.env.interval, EnvConfig().num_measured)
    require_within({"env.num_measured": (config.env.num_measured, 1, most)})
    name, momentum = config.optimizer.name, config.optimizer.momentum
    if name in _WITHOUT_MOMENTUM and momentum != OptimizerConfig().momentum:
        raise ValueError(f"optimizer {name!r} takes no `optimizer.momentum`; got {momentum}.")
    if not config.evaluate.peaks:
        raise ValueError(f"`evaluate.peaks` needs a rate for the {len(SCHEDULES)} schedules.")


def check_broad(config: BroadConfig) -> None:
    """Raise a `ValueError` for a number out of its range, or what does not go with a head start or a direction."""
    check_bounds(config, "broad.")
    require_within({"broad.random_learned": (config.random_learned, 0, config.random_kinds)})
    if config.random_kinds and not config.head_start:
        raise ValueError("`broad.random_kinds` needs a head start: --broad.head_start 32.")
    numbers = ("momentum", "second_decay", "weight_decay")
    usual = BroadConfig()
    changed = [name for name in numbers if getattr(config, name) != getattr(usual, name)]
    if config.direction == usual.direction and changed:
        raise ValueError(
            f"`broad.{changed[0]}` is of one direction for all kinds: --broad.direction nadamw."
        )
    if config.head_start and config.recurrent:
        raise ValueError("agents with a memory cannot have a head start: --broad.head_start 0.")
    if config.head_start and config.actions != "relative":
        raise ValueError(
            "a head start is of one number per agent: --broad.head_start 0 or --broad.actions relative."
        )


def check_step_size(config: StepSizeExperiment) -> None:
    """Raise a `ValueError` for what can be said of the settings of step-size controllers without the data."""
    part = config.step_size
    if not config.optimizers or len(set(config.optimizers)) < len(config.optimizers):
        raise ValueError(
            f"`optimizers` needs one or more, each once; got {' '.join(config.optimizers) or 'none'}"
        )
    check_bounds(part, "step_size.")
    check_bounds(config.network, "network.")
    for name in ("num_steps", "fewest_steps", "test_steps"):
        steps = getattr(part, name)
        if steps % part.interval:
            raise ValueError(
                f"`step_size.{name}` must be whole decisions of {part.interval} steps; got {steps}."
            )
    filters = zip(part.fewest_filters, part.most_filters, strict=True)
    if not all(fewest <= most for fewest, most in filters):
        raise ValueError(
            f"`step_size.fewest_filters` must be at most `step_size.most_filters` {part.most_filters}; "
            f"got {part.fewest_filters}"
        )


def check_rules(config: RuleSearchExperiment) -> None:
    """Raise a `ValueError` for what can be said of the settings of a search of rules without the data."""
    check_bounds(config.search, "search.")
    for name in ("network", "compared_network"):
        check_bounds(getattr(config, name), f"{name}.")
