"""What evolution strategies are set to."""

import math
from collections.abc import Sequence

from flax import struct
from jax.sharding import Mesh

from ganno_jax.env.environment import Env


@struct.dataclass
class EvolutionConfig:
    """Settings of the learner; numbers are leaves, counts are static."""

    learning_rate: float = 0.01  # of Adam, falling linearly to zero over `num_updates`
    deviation: float = 0.05  # sigma, of the weights
    num_updates: int = 300
    num_pairs: int = struct.field(pytree_node=False, default=16)
    num_members: int = struct.field(
        pytree_node=False, default=4
    )  # trainings of each env in an update
    rollout_decisions: int = struct.field(pytree_node=False, default=30)
    by_rank: bool = struct.field(pytree_node=False, default=True)  # else in standard deviations


def check(config: EvolutionConfig, envs: Sequence[Env]) -> None:
    """Raise a `ValueError` for counts that do not fit each other or the envs, or a number out of its range."""
    for name in ("num_pairs", "num_members", "rollout_decisions"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be at least 1; got {getattr(config, name)}.")
    for name in ("learning_rate", "deviation"):
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"`{name}` must be above 0 and finite; got {getattr(config, name)}.")
    for env in envs:
        if env.episode_decisions % config.rollout_decisions:
            raise ValueError(
                f"an episode of {env.episode_decisions} decisions is not a whole number of "
                f"rollouts of {config.rollout_decisions}."
            )


def check_divisible(config: EvolutionConfig, mesh: Mesh) -> None:
    """Raise a `ValueError` unless the pairs divide over the devices."""
    if config.num_pairs % mesh.size:
        higher = -(-config.num_pairs // mesh.size) * mesh.size
        raise ValueError(
            f"{config.num_pairs} pairs do not divide over {mesh.size} devices; "
            f"the next number that does is {higher}."
        )
