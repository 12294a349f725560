"""From a window's summary to what the agents see. Uses only what an Optax update sees, never validation data.

The same `observe` runs in the env and inside `control()`. All features are fixed, bounded transforms; the policy's
own normalizer comes after them.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from ganno_jax.inner.hyperparameters import Decision, as_hyperparameters
from ganno_jax.inner.layers import KINDS, LayerMap
from ganno_jax.inner.statistics import Summary, relative_steps

FEATURE_VERSION = 4
GLOBAL_FEATURES = (
    "progress",  # share of the budget used
    "remaining",  # log10 of the steps left, / 5
    "loss_level",  # log loss, / 5
    "loss_gain",  # log(loss / first loss), / 5
    "loss_change",  # log(loss / loss of the last window)
    "loss_trend",  # fast minus slow exponential mean of the log loss
    "loss_excess",  # log(loss / lowest loss so far)
    "loss_spread",  # log10(standard deviation / mean of the loss in the window), / 2
    "loss_peak",  # log(largest loss in the window / mean)
    "loss_slope",  # (last - first loss) / mean, in the window
    "epochs",  # log10(1 + passes over the data in the whole training), / 3; 0 where the data's size is not known
    "epoch",  # log10(1 + passes so far), / 3; likewise
    "first_pass",  # log loss at the end of the first pass, / 5; of a first tenth where the data's size is not known
    "memorized",  # log(loss / loss at the end of the first pass): below 0 what was seen before is known by heart
)
LAYER_FEATURES = (
    "rate",  # log10 learning rate, / 3
    "rate_change",  # log(rate / rate of the last window), / 2
    "rate_drift",  # log10(rate / initial rate), / 3
    "rate_contrast",  # log10(rate / geometric mean over the layers), / 2
    "gradient",  # log10 RMS gradient, / 3
    "gradient_change",  # log(gradient / gradient of the last window), / 2
    "weight",  # log10 RMS weight, / 2
    "relative_update",  # log10(RMS update / RMS weight), / 3
    "direction_gain",  # log10(RMS direction / RMS gradient), / 3
    "direction_fall",  # log(relative step / largest relative step so far), / 2
    "agreement",  # mean cosine of successive gradients
    "alignment",  # mean cosine of direction and gradient: 1 for SGD, less the longer a momentum remembers noise
    "depth",  # 0 first layer, 1 last
    "is_first",
    "is_last",
    "size",  # log10 number of parameters in use, / 7
    *(f"kind_{kind}" for kind in KINDS),
    "forgetting",  # log10(forgetting + 0.01), / 2
    "weight_growth",  # log(RMS weight / that of the first window), / 2
)
FEATURES = GLOBAL_FEATURES + LAYER_FEATURES

_FAST, _SLOW = 0.5, 0.85  # decays of the exponential means of the log loss, per decision
_FADING = 1.0  # how much of log(largest relative step) is forgotten over a whole training
_TINY = 1e-12


@struct.dataclass
class Observation:
    """What a policy sees before each decision."""

    features: Float[Array, "layer feature"]  # in the order of FEATURES, within [-3, 3]
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


@struct.dataclass
class ObservationMemory:
    """What the features need from earlier windows. Logarithms are natural."""

    count: Int[Array, ""]  # windows seen
    log_loss: Float[Array, ""]
    first_log_loss: Float[Array, ""]
    lowest_log_loss: Float[Array, ""]
    fast_log_loss: Float[Array, ""]
    slow_log_loss: Float[Array, ""]
    log_gradient: Float[Array, " layer"]
    log_rates: Float[Array, " layer"]
    log_largest_step: Float[Array, " layer"]
    first_pass_log_loss: Float[Array, ""]
    first_log_weight: Float[Array, " layer"]


def empty_memory(num_layers: int, initial_rate: Float[Array, ""]) -> ObservationMemory:
    """Before the first window."""
    zero, zeros = jnp.zeros((), jnp.float32), jnp.zeros(num_layers, jnp.float32)
    return ObservationMemory(
        count=jnp.zeros((), jnp.int32),
        log_loss=zero,
        first_log_loss=zero,
        lowest_log_loss=zero,
        fast_log_loss=zero,
        slow_log_loss=zero,
        log_gradient=zeros,
        log_rates=jnp.full(num_layers, _log(initial_rate)),
        log_largest_step=jnp.full(num_layers, jnp.log(_TINY)),
        first_pass_log_loss=zero,
        first_log_weight=zeros,
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
    log_loss, log_gradient, log_rates = _log(summary.loss), _log(summary.gradient_rms), _log(rates)
    log_weight = _log(summary.weight_rms)
    memory = _carry_first(memory, log_loss, log_gradient, log_weight)
    first_pass, passes, passes_planned = _passes(
        memory, log_loss, step, total_steps, interval, steps_per_epoch
    )
    lowest = jnp.minimum(memory.lowest_log_loss, log_loss)
    fast = _FAST * memory.fast_log_loss + (1 - _FAST) * log_loss
    slow = _SLOW * memory.slow_log_loss + (1 - _SLOW) * log_loss
    loss = jnp.maximum(jnp.abs(summary.loss), _TINY)

    remaining = jnp.maximum(total_steps - step, 0).astype(jnp.float32)
    global_features = jnp.stack(
        [
            step.astype(jnp.float32) / jnp.maximum(total_steps, 1),
            jnp.log10(1.0 + remaining) / 5,
            log_loss / 5,
            (log_loss - memory.first_log_loss) / 5,
            log_loss - memory.log_loss,
            fast - slow,
            log_loss - lowest,
            _log10(summary.loss_spread / loss) / 2,
            _log(summary.loss_largest / loss),
            summary.loss_slope / loss,
            jnp.log10(1.0 + passes_planned) / 3,
            jnp.log10(1.0 + passes) / 3,
            first_pass / 5,
            log_loss - first_pass,
        ]
    )

    num_layers = layers.num_layers
    depth = jnp.arange(num_layers) / max(num_layers - 1, 1)
    log10_rates = log_rates / jnp.log(10.0)
    steps, has_scale = relative_steps(summary, layers)
    faded = memory.log_largest_step - _FADING * interval / jnp.maximum(total_steps, 1)
    log_step = jnp.where(jnp.isfinite(steps), _log(jnp.where(has_scale, steps, 0.0)), faded)
    log_largest_step = jnp.maximum(faded, log_step)
    kinds = jnp.asarray([[kind == k for k in KINDS] for kind in layers.kinds], jnp.float32)
    layer_features = jnp.stack(
        [
            log10_rates / 3,
            (log_rates - memory.log_rates) / 2,
            (log10_rates - _log10(initial_rate)) / 3,
            (log10_rates - jnp.mean(log10_rates)) / 2,
            log_gradient / jnp.log(10.0) / 3,
            (log_gradient - memory.log_gradient) / 2,
            _log10(summary.weight_rms) / 2,
            _log10(rates * steps) / 3,
            _log10(summary.direction_rms / jnp.maximum(summary.gradient_rms, _TINY)) / 3,
            (log_step - log_largest_step) / 2,
            summary.agreement,
            summary.alignment,
            depth,
            (jnp.arange(num_layers) == 0).astype(jnp.float32),
            (jnp.arange(num_layers) == num_layers - 1).astype(jnp.float32),
            _log10(summary.sizes) / 7,
        ],
        axis=-1,
    )
    features = jnp.concatenate(
        [
            jnp.broadcast_to(global_features, (num_layers, len(GLOBAL_FEATURES))),
            layer_features,
            kinds,
            jnp.stack(
                [_log10(forgetting + 0.01) / 2, (log_weight - memory.first_log_weight) / 2], -1
            ),
        ],
        axis=-1,
    )
    features = jnp.nan_to_num(jnp.clip(features, -3.0, 3.0))
    observation = Observation(
        features=features,
        mask=jnp.ones(num_layers, bool),
        rates=rates,
        largest_relative_steps=jnp.exp(log_largest_step),
        initial_rate=initial_rate,
        loss=summary.loss,
        step=step,
        total_steps=jnp.asarray(total_steps, jnp.int32),
        interval=interval,
        example_features=summary.example_features,
        forgetting=forgetting,
        steps_per_epoch=jnp.asarray(steps_per_epoch, jnp.float32),
    )
    memory = ObservationMemory(
        count=memory.count + 1,
        log_loss=log_loss,
        first_log_loss=memory.first_log_loss,
        lowest_log_loss=lowest,
        fast_log_loss=fast,
        slow_log_loss=slow,
        log_gradient=log_gradient,
        log_rates=log_rates,
        log_largest_step=log_largest_step,
        first_pass_log_loss=first_pass,
        first_log_weight=memory.first_log_weight,
    )
    return memory, observation


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


def _carry_first(
    memory: ObservationMemory,
    log_loss: Float[Array, ""],
    log_gradient: Float[Array, " layer"],
    log_weight: Float[Array, " layer"],
) -> ObservationMemory:
    """At the first window, let every "earlier" value be this window's: all differences are zero."""
    first = memory.count == 0
    return memory.replace(
        log_loss=jnp.where(first, log_loss, memory.log_loss),
        first_log_loss=jnp.where(first, log_loss, memory.first_log_loss),
        lowest_log_loss=jnp.where(first, log_loss, memory.lowest_log_loss),
        fast_log_loss=jnp.where(first, log_loss, memory.fast_log_loss),
        slow_log_loss=jnp.where(first, log_loss, memory.slow_log_loss),
        log_gradient=jnp.where(first, log_gradient, memory.log_gradient),
        first_log_weight=jnp.where(first, log_weight, memory.first_log_weight),
    )


def _log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.log(jnp.maximum(x, _TINY))


def _log10(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return _log(x) / jnp.log(10.0)
