"""Advantages for one stream of experience; batched from outside."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalized_advantages(
    rewards: Float[Array, " time"],
    values: Float[Array, " time_plus_one"],
    discounts: Float[Array, " time"],
    trace_decay: Float[Array, ""] | float,
) -> Float[Array, " time"]:
    r"""Generalized advantage estimates.

    $\delta_t = r_t + \gamma_t V_{t+1} - V_t,\quad A_t = \delta_t + \gamma_t \lambda A_{t+1}$

    Args:
      rewards: $r_t$, received after the action at t.
      values: $V_0 \dots V_T$; the last one bootstraps where the stream goes on.
      discounts: $\gamma_t$, zero where the episode ended after step t.
      trace_decay: $\lambda$ in [0, 1].

    Returns:
      $A_0 \dots A_{T-1}$; $A_t + V_t$ are the value targets.

    References:
      Schulman et al. 2016, arXiv:1506.02438, equation 16.
    """
    errors = rewards + discounts * values[1:] - values[:-1]

    def backward(advantage, inputs):
        error, discount = inputs
        advantage = error + discount * trace_decay * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(
        backward, jnp.zeros_like(errors[0]), (errors, discounts), reverse=True
    )
    return advantages


def subtract_group_mean(
    x: Float[Array, "time env layer"], counts: Bool[Array, "time env layer"], group_size: int
) -> Float[Array, "time env layer"]:
    """Subtract the mean over those that count in each group of `group_size` neighbouring envs, at each time and layer.

    Envs of a group run the same training (same initialization, same batches) with different actions, so the mean
    over the group is a baseline that knows how hard that very training is (common random numbers).

    Args:
      x: such as advantages; envs of a group stand side by side.
      counts: which entries the mean is over.
      group_size: of which the number of envs is a multiple, >= 1.
    """
    time, num_envs, num_layers = x.shape
    grouped = x.reshape(time, num_envs // group_size, group_size, num_layers)
    weights = counts.reshape(grouped.shape).astype(x.dtype)
    total = jnp.sum(grouped * weights, 2, keepdims=True)
    mean = total / jnp.maximum(jnp.sum(weights, 2, keepdims=True), 1.0)
    return (grouped - mean).reshape(x.shape)


def divide_by_group_deviation(
    x: Float[Array, "time env layer"],
    counts: Bool[Array, "time env layer"],
    group_size: int,
    least: float = 1e-3,
) -> Float[Array, "time env layer"]:
    """Divide by the standard deviation of each group of neighbouring envs, over all its times and layers.

    So a training whose end turns on the actions by several nats weighs no more than one that they change by a tenth.

    Args:
      x: centred in each group, as `subtract_group_mean` leaves it.
      counts: which entries the deviation is over.
      group_size: of which the number of envs is a multiple, >= 2.
      least: deviations below it count as it: what is level in a group is not blown up.

    References:
      Shao et al. 2024 (GRPO), arXiv:2402.03300, section 4.1.2.
    """
    time, num_envs, num_layers = x.shape
    grouped = x.reshape(time, num_envs // group_size, group_size, num_layers)
    weights = counts.reshape(grouped.shape).astype(x.dtype)
    squares = jnp.sum(jnp.square(grouped) * weights, (0, 2, 3), keepdims=True)
    number = jnp.maximum(jnp.sum(weights, (0, 2, 3), keepdims=True), 1.0)
    return (grouped / jnp.maximum(jnp.sqrt(squares / number), least)).reshape(x.shape)
