"""How one training advances: layers, directions, steps, statistics."""

from ganno_jax.inner import directions, layers, statistics
from ganno_jax.inner.directions import DIRECTIONS, Direction, Hyperparameters, InnerOptimizer
from ganno_jax.inner.layers import LayerMap, apply_rates
from ganno_jax.inner.state import InnerMetrics, InnerState
from ganno_jax.inner.training import Training

__all__ = [
    "DIRECTIONS",
    "Direction",
    "Hyperparameters",
    "InnerMetrics",
    "InnerOptimizer",
    "InnerState",
    "LayerMap",
    "Training",
    "apply_rates",
    "directions",
    "layers",
    "statistics",
]
