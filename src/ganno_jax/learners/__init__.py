"""How a policy improves."""

from ganno_jax.env.batching import make_mesh
from ganno_jax.learners.mappo import MAPPO, train
from ganno_jax.learners.state import LearnerState, MAPPOConfig

__all__ = ["MAPPO", "LearnerState", "MAPPOConfig", "make_mesh", "train"]
