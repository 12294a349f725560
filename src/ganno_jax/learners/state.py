"""What the learner is set to, and what changes while it learns."""

import math
from typing import Any

from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.learners.rollout import Rollout, RolloutState
from ganno_jax.policies.normalizer import Normalizer


@struct.dataclass
class MAPPOConfig:
    """Settings of the learner; numbers are leaves, counts are static."""

    learning_rate: float = 1e-3  # of Adam, falling linearly to zero over `num_updates`
    discount: float = 1.0
    trace_decay: float = 0.95
    clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.001
    max_gradient_norm: float = 0.5
    target_kl: float = 0.05  # no further epochs in this update once the mean KL is above this
    noise_correlation: float = 0.0  # of the noise of successive real-valued actions, [0, 1)
    noise_fall: float = (
        0.0  # of the log standard deviation of real-valued actions, over `num_updates`
    )
    num_updates: int = 300
    num_envs: int = struct.field(pytree_node=False, default=128)  # per env of the tuple
    rollout_decisions: int = struct.field(pytree_node=False, default=30)
    num_epochs: int = struct.field(pytree_node=False, default=4)
    num_minibatches: int = struct.field(pytree_node=False, default=4)
    group_size: int = struct.field(pytree_node=False, default=1)  # envs that share a training
    # What returns are compared with besides the group's mean: the critic's values (GAE), or nothing: the values in GAE
    # are then 0, and `trace_decay` below 1 discounts later rewards once more.
    critic_baseline: bool = struct.field(pytree_node=False, default=True)


@struct.dataclass
class LearnerState:
    """Everything that changes while learning."""

    params: Any  # {"actor": ..., "critic": ...}
    optimizer_state: Any
    normalizer: Normalizer
    value_normalizer: Normalizer
    rollouts: tuple[RolloutState, ...] | None  # None where every rollout is a whole episode
    update: Int[Array, ""]
    key: PRNGKeyArray


@struct.dataclass
class Minibatch:
    """Experience with its advantages, [time, env, layer, ...]."""

    rollout: Rollout
    advantage: Float[Array, "time env layer"]
    target: Float[Array, "time env layer"]  # natural units
    weight: Float[Array, "time env layer"]


def check_divisible(config: MAPPOConfig, mesh: Mesh) -> None:
    """Raise a `ValueError` unless the trainings divide over devices, groups and minibatches."""
    unit = mesh.size * math.lcm(config.num_minibatches, config.group_size)
    if config.num_envs % unit:
        higher = -(-config.num_envs // unit) * unit
        raise ValueError(
            f"{config.num_envs} trainings do not divide over {mesh.size} devices, "
            f"{config.num_minibatches} minibatches and groups of {config.group_size}; "
            f"the next number that does is {higher}."
        )
