"""Observations of a training whose loss the agents do not see."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganno_jax.env.features import FEATURES

WITHOUT_LOSS = {
    "loss_level": 0.0,
    "loss_gain": 0.0,
    "loss_change": 0.0,
    "loss_trend": 0.0,
    "loss_excess": 0.0,
    "loss_spread": -0.5,
    "loss_peak": 0.0,
    "loss_slope": 0.0,
    "first_pass": 0.0,
    "memorized": 0.0,
}
"""What agents see of the loss where there is none: a loss of 1 that scatters by a tenth and goes nowhere."""


def without_loss(features: Float[Array, "layer feature"]) -> Float[Array, "layer feature"]:
    """The same observation where nobody hands the loss over: what is of it stands at `WITHOUT_LOSS`."""
    columns = jnp.asarray([FEATURES.index(name) for name in WITHOUT_LOSS])
    return features.at[:, columns].set(jnp.asarray(list(WITHOUT_LOSS.values())))
