"""What actions were worth: advantages, value targets and weights, on one device's share of the trainings."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ganno_jax.env.mesh import AXIS
from ganno_jax.learners.mappo.advantages import (
    divide_by_group_deviation,
    generalized_advantages,
    subtract_group_mean,
)
from ganno_jax.learners.mappo.baseline import Baseline
from ganno_jax.learners.mappo.config import MAPPOConfig
from ganno_jax.learners.mappo.rollout import Rollout
from ganno_jax.policies.normalizer import Normalizer, deviation_sums


@struct.dataclass
class Experience:
    """What agents went through, with its advantages, [time, env, layer, ...]."""

    rollout: Rollout
    advantage: Float[Array, "time env layer"]
    target: Float[Array, "time env layer"]  # natural units
    weight: Float[
        Array, "time env layer"
    ]  # adds up to 1 over the layers of a training that goes on


def judge(config: MAPPOConfig, baseline: Baseline, rollout: Rollout) -> Experience:
    """Advantages and value targets of one env's rollout.

    However many layers a network has, its training weighs as much as another: each agent one over their number.

    Args:
      config: discount, decay of traces and size of groups.
      baseline: what returns are compared with.
      rollout: of one env, `[time, env, layer]`.
    """
    t = rollout.trajectory
    values = baseline.natural(jnp.concatenate([t.value, rollout.last_value[None]], axis=0))
    discounts = config.discount * (1.0 - t.terminated.astype(jnp.float32))
    discounts = jnp.broadcast_to(discounts[..., None], t.reward.shape)
    over_batch = jax.vmap(jax.vmap(generalized_advantages, (1, 1, 1, None), 1), (1, 1, 1, None), 1)
    advantage = over_batch(t.reward, values, discounts, config.trace_decay)
    target = advantage + values[:-1]
    counts = t.alive[..., None] & t.mask
    if config.group_size > 1:
        advantage = subtract_group_mean(advantage, counts, config.group_size)
    if config.group_scale:
        advantage = divide_by_group_deviation(advantage, counts, config.group_size)
    layers = jnp.maximum(jnp.sum(t.mask, -1, keepdims=True), 1)
    return Experience(rollout, advantage, target, counts / layers)


def normalize_advantages(experience: Experience) -> Experience:
    """Advantages to zero mean and unit variance over all devices."""
    total = jax.lax.psum(jnp.sum(experience.weight), AXIS)
    mean = jax.lax.psum(jnp.sum(experience.advantage * experience.weight), AXIS) / jnp.maximum(
        total, 1.0
    )
    centered = experience.advantage - mean
    variance = jax.lax.psum(jnp.sum(jnp.square(centered) * experience.weight), AXIS)
    scale = jnp.sqrt(variance / jnp.maximum(total, 1.0)) + 1e-8
    return experience.replace(advantage=centered / scale)


def join(experiences: Sequence[Experience]) -> Experience:
    """The envs' experience side by side."""
    return over_envs(lambda *parts: jnp.concatenate(parts[:-1], axis=parts[-1]), *experiences)


def over_envs(function: Callable[..., Array], *experiences: Experience) -> Experience:
    """Apply `function(*leaves, axis)` to all leaves, where `axis` is that of the envs."""

    def at(axis: int, *trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: function(*leaves, axis), *trees)

    rollouts = [e.rollout for e in experiences]
    rollout = Rollout(
        trajectory=at(1, *[r.trajectory for r in rollouts]),
        last_value=at(0, *[r.last_value for r in rollouts]),
        actor_memory=at(0, *[r.actor_memory for r in rollouts]),
        critic_memory=at(0, *[r.critic_memory for r in rollouts]),
    )
    rest = [(e.advantage, e.target, e.weight) for e in experiences]
    return Experience(rollout, *at(1, *rest))


def with_features(normalizer: Normalizer, experience: Experience) -> Normalizer:
    """Of features, with those of an experience on all devices; diverged trainings and padding do not count."""
    counts = (experience.weight > 0).astype(jnp.float32)
    features = experience.rollout.trajectory.features
    sums = jax.lax.psum(deviation_sums(features, normalizer.mean, counts), AXIS)
    return normalizer.merged(*sums, 1e6)


def with_targets(normalizer: Normalizer, experience: Experience) -> Normalizer:
    """Of values, with the targets of an experience on all devices; two updates on they are forgotten."""
    sums = deviation_sums(experience.target[..., None], normalizer.mean, experience.weight)
    sums = jax.lax.psum(sums, AXIS)
    return normalizer.merged(*sums, 2.0 * sums[0])


def experience_metrics(experience: Experience) -> dict[str, Float[Array, ""]]:
    """Means over trainings, reduced here so that nothing grows with the number of updates.

    Returns:
      `return`: the sum of rewards, mean over the layers; `episode_length` in decisions; `share_diverged`.
    """
    t = experience.rollout.trajectory
    sums = {
        "return": jnp.sum(t.reward * experience.weight),
        "episode_length": jnp.sum(t.alive),
        "share_diverged": jnp.sum(t.diverged[-1]),
        "count": t.alive.shape[1],
    }
    sums = jax.lax.psum(jax.tree.map(jnp.float32, sums), AXIS)
    total = sums.pop("count")
    return {name: value / total for name, value in sums.items()}
