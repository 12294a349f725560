"""What the learner is set to."""

import math
from collections.abc import Sequence

from flax import struct
from jax.sharding import Mesh

from ganno_jax.env.environment import Env


@struct.dataclass
class MAPPOConfig:
    """Settings of the learner; numbers are leaves, counts are static."""

    learning_rate: float = 1e-3  # of Adam, falling linearly to zero over `num_updates`
    discount: float = 1.0
    trace_decay: float = 0.95
    clip: float = 0.2
    entropy_coefficient: float = 0.001
    max_gradient_norm: float = 0.5  # of the agents' gradient, and of the critic's
    target_kl: float = 0.05  # no further epochs in this update once the mean KL is above this
    noise_correlation: float = 0.0  # of the noise of successive real-valued actions, [0, 1)
    noise_shared: float = (
        0.0  # share of that noise which all agents of a training have in common, [0, 1]
    )
    noise_fall: float = (
        0.0  # of the log standard deviation of real-valued actions, over `num_updates`
    )
    num_updates: int = 300
    num_envs: int = struct.field(pytree_node=False, default=128)  # per env of the tuple
    rollout_decisions: int = struct.field(pytree_node=False, default=30)
    num_epochs: int = struct.field(pytree_node=False, default=4)
    num_minibatches: int = struct.field(pytree_node=False, default=4)
    group_size: int = struct.field(pytree_node=False, default=1)  # envs that share a training
    # Whether advantages are divided by their deviation in the group, so that every training weighs the same.
    group_scale: bool = struct.field(pytree_node=False, default=False)
    # What returns are compared with besides the group's mean: the values of a critic (GAE), or nothing. Without it
    # there is no critic, a value in GAE is 0, and `trace_decay` below 1 discounts later rewards once more.
    critic_baseline: bool = struct.field(pytree_node=False, default=True)


def check(config: MAPPOConfig, envs: Sequence[Env]) -> None:
    """Raise a `ValueError` for counts that do not fit each other or the envs, or a number out of its range."""
    for name in ("num_envs", "rollout_decisions", "num_epochs", "num_minibatches", "group_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be at least 1; got {getattr(config, name)}.")
    length = config.rollout_decisions
    for env in envs:
        if env.episode_decisions % length:
            raise ValueError(
                f"an episode of {env.episode_decisions} decisions is not a whole number of "
                f"rollouts of {length}."
            )
        if env.episode_decisions != length and not config.critic_baseline:
            raise ValueError(
                "without a critic nothing tells what comes after a rollout: it must be a whole episode of "
                f"{env.episode_decisions} decisions; got {length}."
            )
    if not (0 < config.learning_rate < math.inf and 0 < config.clip < math.inf):
        raise ValueError(
            "`learning_rate` and `clip` must be above 0 and finite; "
            f"got {config.learning_rate} and {config.clip}."
        )
    for name in ("discount", "trace_decay", "noise_correlation", "noise_shared"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"`{name}` must be in [0, 1]; got {getattr(config, name)}.")
    if config.group_size == 1 and not config.critic_baseline:
        raise ValueError("without the critic's baseline `group_size` must be at least 2; got 1.")
    if config.group_size == 1 and config.group_scale:
        raise ValueError("with `group_scale` `group_size` must be at least 2; got 1.")


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
