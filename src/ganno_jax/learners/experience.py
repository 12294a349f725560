"""From trainings to minibatches: rollouts in every env, advantages, normalizers, metrics.

All functions run on one device's share of the trainings, inside `shard_map`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.env.batching import AXIS
from ganno_jax.learners.advantages import generalized_advantages, subtract_group_mean
from ganno_jax.learners.rollout import Rollout, RolloutState, collect, pad_layers, start
from ganno_jax.learners.state import LearnerState, Minibatch
from ganno_jax.policies.normalizer import deviation_sums

if TYPE_CHECKING:
    from ganno_jax.learners.mappo import MAPPO


def gather(
    learner: MAPPO, state: LearnerState, num_devices: int
) -> tuple[LearnerState, list[Rollout]]:
    """Roll out the agents in every env, on this device's share; the new state keeps where the trainings stand."""
    config = learner.config
    policy = learner.policy(state)
    rollouts, states = [], []
    for number, env in enumerate(learner.envs):
        begin = _begin(learner, state, number, num_devices)
        action_keys = _keys(state, 2 * number + 1, config.num_envs, 1, num_devices)
        after, rollout = collect(
            env,
            policy,
            learner.critic,
            state.params["critic"],
            learner.mapping,
            begin,
            config.rollout_decisions,
            action_keys,
            config.noise_correlation,
        )
        states.append(after)
        rollouts.append(pad_layers(rollout, learner.num_layers))
    if learner.continues:
        state = state.replace(rollouts=tuple(states))
    return state, rollouts


def _begin(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Episodes of a batch end together: reset it where they have, at the cost of one branch."""
    fresh = partial(reset, learner, state, number, num_devices)
    if state.rollouts is None:
        return fresh()
    old = state.rollouts[number]
    done = old.env.decision[0] >= learner.envs[number].episode_decisions
    return jax.lax.cond(done, fresh, lambda: old)


def reset(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Fresh trainings of one env; those of a group share their key."""
    config = learner.config
    keys = _keys(state, 2 * number, config.num_envs, config.group_size, num_devices)
    policy = learner.policy(state)
    return start(learner.envs[number], policy, learner.critic, learner.mapping, keys)


def _keys(
    state: LearnerState, stream: int, num_envs: int, group_size: int, num_devices: int
) -> PRNGKeyArray:
    """Keys of this device's trainings; the same for a training wherever it runs."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2 * state.update + 1), stream)
    local = num_envs // num_devices
    numbers = jax.lax.axis_index(AXIS) * local + jnp.arange(local)
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers // group_size)


def prepare(learner: MAPPO, state: LearnerState, rollout: Rollout) -> Minibatch:
    """Advantages and value targets of one env's rollout."""
    config, t = learner.config, rollout.trajectory
    values = state.value_normalizer.invert(
        jnp.concatenate([t.value, rollout.last_value[None]], axis=0)
    )
    if not config.critic_baseline:
        values = values.at[:-1].set(0.0)
    discounts = config.discount * (1.0 - t.terminated.astype(jnp.float32))
    discounts = jnp.broadcast_to(discounts[..., None], t.reward.shape)
    over_batch = jax.vmap(jax.vmap(generalized_advantages, (1, 1, 1, None), 1), (1, 1, 1, None), 1)
    advantage = over_batch(t.reward, values, discounts, config.trace_decay)
    weight = (t.alive[..., None] & t.mask).astype(jnp.float32)
    target = advantage + values[:-1]
    if config.group_size > 1:
        advantage = subtract_group_mean(advantage, weight, config.group_size)
    return Minibatch(rollout, advantage, target, weight)


def join(batches: list[Minibatch]) -> Minibatch:
    """The envs' experience side by side."""
    return over_envs(lambda *parts: jnp.concatenate(parts[:-1], axis=parts[-1]), *batches)


def over_envs(function: Any, *batches: Minibatch) -> Minibatch:
    """Apply `function(*leaves, axis)` to all leaves, where `axis` is that of the envs."""

    def at(axis: int, *trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: function(*leaves, axis), *trees)

    rollouts = [b.rollout for b in batches]
    rollout = Rollout(
        trajectory=at(1, *[r.trajectory for r in rollouts]),
        last_value=at(0, *[r.last_value for r in rollouts]),
        actor_memory=at(0, *[r.actor_memory for r in rollouts]),
        critic_memory=at(0, *[r.critic_memory for r in rollouts]),
    )
    rest = [(b.advantage, b.target, b.weight) for b in batches]
    return Minibatch(rollout, *at(1, *rest))


def normalize_advantages(batch: Minibatch) -> Minibatch:
    """Advantages to zero mean and unit variance over all devices."""
    total = jax.lax.psum(jnp.sum(batch.weight), AXIS)
    mean = jax.lax.psum(jnp.sum(batch.advantage * batch.weight), AXIS) / jnp.maximum(total, 1.0)
    centered = batch.advantage - mean
    variance = jax.lax.psum(jnp.sum(jnp.square(centered) * batch.weight), AXIS)
    scale = jnp.sqrt(variance / jnp.maximum(total, 1.0)) + 1e-8
    return batch.replace(advantage=centered / scale)


def update_normalizers(
    learner: MAPPO, state: LearnerState, rollouts: list[Rollout], batch: Minibatch
) -> LearnerState:
    """Add this update's experience; diverged trainings and padding do not count."""
    normalizer, values = state.normalizer, state.value_normalizer
    feature_sums = [
        deviation_sums(
            r.trajectory.features,
            normalizer.mean,
            (r.trajectory.alive[..., None] & r.trajectory.mask).astype(jnp.float32),
        )
        for r in rollouts
    ]
    feature_sums = jax.tree.map(lambda *parts: sum(parts), *feature_sums)
    value_sums = deviation_sums(batch.target[..., None], values.mean, batch.weight)
    feature_sums, value_sums = jax.lax.psum((feature_sums, value_sums), AXIS)
    return state.replace(
        normalizer=normalizer.merged(*feature_sums, 1e6),
        value_normalizer=values.merged(*value_sums, 2.0 * value_sums[0]),
    )


def experience_metrics(
    learner: MAPPO, state: LearnerState, rollouts: list[Rollout]
) -> dict[str, Float[Array, ""]]:
    """Means over trainings, reduced here so that nothing grows with the number of updates."""
    returns, lengths, diverged, count = 0.0, 0.0, 0.0, 0.0
    for rollout in rollouts:
        t = rollout.trajectory
        weight = t.alive[..., None] & t.mask
        agents = jnp.maximum(jnp.sum(t.mask[0], -1), 1)
        returns += jnp.sum(jnp.sum(t.reward * weight, (0, 2)) / agents)
        lengths += jnp.sum(t.alive)
        diverged += jnp.sum(t.diverged[-1])
        count += t.alive.shape[1]
    sums = jax.lax.psum(
        {"return": returns, "episode_length": lengths, "share_diverged": diverged, "count": count},
        AXIS,
    )
    total = sums.pop("count")
    return {name: value / total for name, value in sums.items()}
