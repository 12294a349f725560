"""Training a neural network as a reinforcement-learning environment, one agent per layer.

In the order of the data flow: a `TaskFamily` draws training problems, `Training` advances one, `Env` makes it an
episode, a policy sets the learning rates, `MAPPO` improves the policy, `evaluate` says what it is worth, and `control`
puts a trained policy into anybody's training as an Optax transformation, `optimizer` one that brings its own direction.
"""

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

__version__ = "0.1.0"

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
