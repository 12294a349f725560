"""Training a neural network as a reinforcement-learning environment, one agent per layer.

In the order of the data flow: a `TaskFamily` draws training problems, `Training` advances one, `Env` makes it an
episode, a policy sets the learning rates, `MAPPO` improves the policy, `evaluate` says what it is worth, and `control`
puts a trained policy into anybody's training as an Optax transformation, `optimizer` one that brings its own direction.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ganno_jax.control import control
from ganno_jax.controller_files import load, save
from ganno_jax.controllers import Controller
from ganno_jax.door.horizon import extend
from ganno_jax.door.migrate import migrate
from ganno_jax.door.reports import describe, metrics
from ganno_jax.env import Env
from ganno_jax.evaluation import evaluate
from ganno_jax.inner import Training
from ganno_jax.learners import MAPPO, MAPPOConfig, make_mesh, train
from ganno_jax.optimizer import optimizer
from ganno_jax.policies import AgentPolicy, Policy
from ganno_jax.tasks import Dataset, Task, TaskFamily
from ganno_jax.version import VERSION

if TYPE_CHECKING:
    from ganno_jax import baselines as baselines
    from ganno_jax import checkpoint as checkpoint
    from ganno_jax import plots as plots
    from ganno_jax import rules as rules
    from ganno_jax.train_state import TrainState as TrainState

__version__ = VERSION
# Imported where they are used first, since they take seconds: what, and the module that has it.
_LAZY = {"baselines": "", "checkpoint": "", "plots": "", "rules": "", "TrainState": "train_state"}

__all__ = [
    "MAPPO",
    "AgentPolicy",
    "Controller",
    "Dataset",
    "Env",
    "MAPPOConfig",
    "Policy",
    "Task",
    "TaskFamily",
    "TrainState",
    "Training",
    "control",
    "describe",
    "evaluate",
    "extend",
    "load",
    "make_mesh",
    "metrics",
    "migrate",
    "optimizer",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    """A room, or a class, that `import ganno_jax` does not import itself."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name] or name}")
    return getattr(module, name) if _LAZY[name] else module


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
