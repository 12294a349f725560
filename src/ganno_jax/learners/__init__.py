"""How a policy improves."""

from ganno_jax.learners.mappo import MAPPO, LearnerState, MAPPOConfig, make_mesh, train

__all__ = ["MAPPO", "LearnerState", "MAPPOConfig", "make_mesh", "train"]
