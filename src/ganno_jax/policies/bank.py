"""All schedules as one policy, so that comparing them takes one compiled program."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.observation import Observation
from ganno_jax.policies.schedules import SCHEDULES


@struct.dataclass
class ScheduleBank:
    """Follows the schedule of number `index` in `SCHEDULES`; index and peak may be batched.

    All schedules are evaluated and one is kept: a few scalars per inner step.
    """

    index: Int[Array, "..."]
    peak: Float[Array, "..."] | None = None  # > 0; None: the initial rate

    def init(self, observation: Observation) -> tuple[()]:
        """Nothing to remember."""
        del observation
        return ()

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Float[Array, "inner_step layer"]]:
        """The schedule's rates for the coming inner steps, equal for all layers.

        Args:
          state: there is none.
          observation: step, horizon and interval; the initial rate is the peak where none is set.
          key: not used.
        """
        del key
        peak = observation.initial_rate if self.peak is None else self.peak
        steps = observation.step + jnp.arange(observation.interval)
        table = jnp.stack([f(steps, observation.total_steps, peak) for f in SCHEDULES.values()])
        rates = jnp.take(table, self.index, axis=0)
        return state, jnp.broadcast_to(
            rates[:, None], (observation.interval, observation.rates.shape[0])
        )
