"""Values that cannot work, each said with its option's name before anything is made."""

from experiments.configs.bounds import check_bounds
from experiments.configs.config import Config
from ganno_jax.policies.schedules import SCHEDULES


def check(config: Config) -> None:
    """Raise a `ValueError` for what can be said of the per-layer agents' settings without the data."""
    check_bounds(config)
    for name in ("task", "optimizer", "env", "agent", "learner", "evaluate", "run"):
        check_bounds(getattr(config, name), f"{name}.")
    if not config.evaluate.peaks:
        raise ValueError(f"`evaluate.peaks` needs a rate for the {len(SCHEDULES)} schedules.")
