"""When decisions fall within a training."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ganno_jax.door.numbers import check_count
from ganno_jax.door.policy_state import Horizon

_WHERE_INJECTED = (
    "Under `optax.inject_hyperparams` name it among the static ones: "
    'static_args=("controller", "total_steps", "every").'
)


@dataclasses.dataclass(frozen=True)
class Clock:
    r"""Decision $k$ of $D$ falls before update $\lfloor k T / D \rfloor$ of $T$; with `every` $n$, before update $k n$.

    So a training has the trained number of decisions however long it is, or one per update where it is shorter.

    Attributes:
      total_steps: updates of the training.
      trained_decisions: decisions that the controller was trained with.
      every: updates per decision instead.

    Raises:
      ValueError: a count is no whole number of at least 1, there are more steps than 32 bits count, or more than
        46,340 decisions without `every`.
    """

    total_steps: int
    trained_decisions: int
    every: int | None = None

    def __post_init__(self):
        counts = {"total_steps": self.total_steps}
        counts |= {} if self.every is None else {"every": self.every}
        for name, count in counts.items():
            check_count(name, count, _WHERE_INJECTED if isinstance(count, jax.Array) else "")
        if self.total_steps >= 2**31 - 1:
            raise ValueError(
                f"`total_steps` must be below 2**31 - 1, which steps are counted to; got {self.total_steps}."
            )
        if self.every is None and self.decisions > 46_340:  # its square is beyond int32
            raise ValueError(f"{self.decisions} decisions are too many: set `every`.")

    @property
    def decisions(self) -> int:
        """In the whole training."""
        if self.every is not None:
            return -(-int(self.total_steps) // int(self.every))
        return min(self.trained_decisions, int(self.total_steps))

    @property
    def interval(self) -> int:
        """Updates per decision; those of a training that does not divide differ by one from each other."""
        if self.every is not None:
            return int(self.every)
        return max(1, round(int(self.total_steps) / self.decisions))

    @property
    def horizon(self) -> Horizon:
        """As a state keeps it."""
        return Horizon(jnp.int32(self.total_steps), jnp.int32(self.decisions))

    def start(self, decision: Int[Array, ""]) -> Int[Array, ""]:
        """The update before which a decision falls; that of the one after the last is the training's end."""
        if self.every is not None:
            return jnp.minimum(decision * int(self.every), int(self.total_steps))
        whole, rest = divmod(int(self.total_steps), self.decisions)
        return decision * whole + decision * rest // self.decisions

    def num_before(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """How many decisions fall before an earlier update than this one."""
        if self.every is not None:
            return jnp.minimum(-(-step // int(self.every)), self.decisions)
        starts = self.start(jnp.arange(self.decisions))
        return jnp.sum(starts < step[..., None], axis=-1, dtype=jnp.int32)

    def last_decision(self, step: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The last one that falls before this update or an earlier one, and the update before which it falls."""
        decision = self.num_before(step + 1) - 1
        return decision, self.start(decision)

    def is_due(self, decision: Int[Array, ""], step: Int[Array, ""]) -> Bool[Array, ""]:
        """Whether the decision falls before this update."""
        return (decision < self.decisions) & (step == self.start(decision))

    def is_measured(
        self, decision: Int[Array, ""], step: Int[Array, ""], num_measured: int
    ) -> Bool[Array, ""]:
        """Whether this update is among the last so many before the next decision; the first update of an interval
        that is shorter is too.

        Args:
          decision: number of the next one.
          step: number of this update, from 0.
          num_measured: how many, >= 1.
        """
        return (decision < self.decisions) & (step >= self.start(decision) - num_measured)
