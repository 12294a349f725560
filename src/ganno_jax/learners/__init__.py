"""How a policy improves."""

from ganno_jax.env.mesh import make_mesh
from ganno_jax.learners.evolution import Evolution, EvolutionConfig, EvolutionState
from ganno_jax.learners.mappo import MAPPO, LearnerState, MAPPOConfig
from ganno_jax.learners.search import CMAES, REPS, ParameterSearch, RandomSearch
from ganno_jax.learners.training import train, train_some

__all__ = [
    "CMAES",
    "MAPPO",
    "REPS",
    "Evolution",
    "EvolutionConfig",
    "EvolutionState",
    "LearnerState",
    "MAPPOConfig",
    "ParameterSearch",
    "RandomSearch",
    "make_mesh",
    "train",
    "train_some",
]
