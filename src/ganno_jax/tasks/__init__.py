"""What is trained: data sets, inner networks, tasks and task families. Knows nothing of learning rates."""

from ganno_jax.tasks import distributions, sampling, sources
from ganno_jax.tasks.augmentation import CropsAndFlips
from ganno_jax.tasks.dataset import Batch, Dataset, Split, from_arrays, place
from ganno_jax.tasks.example_losses import (
    cross_entropy,
    episode_loss,
    reconstruction_error,
    squared_error,
)
from ganno_jax.tasks.family import TaskFamily, from_functions, from_linen, from_nnx
from ganno_jax.tasks.task import Task

__all__ = [
    "Batch",
    "CropsAndFlips",
    "Dataset",
    "Split",
    "Task",
    "TaskFamily",
    "cross_entropy",
    "distributions",
    "episode_loss",
    "from_arrays",
    "from_functions",
    "from_linen",
    "from_nnx",
    "place",
    "reconstruction_error",
    "sampling",
    "sources",
    "squared_error",
]
