"""From a window's summary to what the agents see. Uses only what an Optax update sees, never validation data.

The same `observe` runs in the env and inside `control()`. All features are fixed, bounded transforms; the policy's
own normalizer comes after them.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ganno_jax.env.features import Window, compute
from ganno_jax.env.observation_memory import ObservationMemory, carry_first, log
from ganno_jax.inner.hyperparameters import Decision, as_hyperparameters
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.statistics import Summary, relative_steps

_FAST, _SLOW = 0.5, 0.85  # decays of the exponential means of the log loss, per decision
_FADING = 1.0  # how much of log(largest relative step) is forgotten over a whole training


@struct.dataclass
class Observation:
    """What a policy sees before each decision."""

    features: Float[Array, "layer feature"]  # in the order of `features.FEATURES`, within [-3, 3]
    mask: Bool[Array, " layer"]  # False for padding
    rates: Float[Array, " layer"]  # learning rates of the last inner step; initial ones at reset
    # RMS direction / RMS weight, the relative update per unit of rate: the largest so far; an old one fades.
    largest_relative_steps: Float[Array, " layer"]
    initial_rate: Float[Array, ""]
    loss: Float[Array, ""]  # mean training loss of the last window
    step: Int[Array, ""]  # inner steps done
    total_steps: Int[Array, ""]  # inner steps of the whole training
    interval: int = struct.field(pytree_node=False)  # inner steps per decision
    # Raw `inner.example_statistics` of the last inner step, zeros before the first; None where they are not taken.
    example_features: Float[Array, "layer 2"] | None = None
    forgetting: Float[Array, " layer"] | None = None  # of the last inner step; None as zeros
    steps_per_epoch: Float[Array, ""] | float = (
        0.0  # inner steps of a pass over the data; 0 where it is not known
    )


def observe(
    memory: ObservationMemory,
    summary: Summary,
    chosen: Decision,
    initial_rate: Float[Array, ""],
    step: Int[Array, ""],
    total_steps: Int[Array, ""],
    layers: LayerMap,
    interval: int,
    steps_per_epoch: Float[Array, ""] | float = 0.0,
) -> tuple[ObservationMemory, Observation]:
    """Turn the summary of a window into an observation.

    Args:
      memory: of the earlier windows.
      summary: of the window that just ended.
      chosen: hyperparameters in its last inner step, `[layer]`.
      initial_rate: of this training.
      step: inner steps done.
      total_steps: inner steps planned.
      layers: the groups of leaves.
      interval: inner steps per decision.
      steps_per_epoch: inner steps of one pass over the data; 0 where it is not known.
    """
    chosen = as_hyperparameters(chosen)
    rates = chosen.rates
    forgetting = jnp.zeros_like(rates) if chosen.forgetting is None else chosen.forgetting
    log_loss, log_gradient = log(summary.loss), log(summary.gradient_rms)
    log_weight = log(summary.weight_rms)
    memory = carry_first(memory, log_loss, log_gradient, log_weight)
    first_pass, passes, passes_planned = _passes(
        memory, log_loss, step, total_steps, interval, steps_per_epoch
    )
    steps, has_scale = relative_steps(summary, layers)
    faded = memory.log_largest_step - _FADING * interval / jnp.maximum(total_steps, 1)
    log_step = jnp.where(jnp.isfinite(steps), log(jnp.where(has_scale, steps, 0.0)), faded)
    now = ObservationMemory(
        count=memory.count + 1,
        log_loss=log_loss,
        first_log_loss=memory.first_log_loss,
        lowest_log_loss=jnp.minimum(memory.lowest_log_loss, log_loss),
        fast_log_loss=_FAST * memory.fast_log_loss + (1 - _FAST) * log_loss,
        slow_log_loss=_SLOW * memory.slow_log_loss + (1 - _SLOW) * log_loss,
        log_gradient=log_gradient,
        log_rates=log(rates),
        log_largest_step=jnp.maximum(faded, log_step),
        first_pass_log_loss=first_pass,
        first_log_weight=memory.first_log_weight,
    )
    window = Window(
        summary=summary,
        layers=layers,
        step=step,
        total_steps=total_steps,
        passes=passes,
        passes_planned=passes_planned,
        before=memory,
        now=now,
        rates=rates,
        forgetting=forgetting,
        initial_rate=initial_rate,
        log_weight=log_weight,
        relative_steps=steps,
        log_step=log_step,
    )
    observation = Observation(
        features=compute(window),
        mask=jnp.ones(layers.num_layers, bool),
        rates=rates,
        largest_relative_steps=jnp.exp(now.log_largest_step),
        initial_rate=initial_rate,
        loss=summary.loss,
        step=step,
        total_steps=jnp.asarray(total_steps, jnp.int32),
        interval=interval,
        example_features=summary.example_features,
        forgetting=forgetting,
        steps_per_epoch=jnp.asarray(steps_per_epoch, jnp.float32),
    )
    return now, observation


def _passes(
    memory: ObservationMemory,
    log_loss: Float[Array, ""],
    step: Int[Array, ""],
    total_steps: Int[Array, ""],
    interval: int,
    steps_per_epoch: Float[Array, ""] | float,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Log loss in the last window that began within the first pass, passes done, and passes planned."""
    steps = jnp.asarray(steps_per_epoch, jnp.float32)
    known = steps > 0
    length = jnp.where(known, steps, 0.1 * total_steps)
    within = (step <= interval) | (step - interval < length)
    per_pass = jnp.where(known, steps, jnp.inf)
    first = jnp.where(within, log_loss, memory.first_pass_log_loss)
    return first, step / per_pass, total_steps / per_pass
