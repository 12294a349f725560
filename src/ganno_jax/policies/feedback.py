"""Feedback rules: handcrafted policies that look at the training loss and remember."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.observation import Observation


@struct.dataclass
class PlateauState:
    """What the plateau rule remembers of one training."""

    scale: Float[Array, ""]  # share of the peak, in (0, 1]
    best_loss: Float[Array, ""]  # the largest float before the first decision
    num_bad: Int[Array, ""]  # decisions since the last improvement
    cooldown_left: Int[Array, ""]  # decisions that will not be counted as bad


@struct.dataclass
class ReduceOnPlateau:
    r"""Lowers the rate of all layers when the training loss has stopped falling.

    An env step is an improvement if its mean loss is below $b - \epsilon |b|$, where $b$ is the
    lowest so far. After more than `patience` decisions without one, the rate is multiplied by
    `factor` and the next `cooldown` decisions are not counted. The rate never falls below
    `min_rate` (nor rises to it).

    Semantics are those of PyTorch's `ReduceLROnPlateau` in modes "min" and "rel", with decisions
    for epochs; `optax.contrib.reduce_on_plateau` counts patience from one, so its `patience` is
    ours plus one. The defaults are theirs but for `patience`: 10 epochs of about 100 become 3
    decisions of about 30, and `min_rate` is PyTorch's `eps`, where its rates stop falling as well.
    A non-finite loss is no improvement.

    Raises:
      ValueError: `factor` is outside (0, 1) or `threshold` is negative (checked for Python floats).
    """

    peak: Float[Array, "..."] | float | int | None = None  # > 0; None: the initial rate
    factor: Float[Array, "..."] | float | int = 0.1
    patience: Int[Array, "..."] | int = 3  # decisions
    threshold: Float[Array, "..."] | float | int = 1e-4  # relative
    cooldown: Int[Array, "..."] | int = 0  # decisions
    min_rate: Float[Array, "..."] | float | int = 1e-8

    def __post_init__(self):
        # Only floats: JAX also builds this class of integers (axes) and markers.
        if isinstance(self.factor, float) and not 0.0 < self.factor < 1.0:
            raise ValueError(f"`factor` must be in (0, 1), so that rates fall; got {self.factor}.")
        if isinstance(self.threshold, float) and self.threshold < 0.0:
            raise ValueError(f"`threshold` must not be negative; got {self.threshold}.")

    def init(self, observation: Observation) -> PlateauState:
        """Full rate, no loss seen."""
        dtype = observation.loss.dtype
        return PlateauState(
            scale=jnp.ones((), observation.rates.dtype),
            best_loss=jnp.asarray(jnp.finfo(dtype).max, dtype),
            num_bad=jnp.zeros((), jnp.int32),
            cooldown_left=jnp.zeros((), jnp.int32),
        )

    def act(
        self, state: PlateauState, observation: Observation, key: PRNGKeyArray
    ) -> tuple[PlateauState, Float[Array, " layer"]]:
        """Judge the loss of the last env step, then set one rate for all layers.

        Before the first inner step there is no such loss, so the memory is left as it is.

        Args:
          state: the scale of the rate, the lowest loss and the counts so far.
          observation: the mean loss of the last env step.
          key: not used.
        """
        started = observation.step > 0
        judged = self._judge(state, observation.loss)
        state = PlateauState(
            scale=jnp.where(started, judged.scale, state.scale),
            best_loss=jnp.where(started, judged.best_loss, state.best_loss),
            num_bad=jnp.where(started, judged.num_bad, state.num_bad),
            cooldown_left=jnp.where(started, judged.cooldown_left, state.cooldown_left),
        )
        peak = observation.initial_rate if self.peak is None else self.peak
        rate = jnp.maximum(peak * state.scale, jnp.minimum(self.min_rate, peak))
        return state, jnp.broadcast_to(rate, observation.rates.shape).astype(
            observation.rates.dtype
        )

    def _judge(self, state: PlateauState, loss: Float[Array, ""]) -> PlateauState:
        """The memory after one more loss."""
        improved = loss < state.best_loss - self.threshold * jnp.abs(state.best_loss)
        cooling = state.cooldown_left > 0
        num_bad = jnp.where(improved | cooling, 0, state.num_bad + 1)
        reduce = num_bad > self.patience
        return PlateauState(
            scale=jnp.where(reduce, state.scale * self.factor, state.scale),
            best_loss=jnp.where(improved, loss, state.best_loss),
            num_bad=jnp.where(reduce, 0, num_bad),
            cooldown_left=jnp.where(
                reduce, self.cooldown, jnp.maximum(state.cooldown_left - 1, 0)
            ).astype(jnp.int32),
        )
