"""What the agents see: every feature by name, with how it is computed. Fixed, bounded transforms of a `Window`.

The order is that of the columns of `Observation.features` and part of every controller file.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from ganno_jax.env.observation_memory import TINY, ObservationMemory, log
from ganno_jax.inner.layers import KINDS, LayerMap
from ganno_jax.inner.statistics import Summary

FEATURE_VERSION = 4
"""Rises when a feature is added or means something else; a controller file says which version its agents saw."""


@struct.dataclass
class Window:
    """What the features of one observation are computed from. Logarithms are natural."""

    summary: Summary
    layers: LayerMap
    step: Int[Array, ""]  # inner steps done
    total_steps: Int[Array, ""] | int
    passes: Float[Array, ""]  # over the data, so far; 0 where the data's size is not known
    passes_planned: Float[Array, ""]  # in the whole training; likewise
    before: ObservationMemory  # of the earlier windows; in the first one as if it had been before
    now: ObservationMemory  # with this window
    rates: Float[Array, " layer"]  # of the last inner step, as is the forgetting
    forgetting: Float[Array, " layer"]
    initial_rate: Float[Array, ""]
    log_weight: Float[Array, " layer"]
    relative_steps: Float[Array, " layer"]  # RMS direction / RMS weight
    log_step: Float[Array, " layer"]  # the same where a layer has any, else the largest one

    @property
    def loss(self) -> Float[Array, ""]:
        """Its size, as a denominator."""
        return jnp.maximum(jnp.abs(self.summary.loss), TINY)

    @property
    def log10_rates(self) -> Float[Array, " layer"]:
        """Of the last inner step."""
        return self.now.log_rates / jnp.log(10.0)


GLOBAL_FEATURES: dict[str, Callable[[Window], Float[Array, ""]]] = {
    # share of the budget used
    "progress": lambda w: w.step.astype(jnp.float32) / jnp.maximum(w.total_steps, 1),
    # log10 of the steps left, / 5
    "remaining": lambda w: jnp.log10(1.0 + _remaining(w)) / 5,
    # log loss, / 5
    "loss_level": lambda w: w.now.log_loss / 5,
    # log(loss / first loss), / 5
    "loss_gain": lambda w: (w.now.log_loss - w.now.first_log_loss) / 5,
    # log(loss / loss of the last window)
    "loss_change": lambda w: w.now.log_loss - w.before.log_loss,
    # fast minus slow exponential mean of the log loss
    "loss_trend": lambda w: w.now.fast_log_loss - w.now.slow_log_loss,
    # log(loss / lowest loss so far)
    "loss_excess": lambda w: w.now.log_loss - w.now.lowest_log_loss,
    # log10(standard deviation / mean of the loss in the window), / 2
    "loss_spread": lambda w: log10(w.summary.loss_spread / w.loss) / 2,
    # log(largest loss in the window / mean)
    "loss_peak": lambda w: log(w.summary.loss_largest / w.loss),
    # (last - first loss) / mean, in the window
    "loss_slope": lambda w: w.summary.loss_slope / w.loss,
    # log10(1 + passes over the data in the whole training), / 3; 0 where the data's size is not known
    "epochs": lambda w: jnp.log10(1.0 + w.passes_planned) / 3,
    # log10(1 + passes so far), / 3; likewise
    "epoch": lambda w: jnp.log10(1.0 + w.passes) / 3,
    # log loss at the end of the first pass, / 5; of a first tenth where the data's size is not known
    "first_pass": lambda w: w.now.first_pass_log_loss / 5,
    # log(loss / loss at the end of the first pass): below 0 what was seen before is known by heart
    "memorized": lambda w: w.now.log_loss - w.now.first_pass_log_loss,
}
"""What all layers of a training share."""


def _is_kind(kind: str, window: Window) -> Float[Array, " layer"]:
    return jnp.asarray([own == kind for own in window.layers.kinds], jnp.float32)


LAYER_FEATURES: dict[str, Callable[[Window], Float[Array, " layer"]]] = {
    # log10 learning rate, / 3
    "rate": lambda w: w.log10_rates / 3,
    # log(rate / rate of the last window), / 2
    "rate_change": lambda w: (w.now.log_rates - w.before.log_rates) / 2,
    # log10(rate / initial rate), / 3
    "rate_drift": lambda w: (w.log10_rates - log10(w.initial_rate)) / 3,
    # log10(rate / geometric mean over the layers), / 2
    "rate_contrast": lambda w: (w.log10_rates - jnp.mean(w.log10_rates)) / 2,
    # log10 RMS gradient, / 3
    "gradient": lambda w: w.now.log_gradient / jnp.log(10.0) / 3,
    # log(gradient / gradient of the last window), / 2
    "gradient_change": lambda w: (w.now.log_gradient - w.before.log_gradient) / 2,
    # log10 RMS weight, / 2
    "weight": lambda w: log10(w.summary.weight_rms) / 2,
    # log10(RMS update / RMS weight), / 3
    "relative_update": lambda w: log10(w.rates * w.relative_steps) / 3,
    # log10(RMS direction / RMS gradient), / 3
    "direction_gain": lambda w: log10(_gain(w)) / 3,
    # log(relative step / largest relative step so far), / 2
    "direction_fall": lambda w: (w.log_step - w.now.log_largest_step) / 2,
    # mean cosine of successive gradients
    "agreement": lambda w: w.summary.agreement,
    # mean cosine of direction and gradient: 1 for SGD, less the longer a momentum remembers noise
    "alignment": lambda w: w.summary.alignment,
    # 0 first layer, 1 last
    "depth": lambda w: jnp.arange(w.layers.num_layers) / max(w.layers.num_layers - 1, 1),
    "is_first": lambda w: _is_layer(w, 0),
    "is_last": lambda w: _is_layer(w, w.layers.num_layers - 1),
    # log10 number of parameters in use, / 7
    "size": lambda w: log10(w.summary.sizes) / 7,
    **{f"kind_{kind}": partial(_is_kind, kind) for kind in KINDS},
    # log10(forgetting + 0.01), / 2
    "forgetting": lambda w: log10(w.forgetting + 0.01) / 2,
    # log(RMS weight / that of the first window), / 2
    "weight_growth": lambda w: (w.log_weight - w.now.first_log_weight) / 2,
}
"""What each layer has of its own."""

FEATURES = (*GLOBAL_FEATURES, *LAYER_FEATURES)
"""Names of the features in the order of the observation's last axis."""


def compute(window: Window) -> Float[Array, "layer feature"]:
    """All features, in the order of `FEATURES`, within [-3, 3]; what is no number is 0."""
    shared = jnp.stack([feature(window) for feature in GLOBAL_FEATURES.values()])
    own = jnp.stack([feature(window) for feature in LAYER_FEATURES.values()], axis=-1)
    features = jnp.concatenate(
        [jnp.broadcast_to(shared, (window.layers.num_layers, shared.size)), own], axis=-1
    )
    return jnp.nan_to_num(jnp.clip(features, -3.0, 3.0))


def _remaining(window: Window) -> Float[Array, ""]:
    return jnp.maximum(window.total_steps - window.step, 0).astype(jnp.float32)


def _gain(window: Window) -> Float[Array, " layer"]:
    summary = window.summary
    return summary.direction_rms / jnp.maximum(summary.gradient_rms, TINY)


def _is_layer(window: Window, number: int) -> Float[Array, " layer"]:
    return (jnp.arange(window.layers.num_layers) == number).astype(jnp.float32)


def log10(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The logarithm to base 10, of `TINY` below it."""
    return log(x) / jnp.log(10.0)
