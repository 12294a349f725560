"""Gradient steps on minibatches of experience, on one device's share of the trainings."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.mesh import AXIS
from ganno_jax.learners.mappo.baseline import Baseline
from ganno_jax.learners.mappo.config import MAPPOConfig
from ganno_jax.learners.mappo.experience import Experience
from ganno_jax.learners.mappo.losses import (
    approximate_kl,
    clipped_policy_loss,
    clipped_value_loss,
)
from ganno_jax.policies.agents import AgentPolicy, to_distribution
from ganno_jax.policies.networks import unroll

Params = dict[str, Any]  # "actor", and "critic" where there is one


@struct.dataclass
class Learned:
    """What a gradient step changes."""

    params: Params
    optimizer_state: Params
    stopped: Bool[Array, ""]  # the policy has moved too far from the one that acted


def optimizer(max_gradient_norm: Float[Array, ""] | float) -> optax.GradientTransformation:
    """Of the agents, and another one of the critic, without the rate: clipped gradients, then Adam's direction."""
    return optax.chain(optax.clip_by_global_norm(max_gradient_norm), optax.scale_by_adam(eps=1e-5))


def minibatch_order(
    key: PRNGKeyArray, num_envs: int, num_kinds: int, num_minibatches: int, num_devices: int
) -> Int[Array, "minibatch env"]:
    """Which of this device's trainings go into which minibatch of an epoch.

    Trainings lie in lanes of `num_minibatches` neighbours; each lane gives one training to each minibatch, in an
    order of its own, so the composition is the same for any number of devices.

    Args:
      key: of the epoch.
      num_envs: trainings of each kind, on all devices.
      num_kinds: how many envs there are, whose trainings lie side by side.
      num_minibatches: in an epoch.
      num_devices: of the mesh.
    """
    local = num_envs // num_devices
    lanes = local // num_minibatches
    device = jax.lax.axis_index(AXIS)
    orders = []
    for kind in range(num_kinds):
        numbers = kind * (num_envs // num_minibatches) + device * lanes + jnp.arange(lanes)
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers)
        within = jax.vmap(lambda k: jax.random.permutation(k, num_minibatches))(keys)
        order = within + num_minibatches * jnp.arange(lanes)[:, None] + kind * local
        orders.append(order.T)
    return jnp.concatenate(orders, axis=1)


def gradient_step(
    config: MAPPOConfig,
    policy: AgentPolicy,
    baseline: Baseline,
    learned: Learned,
    minibatch: Experience,
    learning_rate: Float[Array, ""],
) -> tuple[Learned, dict[str, Float[Array, ""]]]:
    """One gradient step, skipped once the policy has moved too far from the one that acted.

    Args:
      config: settings.
      policy: that acted; its weights are not read.
      baseline: likewise.
      learned: so far.
      minibatch: experience of some trainings, `[time, env, layer]`.
      learning_rate: of agents and critic.
    """
    loss = partial(loss_sums, config, policy, baseline, minibatch)
    gradient, sums = jax.grad(loss, has_aux=True)(learned.params)
    gradient, sums = jax.lax.psum((gradient, sums), AXIS)
    count = jnp.maximum(sums.pop("count"), 1.0)
    gradient = jax.tree.map(lambda g: g / count, gradient)
    metrics = {name: value / count for name, value in sums.items()}
    metrics["gradient_norm"] = optax.tree.norm(gradient["actor"])
    stopped = learned.stopped | (metrics["kl"] > config.target_kl)
    metrics["stopped"] = stopped.astype(jnp.float32)

    params, states = {}, {}
    for name, old in learned.params.items():
        direction, states[name] = optimizer(config.max_gradient_norm).update(
            gradient[name], learned.optimizer_state[name]
        )
        params[name] = jax.tree.map(lambda w, d: w - learning_rate * d, old, direction)
    new = Learned(params, states, stopped)
    old = learned.replace(stopped=stopped)
    return jax.tree.map(lambda old, new: jnp.where(stopped, old, new), old, new), metrics


def loss_sums(
    config: MAPPOConfig,
    policy: AgentPolicy,
    baseline: Baseline,
    minibatch: Experience,
    params: Params,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Weighted sum of the losses of a minibatch, with those of metrics and of the weights, `count`.

    Agents and critic share no weights, so the sum of their losses has the gradient of each.

    Args:
      config: the range of the clipped ratio, and the weight of the entropy.
      policy: the agents, for everything but their weights.
      baseline: the critic, likewise.
      minibatch: experience of some trainings.
      params: weights of "actor" and, where there is a critic, "critic".
    """
    t = minibatch.rollout.trajectory
    features = policy.prepare(t.features)
    outputs = unroll(policy.actor, params["actor"], minibatch.rollout.actor_memory, features)
    distribution = to_distribution(policy.actor, outputs)
    log_ratio = jnp.where(minibatch.weight > 0, distribution.log_prob(t.action) - t.log_prob, 0.0)
    terms = {
        "policy_loss": clipped_policy_loss(log_ratio, minibatch.advantage, config.clip),
        "entropy": distribution.entropy() * jnp.ones_like(log_ratio),
        "kl": approximate_kl(log_ratio),
        "clipped": (jnp.abs(jnp.exp(log_ratio) - 1) > config.clip).astype(jnp.float32),
    }
    if "critic" in params:
        critic = baseline.replace(params=params["critic"])
        value = critic.unroll(minibatch.rollout.critic_memory, features, t.mask)
        target = baseline.normalized(minibatch.target)
        terms["value_loss"] = clipped_value_loss(value, t.value, target, 1.0)
    sums = {name: jnp.sum(term * minibatch.weight) for name, term in terms.items()}
    loss = sums["policy_loss"] - config.entropy_coefficient * sums["entropy"]
    return loss + sums.get("value_loss", 0.0), sums | {"count": jnp.sum(minibatch.weight)}


def quieten(params: Any, fall: Float[Array, ""] | float) -> Any:
    """Lower the log standard deviation of the agents' actions, where they have one: what is best under noise is not
    what is best without it, so noise that was needed to learn should be gone in the end."""

    def lower(path: tuple[Any, ...], value: Array) -> Array:
        return value - fall if getattr(path[-1], "key", None) == "log_std" else value

    return jax.tree_util.tree_map_with_path(lower, params)
