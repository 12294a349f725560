r"""Learned step-size controllers: the learning rate as a log-linear function of four smoothed features.

$\eta = \exp(\theta \cdot (m_1, m_2, u_1, u_2, 1))$, where $m$ is the discounted mean and $u$ the discounted squared
deviation of the two base features of `inner.example_statistics`: the log variance over the examples of the predicted
change (1) and of the loss (2).

References:
  Daniel, Taylor and Nowozin, "Learning step size controllers for robust neural network training", AAAI 2016; smoothing
  and bias correction as restated by the re-implementation in DACBench, the order of the five numbers and the reference
  weights by Adriaensen et al., "Automated dynamic algorithm configuration", JAIR 75, 2022, arXiv:2205.13881.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.features import FEATURES
from ganno_jax.env.observation import Observation
from ganno_jax.inner.layers import KINDS

WEIGHTS = (
    "mean_change",  # of m1
    "mean_disagreement",  # of m2
    "uncertainty_change",  # of u1
    "uncertainty_disagreement",  # of u2
    "bias",  # log rate at zero features
)
"""What each of the five numbers of a controller weighs."""


@struct.dataclass
class Smoothing:
    """Running sums of the base features, `change` and `disagreement`; not yet bias-corrected."""

    count: Int[Array, ""]  # features seen
    mean: Float[Array, "layer 2"]
    uncertainty: Float[Array, "layer 2"]


def empty_smoothing(num_layers: int) -> Smoothing:
    """Before the first features."""
    zeros = jnp.zeros((num_layers, 2))
    return Smoothing(jnp.zeros((), jnp.int32), zeros, zeros)


def smooth(
    state: Smoothing, features: Float[Array, "layer 2"], decay: Float[Array, ""] | float
) -> tuple[Smoothing, Float[Array, "layer 4"]]:
    r"""Add one value of the base features $\phi$; return $(\hat m_1, \hat m_2, \hat u_1, \hat u_2)$.

    $m_t = \gamma m_{t-1} + (1-\gamma)\phi_t$, $\hat m_t = m_t / (1-\gamma^t)$,
    $u_t = \gamma u_{t-1} + (1-\gamma)(\phi_t - \hat m_t)^2$, $\hat u_t = u_t / (1-\gamma^t)$, for $t = 1, 2, \dots$

    Args:
      state: sums so far.
      features: $\phi_t$.
      decay: $\gamma$, in [0, 1).
    """
    count = state.count + 1
    correction = 1.0 - decay ** count.astype(jnp.float32)
    mean = decay * state.mean + (1 - decay) * features
    corrected_mean = mean / correction
    residual = jnp.square(features - corrected_mean)
    uncertainty = decay * state.uncertainty + (1 - decay) * residual
    smoothed = jnp.concatenate([corrected_mean, uncertainty / correction], axis=-1)
    return Smoothing(count, mean, uncertainty), smoothed


@struct.dataclass
class StepSizePolicy:
    r"""$\eta_l = \exp(\theta \cdot (m_1, m_2, u_1, u_2, 1))$, within `[lowest, highest]`.

    All layers share the rate, from the features of the whole update. A controller with `by_layer` gives each layer its
    own, from the change along that layer's update alone, by the same $\theta$ or by one per kind of layer: the env's
    training is then made with `with_example_features(by_layer=True)`; `control` sees to it itself. Before the first
    inner step the rate is the training's initial one.

    `act` raises a `ValueError` where the observations carry no features of examples, or if `theta` has another shape.
    """

    theta: Float[Array, "..."]  # [5] in the order of WEIGHTS, or [kind, 5] in the order of KINDS
    decay: Float[Array, "..."] | float | int = 0.9  # gamma, per decision
    lowest: Float[Array, "..."] | float | int = 1e-8
    highest: Float[Array, "..."] | float | int = 10.0
    by_layer: bool = struct.field(pytree_node=False, default=False)

    def init(self, observation: Observation) -> Smoothing:
        """Nothing seen."""
        return empty_smoothing(observation.rates.shape[0])

    def act(
        self, state: Smoothing, observation: Observation, key: PRNGKeyArray
    ) -> tuple[Smoothing, Float[Array, " layer"]]:
        """Smooth the features of the last inner step, then set the rates.

        Args:
          state: moving averages of the features.
          observation: the features of the examples, after the last inner step.
          key: not used.
        """
        del key
        if observation.example_features is None:
            raise ValueError(
                "a step-size controller needs to see how the examples differ: make the env with "
                "`training.with_example_features()`, or call the `update` of `control` with "
                "`example_losses_fn=`, the loss of each example as a function of the parameters."
            )
        num_layers = observation.rates.shape[0]
        started = observation.step > 0
        # A diverged training shows NaN; its rates no longer matter, but they must stay numbers.
        features = jnp.nan_to_num(observation.example_features)
        smoothed, values = smooth(state, features, self.decay)
        state = jax.tree.map(lambda new, old: jnp.where(started, new, old), smoothed, state)
        values = jnp.concatenate([values, jnp.ones((num_layers, 1))], axis=-1)
        log_rates = jnp.sum(self._weights(observation) * values, axis=-1)
        log_rates = jnp.clip(log_rates, jnp.log(self.lowest), jnp.log(self.highest))
        return state, jnp.where(started, jnp.exp(log_rates), observation.initial_rate)

    def _weights(self, observation: Observation) -> Float[Array, "*layer 5"]:
        theta = jnp.asarray(self.theta)
        if theta.shape == (len(WEIGHTS),):
            return theta
        if theta.shape == (len(KINDS), len(WEIGHTS)):
            first = FEATURES.index(f"kind_{KINDS[0]}")
            return observation.features[:, first : first + len(KINDS)] @ theta
        raise ValueError(
            f"`theta` needs the shape [{len(WEIGHTS)}], or [{len(KINDS)}, {len(WEIGHTS)}] for one "
            f"row per kind of layer; got {list(theta.shape)}."
        )


def constant_rate(rate: float) -> StepSizePolicy:
    """The controller that looks at nothing; it is also where a search starts."""
    return StepSizePolicy(jnp.zeros(len(WEIGHTS)).at[-1].set(jnp.log(rate)))


def numbers_of(policy: Any) -> dict[str, Any] | None:
    """The fields of a step-size controller; None for any other policy."""
    return {**vars(policy)} if isinstance(policy, StepSizePolicy) else None


def batched(thetas: Float[Array, "policy ..."], by_layer: bool = False) -> StepSizePolicy:
    """Many controllers as one policy with a leading axis, for `evaluate(..., num_policies=...)`."""
    make = partial(StepSizePolicy, by_layer=by_layer)
    return jax.vmap(make)(jnp.asarray(thetas, jnp.float32))


def tied(weights: Sequence[float]) -> tuple[float, float, float, float, float]:
    r"""The three numbers of a momentum controller as five: $\theta = (c_0, -c_0, c_1, c_1, c_2)$.

    References:
      Adriaensen et al. 2022 (see the module), whose momentum controllers are searched in this form.
    """
    c0, c1, c2 = weights
    return (c0, -c0, c1, c1, c2)


def perturbed(
    theta: Float[np.ndarray, " weight"], share: float, count: int, seed: int
) -> Float[np.ndarray, "policy weight"]:
    """Controllers whose every weight is off by up to `share` of itself, uniformly, the bias too.

    Args:
      theta: weights of one controller.
      share: largest relative change, in [0, 1].
      count: how many controllers.
      seed: of the draw.
    """
    factors = np.random.default_rng(seed).uniform(1 - share, 1 + share, (count, len(theta)))
    return np.asarray(theta) * factors


REFERENCE: Mapping[str, tuple[float, float, float, float, float]] = {
    "rmsprop_1": (0.166, 0.108, 0.000, 0.002, -3.89),
    "rmsprop_2": (0.002, -0.000, -0.090, 0.006, -5.22),
    "rmsprop_3": (0.059, 0.215, 0.002, -0.021, -4.66),
    "rmsprop_4": (-0.000, 0.000, 0.010, -0.278, -4.81),
    "rmsprop_5": (0.217, -0.000, 0.000, -0.007, -3.78),
    "momentum_1": tied((0.016, -0.091, -2.45)),
    "momentum_2": tied((-0.078, -0.106, -3.64)),
    "momentum_3": tied((0.000, -0.087, -2.62)),
    "momentum_4": tied((0.001, -0.089, -2.66)),
    "momentum_5": tied((-0.000, -0.113, -2.67)),
}
"""Weights of ten controllers, in the order of `WEIGHTS`.

Adriaensen et al. 2022 (JAIR 75) found them with SMAC for this feature set, five per optimizer: a re-implementation of
Daniel et al., whose own weights were not published. Read from `results/learned_policies` of the repository
automl/2022_JAIR_DAC_experiments and mapped through the symmetric-log scale of its setup files, to two or three digits.
Their optimizers: RMSprop with second-moment decay 0.9, epsilon 1e-6 and gradients clipped element by element to
[-1, 1]; momentum 0.9.
"""


def reference(name: str) -> StepSizePolicy:
    """One of `REFERENCE` by name.

    Raises:
      ValueError: there is none of that name.
    """
    if name not in REFERENCE:
        raise ValueError(f"no reference controller {name!r}; there are: {', '.join(REFERENCE)}")
    return StepSizePolicy(jnp.asarray(REFERENCE[name]))
