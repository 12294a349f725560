"""Learner updates as a run makes them: one compiled program, its time, and what ends a run that went wrong."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from experiments.agents.build import Experiment
from experiments.runs.clock import Clock
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from ganno_jax.env.mesh import AXIS, to_mesh
from ganno_jax.learners import MAPPO, LearnerState, train_some


@dataclasses.dataclass
class LearningClock(Clock):
    """Where the time of a training of agents went, in seconds, over all its sittings."""

    compiling: float = 0.0
    updating: float = 0.0
    updates: int = 0  # those timed in `updating`

    def count(self, updates: int, seconds: float) -> None:
        """Add updates and what they took."""
        self.updates += updates
        self.updating += seconds

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        spent = {
            "total": self.seconds,
            "compiling": self.compiling,
            "updating": self.updating,
            "updates": self.updates,
        }
        return {"clock": spent}

    def go_on_from(self, metadata: Mapping[str, Any]) -> None:
        """Add what a checkpoint kept."""
        earlier = metadata["clock"]
        self.earlier += earlier["total"]
        self.compiling += earlier["compiling"]
        self.updating += earlier["updating"]
        self.updates += int(earlier["updates"])


@jax.jit
def init(learner: MAPPO, key: PRNGKeyArray) -> LearnerState:
    """Fresh agents; jitted, since op by op it takes seconds."""
    return learner.init(key)


class Updates:
    """The compiled chunk of learner updates.

    How many updates a chunk makes is no part of the program, so runs that are stopped, resumed or cut into other
    chunks make the same updates of the same numbers.
    """

    def __init__(self, experiment: Experiment):
        config = experiment.config
        self.longest = min(config.run.updates_per_call, config.learner.num_updates)
        self.inner_steps = experiment.steps_per_update  # of all trainings in an update
        self._mesh = experiment.mesh
        self._program: Any = None
        self.seconds_compile = 0.0

    def place(self, state: LearnerState) -> LearnerState:
        """Put a state where the program wants it."""
        rollouts = to_mesh(state.rollouts, self._mesh, AXIS)
        return to_mesh(state.replace(rollouts=None), self._mesh).replace(rollouts=rollouts)

    def start(self, learner: MAPPO, state: LearnerState) -> LearnerState:
        """Make the env states of a learner whose rollouts are shorter than its episodes."""
        if not learner.continues or state.rollouts is not None:
            return state
        return jax.jit(lambda learner, state: learner.started(state, self._mesh))(learner, state)

    def compile(self, learner: MAPPO, state: LearnerState) -> None:
        """Compile ahead for states that look like this one."""
        start = time.monotonic()
        lowered = train_some.lower(learner, state, np.int32(1), self.longest, self._mesh)
        self._program = lowered.compile()
        self.seconds_compile = time.monotonic() - start

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._program is not None

    def end(self, done: int, total: int, every: int = 0) -> int:
        """Where the chunk that begins at update `done` ends: not past a multiple of `every`, nor past `total`.

        Args:
          done: updates made so far.
          total: updates in the end.
          every: no chunk goes past a multiple of it; 0 for none.
        """
        stop = (done // every + 1) * every if every else total
        return min(done + self.longest, stop, total)

    def __call__(
        self, learner: MAPPO, state: LearnerState, count: int
    ) -> tuple[LearnerState, list[dict[str, float]]]:
        """Run a chunk of so many updates, at most `longest`; metrics of each of them. The state is donated."""
        state, metrics = self._program(learner, state, np.int32(count))
        host = {name: np.asarray(value) for name, value in metrics.items()}
        rows = [{name: float(value[i]) for name, value in host.items()} for i in range(count)]
        return jax.block_until_ready(state), rows


def require_finite(row: dict[str, float], update: int) -> None:
    """Take `finite` out of an update's metrics, and raise a `UserError` where it is not 1."""
    if row.pop("finite") != 1.0:
        raise UserError(
            f"the agents' weights or losses are not finite since update {update}: stopped; "
            "a lower learning rate helps"
        )


def require_planned(done: int, total: int, folder: RunFolder) -> None:
    """Raise a `UserError` for a run that has made more updates than it should.

    Args:
      done: updates made so far.
      total: updates of its plan.
      folder: of the run.
    """
    if done > total:
        raise UserError(
            f"the run in {folder.path} has made {done} updates, more than the {total} of its plan; "
            "choose another --run.name"
        )
