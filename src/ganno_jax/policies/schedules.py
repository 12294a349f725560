"""Handcrafted schedules by name (`schedule_formulas`, `schedule_rises`), and the policy that follows one."""

import inspect
from collections.abc import Mapping

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Num, PRNGKeyArray

from ganno_jax.env.observation import Observation
from ganno_jax.policies.schedule_formulas import (
    constant,
    cosine,
    exponential,
    linear,
    linear_cosine,
    multi_step,
    polynomial,
    step_decay,
)
from ganno_jax.policies.schedule_parts import Schedule
from ganno_jax.policies.schedule_rises import (
    cosine_warm_restarts,
    cyclic,
    inverse_sqrt,
    one_cycle,
    warmup_cosine,
    warmup_stable_decay,
)

SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "step": step_decay,
    "multi_step": multi_step,
    "exponential": exponential,
    "polynomial": polynomial,
    "linear": linear,
    "cosine": cosine,
    "cosine_warm_restarts": cosine_warm_restarts,
    "cyclic": cyclic,
    "one_cycle": one_cycle,
    "warmup_cosine": warmup_cosine,
    "warmup_stable_decay": warmup_stable_decay,
    "inverse_sqrt": inverse_sqrt,
    "linear_cosine": linear_cosine,
}
"""Every schedule by name, in the order of tables and plots."""

HANDCRAFTED: tuple[str, ...] = tuple(SCHEDULES)[1:10]
"""PyTorch's nine. GANNO (arXiv:2311.18598) is compared with nine handcrafted schedules; their names
were not available to us, and these fit the count."""

DISPLAY_NAMES: dict[str, str] = {
    "constant": "Constant",
    "step": "Step",
    "multi_step": "Multi-step",
    "exponential": "Exponential",
    "polynomial": "Polynomial",
    "linear": "Linear",
    "cosine": "Cosine",
    "cosine_warm_restarts": "Cosine, warm restarts",
    "cyclic": "Cyclic (triangular2)",
    "one_cycle": "One-cycle",
    "warmup_cosine": "Warm-up cosine",
    "warmup_stable_decay": "Warm-up, stable, decay",
    "inverse_sqrt": "Inverse square root",
    "linear_cosine": "Linear cosine",
}
"""How a table or a figure calls each schedule."""


def named(name: str) -> Schedule:
    """The schedule of that name.

    Raises:
      ValueError: no schedule has this name; the message lists those that exist.
    """
    if name not in SCHEDULES:
        raise ValueError(f"no schedule {name!r}; there are: {', '.join(SCHEDULES)}.")
    return SCHEDULES[name]


@struct.dataclass
class SchedulePolicy:
    """Follows a schedule exactly, inner step by inner step, with the same rate for every layer.

    A sweep is a `vmap` over `peak` or over any of `numbers`.

    Raises:
      ValueError: `numbers` has a name that the schedule does not take.
    """

    schedule_fn: Schedule = struct.field(pytree_node=False)
    peak: Float[Array, "..."] | float | int | None = None  # > 0; None: the initial rate
    numbers: Mapping[str, Num[Array, "..."] | float | int] = struct.field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.numbers, Mapping):  # JAX also builds pytrees of markers
            return
        parameters = inspect.signature(self.schedule_fn).parameters
        known = tuple(parameters)[3:]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        unknown = sorted(set(self.numbers) - set(known))
        if unknown and not takes_any:
            raise ValueError(
                f"`numbers` must be among {', '.join(known) or 'none'} for this schedule; "
                f"got {', '.join(unknown)}."
            )

    def init(self, observation: Observation) -> tuple[()]:
        """A schedule remembers nothing."""
        return ()

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Float[Array, "inner_step layer"]]:
        """The rates of the coming `interval` inner steps, one row each.

        Args:
          state: there is none.
          observation: step, horizon and interval; the initial rate is the peak where none is set.
          key: not used.
        """
        peak = observation.initial_rate if self.peak is None else self.peak
        steps = observation.step + jnp.arange(observation.interval)
        rates = self.schedule_fn(steps, observation.total_steps, peak, **self.numbers)
        rates = rates.astype(observation.rates.dtype)
        return state, jnp.tile(rates[:, None], observation.rates.shape[-1])
