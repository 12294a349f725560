"""A training as an episode: observation, action, reward, reset and step."""

from ganno_jax.env import actions, observation, rewards
from ganno_jax.env.batching import Mapping, advance_trainings, make_mesh, map_trainings
from ganno_jax.env.environment import Env, EnvState, TimeStep
from ganno_jax.env.observation import FEATURES, Observation
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
    "make_mesh",
    "map_trainings",
    "observation",
    "rewards",
]
