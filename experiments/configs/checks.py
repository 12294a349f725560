"""Values that cannot work, each said with its option's name before anything is made."""

import math

from experiments.configs.bounds import check_bounds, require_within
from experiments.configs.config import Config, OptimizerConfig
from ganno_jax.policies.schedules import SCHEDULES

_WITHOUT_MOMENTUM = ("sgd", "rmsprop")


def check(config: Config) -> None:
    """Raise a `ValueError` for what can be said of the per-layer agents' settings without the data."""
    check_bounds(config)
    for name in ("network", "task", "optimizer", "env", "agent", "learner", "evaluate", "run"):
        check_bounds(getattr(config, name), f"{name}.")
    steps = config.env.num_decisions * config.env.interval
    require_within({"env.num_decisions times env.interval": (steps, 1, math.inf)})
    name, momentum = config.optimizer.name, config.optimizer.momentum
    if name in _WITHOUT_MOMENTUM and momentum != OptimizerConfig().momentum:
        raise ValueError(f"optimizer {name!r} takes no `optimizer.momentum`; got {momentum}.")
    if not config.evaluate.peaks:
        raise ValueError(f"`evaluate.peaks` needs a rate for the {len(SCHEDULES)} schedules.")
