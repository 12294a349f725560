"""Multi-agent PPO over the layers of many trainings. `learner.update` is one update on one page."""

from ganno_jax.learners.mappo.config import MAPPOConfig
from ganno_jax.learners.mappo.learner import MAPPO
from ganno_jax.learners.mappo.state import LearnerState

__all__ = ["MAPPO", "LearnerState", "MAPPOConfig"]
