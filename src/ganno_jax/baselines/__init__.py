"""Published optimizers to compare with, as Optax transformations."""

from ganno_jax.baselines.celo import celo, celo_adam
from ganno_jax.baselines.free import LEARNING_RATE_FREE, LearningRateFree
from ganno_jax.baselines.hypergradient import (
    hypergradient,
    hypergradient_adam,
    hypergradient_momentum,
    hypergradient_sgd,
)
from ganno_jax.baselines.velo import velo
from ganno_jax.baselines.weights import LearnedWeights, load_weights, shipped_weights

__all__ = [
    "LEARNING_RATE_FREE",
    "LearnedWeights",
    "LearningRateFree",
    "celo",
    "celo_adam",
    "hypergradient",
    "hypergradient_adam",
    "hypergradient_momentum",
    "hypergradient_sgd",
    "load_weights",
    "shipped_weights",
    "velo",
]
