"""Gradient steps on minibatches of experience."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.batching import AXIS
from ganno_jax.learners.losses import approximate_kl, clipped_policy_loss, clipped_value_loss
from ganno_jax.learners.state import LearnerState, Minibatch
from ganno_jax.policies.agents import to_distribution
from ganno_jax.policies.networks import unroll

if TYPE_CHECKING:
    from ganno_jax.learners.mappo import MAPPO


def minibatch_order(
    learner: MAPPO, key: PRNGKeyArray, device: Int[Array, ""], num_devices: int
) -> Int[Array, "minibatch env"]:
    """Which of this device's trainings go into which minibatch of an epoch.

    Trainings lie in lanes of `num_minibatches` neighbours; each lane gives one training to each minibatch, in an
    order of its own, so the composition is the same for any number of devices.
    """
    size = learner.config.num_minibatches
    local = learner.config.num_envs // num_devices
    lanes = local // size
    orders = []
    for number in range(len(learner.envs)):
        lane_numbers = number * (learner.config.num_envs // size) + device * lanes
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(lane_numbers + jnp.arange(lanes))
        within = jax.vmap(lambda k: jax.random.permutation(k, size))(keys)
        order = within + size * jnp.arange(lanes)[:, None] + number * local
        orders.append(order.T)
    return jnp.concatenate(orders, axis=1)


def minibatch_step(
    learner: MAPPO,
    state: LearnerState,
    carry: tuple[Any, Any, Array],
    batch: Minibatch,
    learning_rate: Float[Array, ""],
):
    """One gradient step, skipped once the policy has moved too far from the one that acted."""
    config = learner.config
    params, optimizer_state, stopped = carry
    (_, sums), gradient = jax.value_and_grad(_loss_sums, argnums=2, has_aux=True)(
        learner, state, params, batch
    )
    gradient, sums = jax.lax.psum((gradient, sums), AXIS)
    count = jnp.maximum(sums.pop("count"), 1.0)
    gradient = jax.tree.map(lambda g: g / count, gradient)
    metrics = {name: value / count for name, value in sums.items()}
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    direction, new_optimizer_state = learner.optimizer().update(gradient, optimizer_state, params)
    new_params = jax.tree.map(lambda w, d: w - learning_rate * d, params, direction)
    stopped = stopped | (metrics["kl"] > config.target_kl)
    metrics["stopped"] = stopped.astype(jnp.float32)
    keep = partial(jax.tree.map, lambda old, new: jnp.where(stopped, old, new))
    carry = (keep(params, new_params), keep(optimizer_state, new_optimizer_state), stopped)
    return carry, metrics


def _loss_sums(
    learner: MAPPO, state: LearnerState, params: Any, batch: Minibatch
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Sum of the losses over the agents and decisions of a minibatch, with sums of metrics."""
    config, t = learner.config, batch.rollout.trajectory
    features = state.normalizer(t.features) * learner.feature_mask
    outputs = unroll(learner.actor, params["actor"], batch.rollout.actor_memory, features)
    value = unroll(learner.critic, params["critic"], batch.rollout.critic_memory, features, t.mask)
    distribution = to_distribution(outputs)
    log_ratio = jnp.where(batch.weight > 0, distribution.log_prob(t.action) - t.log_prob, 0.0)
    target = state.value_normalizer(batch.target[..., None])[..., 0]
    terms = {
        "policy_loss": clipped_policy_loss(log_ratio, batch.advantage, config.clip),
        "value_loss": clipped_value_loss(value, t.value, target, 1.0),
        "entropy": distribution.entropy() * jnp.ones_like(value),
        "kl": approximate_kl(log_ratio),
        "clipped": (jnp.abs(jnp.exp(log_ratio) - 1) > config.clip).astype(jnp.float32),
    }
    sums = {name: jnp.sum(term * batch.weight) for name, term in terms.items()}
    loss = (
        sums["policy_loss"]
        + config.value_coefficient * sums["value_loss"]
        - config.entropy_coefficient * sums["entropy"]
    )
    return loss, sums | {"count": jnp.sum(batch.weight)}
