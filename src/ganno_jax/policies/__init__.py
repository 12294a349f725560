"""Who sets the rates: schedules, feedback rules, agents. All have `init` and `act`."""

from ganno_jax.policies.agents import AgentPolicy, Ensemble, untrained
from ganno_jax.policies.bank import ScheduleBank
from ganno_jax.policies.base import Policy
from ganno_jax.policies.feedback import ReduceOnPlateau
from ganno_jax.policies.normalizer import Normalizer
from ganno_jax.policies.schedules import SCHEDULES, SchedulePolicy
from ganno_jax.policies.simple import FixedRates, OpenLoop, mean_schedule
from ganno_jax.policies.untaught import NeutralPolicy, RandomPolicy

__all__ = [
    "SCHEDULES",
    "AgentPolicy",
    "Ensemble",
    "FixedRates",
    "NeutralPolicy",
    "Normalizer",
    "OpenLoop",
    "Policy",
    "RandomPolicy",
    "ReduceOnPlateau",
    "ScheduleBank",
    "SchedulePolicy",
    "mean_schedule",
    "untrained",
]
