"""Policies that look at nothing but the clock: fixed rates per layer, replay of a table."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import Decision, LayerHyperparameters


@struct.dataclass
class FixedRates:
    """Each layer keeps its own learning rate for the whole training.

    `act` raises a `ValueError` if the training has another number of layers.
    """

    rates: Float[Array, " layer"]  # > 0; 0 freezes a layer

    def init(self, observation: Observation) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Float[Array, " layer"]]:
        """The same rates at every decision.

        Args:
          state: there is none.
          observation: for the number of layers.
          key: not used.
        """
        _check_layers("rates", self.rates, observation)
        return state, self.rates


@struct.dataclass
class OpenLoop:
    r"""Replays a table of hyperparameters, blind to how the training goes.

    The control for a closed loop: what remains of a trained policy when only its mean schedule is
    kept (`mean_schedule`). Row $d$ of the $N$ rows holds for part $d$ of $N$ equal parts of the
    training. So a training of $N$ decisions gets the rows as they are; with $M \ne N$ decisions,
    decision $k$ takes the rates at position $(k + \tfrac12) N/M - \tfrac12$, interpolated linearly
    in log space and held at both ends.

    `act` raises a `ValueError` if the training has another number of layers.
    """

    table: Float[Array, "row layer"]  # of rates, > 0; zero is kept where a row is taken as it is
    forgetting: Float[Array, "row layer"] | None = None  # >= 0; of as many rows

    @property
    def sets(self) -> tuple[str, ...]:
        """The hyperparameters that the tables have."""
        return ("rates",) if self.forgetting is None else ("rates", "forgetting")

    def init(self, observation: Observation) -> tuple[()]:
        """Nothing to remember: the position follows from the step."""
        return ()

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Decision]:
        """What the table has at this decision.

        Args:
          state: there is none.
          observation: step, horizon and interval.
          key: not used.
        """
        _check_layers("table", self.table, observation)
        decision = observation.step // observation.interval
        rows_per_decision = self.table.shape[0] * observation.interval / observation.total_steps
        position = decision * rows_per_decision + 0.5 * (rows_per_decision - 1.0)
        rates = interpolate_log(self.table, position)
        if self.forgetting is None:
            return state, rates
        return state, LayerHyperparameters(rates, interpolate_log(self.forgetting, position))


def interpolate_log(
    table: Float[Array, "row layer"], position: Float[Array, ""]
) -> Float[Array, " layer"]:
    """The table at a fractional row, linear in log space; outside, its first or last row.

    At a whole position the row itself is returned, bit for bit. Zeros are taken as the smallest
    normal float.
    """
    position = jnp.clip(position, 0.0, table.shape[0] - 1.0)
    index = jnp.floor(position).astype(int)
    weight = (position - index).astype(table.dtype)
    low, high = table[index], table[jnp.minimum(index + 1, table.shape[0] - 1)]
    tiny = jnp.finfo(table.dtype).tiny
    log_low, log_high = jnp.log(jnp.maximum(low, tiny)), jnp.log(jnp.maximum(high, tiny))
    return jnp.where(weight == 0.0, low, jnp.exp(log_low + weight * (log_high - log_low)))


def mean_schedule(
    rates: Float[Array, "time env layer"], include: Bool[Array, " env"] | None = None
) -> Float[Array, "time layer"]:
    """Geometric mean of recorded rates, or forgetting, over trainings: a table that `OpenLoop` replays.

    Args:
      rates: One row per decision, > 0.
      include: Which trainings count, at least one (leave out those that diverged); all by default.
    """
    where = None if include is None else include[None, :, None]
    tiny = jnp.finfo(rates.dtype).tiny
    return jnp.exp(jnp.mean(jnp.log(jnp.maximum(rates, tiny)), axis=1, where=where))


def _check_layers(name: str, rates: Float[Array, "... layer"], observation: Observation) -> None:
    layers = observation.rates.shape[-1]
    if rates.shape[-1] != layers:
        raise ValueError(
            f"`{name}` needs one column per layer of the training, {layers}; got {rates.shape[-1]}."
        )
