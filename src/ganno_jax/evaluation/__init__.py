"""What a policy is worth: runs, tuning of baselines, statistics, tables. Imports no learner."""

from ganno_jax.evaluation import statistics, tables
from ganno_jax.evaluation.evaluate import Curves, evaluate
from ganno_jax.evaluation.halving import Rung, successive_halving
from ganno_jax.evaluation.tuning import TunedSchedules, tune_schedules

__all__ = [
    "Curves",
    "Rung",
    "TunedSchedules",
    "evaluate",
    "statistics",
    "successive_halving",
    "tables",
    "tune_schedules",
]
