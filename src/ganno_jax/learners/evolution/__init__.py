"""Evolution strategies over the weights of agents, for whole episodes or persistent ones."""

from ganno_jax.learners.evolution.config import EvolutionConfig
from ganno_jax.learners.evolution.learner import Evolution, EvolutionState

__all__ = ["Evolution", "EvolutionConfig", "EvolutionState"]
