"""Updates of a learner with many envs as several programs: one for each env and one that learns.

Programs of one env are compiled side by side and kept one by one in a compilation cache, so an env that is added later
costs its own program alone. The update is that of `MAPPO.update`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from ganno_jax.env.mesh import AXIS
from ganno_jax.learners import carried
from ganno_jax.learners.mappo.experience import Experience
from ganno_jax.learners.mappo.learner import MAPPO, gather, learn_from
from ganno_jax.learners.mappo.rollout import Rollout
from ganno_jax.learners.mappo.state import LearnerState
from ganno_jax.learners.memory_maps import require_maps
from ganno_jax.learners.training import with_finite


class UpdatesApart:
    """Compiled updates: `updates(state)` is the state after one more, and its metrics with `finite`."""

    def __init__(self, learner: MAPPO, state: LearnerState, mesh: Mesh):
        """Compile, as many programs at a time as there are cores.

        Args:
          learner: what is shared by all updates.
          state: of the structure that all states will have, from `init` with this mesh.
          mesh: from `make_mesh`.

        Raises:
          MemoryError: the programs together take more memory maps than the system gives a process.
        """
        self._learner = learner
        specs = carried.specs_of(learner, state, "rollouts")
        whole, split = PartitionSpec(), PartitionSpec(AXIS)
        on_mesh = partial(jax.shard_map, mesh=mesh, check_vma=False)

        def gathering(number: int) -> Any:
            function = partial(gather, number=number, num_devices=mesh.size)
            return on_mesh(
                function, in_specs=(whole, specs), out_specs=(split, _experience_specs())
            )

        def learn(learner: MAPPO, state: LearnerState, ends: Any, experiences: Any):
            function = partial(learn_from, num_devices=mesh.size)
            state, metrics = on_mesh(
                function,
                in_specs=(whole, specs, split, (_experience_specs(),) * len(learner.envs)),
                out_specs=(specs, whole),
            )(learner, state, ends, experiences)
            return state, with_finite(learner, state, metrics)

        gathers = [jax.jit(gathering(number)) for number in range(len(learner.envs))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # compiled while the next is traced
            compiled = [pool.submit(_compile, f.lower(learner, state)) for f in gathers]
            shapes = [jax.eval_shape(function, learner, state) for function in gathers]
            ends, experiences = zip(*shapes, strict=True)
            learning = jax.jit(learn).lower(learner, state, ends, experiences).compile()
            self._gather, self._learn = [program.result() for program in compiled], learning

    def __call__(self, state: LearnerState) -> tuple[LearnerState, dict[str, Float[Array, ""]]]:
        gathered = [program(self._learner, state) for program in self._gather]
        ends, experiences = zip(*gathered, strict=True)
        return self._learn(self._learner, state, ends, experiences)


def _compile(lowered: Any) -> Any:
    require_maps("the programs of all kinds of trainings")
    return lowered.compile()


def _experience_specs() -> Experience:
    """How experience is split: what has a time axis by its second axis, the rest by its first."""
    first, second = PartitionSpec(AXIS), PartitionSpec(None, AXIS)
    rollout = Rollout(second, last_value=first, actor_memory=first, critic_memory=first)
    return Experience(rollout, advantage=second, target=second, weight=second)
