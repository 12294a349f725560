"""A training as an episode: observation, action, reward, reset and step."""

from ganno_jax.env import actions, base_shapes, observation, rewards, whole_update
from ganno_jax.env.environment import Env, EnvState, TimeStep
from ganno_jax.env.features import FEATURES
from ganno_jax.env.mapping import Mapping, advance_trainings, map_trainings
from ganno_jax.env.mesh import make_mesh
from ganno_jax.env.observation import Observation
from ganno_jax.env.rewards import Outcome

__all__ = [
    "FEATURES",
    "Env",
    "EnvState",
    "Mapping",
    "Observation",
    "Outcome",
    "TimeStep",
    "actions",
    "advance_trainings",
    "base_shapes",
    "make_mesh",
    "map_trainings",
    "observation",
    "rewards",
    "whole_update",
]
