"""The head start of the broad controller: its own kinds of trainings, and others, under constant actions."""

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.sharding import Mesh

from experiments import problems, random_families
from experiments.broad_config import BroadExperiment
from experiments.build import make_reward
from experiments.config import EnvConfig
from experiments.errors import UserError
from experiments.problems import Problem
from experiments.progress import Bar
from ganno_jax.env.batching import to_mesh
from ganno_jax.learners import MAPPO, LearnerState, head_start, make_mesh

# With `alpha` 2.5, sizes from 0.14 to 4.5 times the base's.
ACTIONS = (-1.1, -0.7, -0.42, -0.25, -0.12, 0.0, 0.12, 0.25, 0.42, 0.7)
SEED = 40_000
PROGRAMS_PER_DEVICE = 5  # before they are let go of, as in `suite`


def give(
    learner: MAPPO,
    states: Sequence[LearnerState],
    families: Sequence[Problem],
    config: BroadExperiment,
    mesh: Mesh,
) -> list[LearnerState]:
    """Fit every team to the same trainings under constant actions. Each of several processes does all of it.

    Args:
      learner: of the teams.
      states: of the teams, before their first update.
      families: the kinds that they will learn on.
      config: of the run.
      mesh: its local devices take one problem at a time each, so that programs are compiled side by side.

    Raises:
      UserError: a data set is not there.
    """
    settings = config.broad
    drawn = [random_families.draw(number) for number in range(settings.random_kinds)]
    asked = [(problem, settings.head_start) for problem in families]
    asked += [(problem, max(1, settings.head_start // 4)) for problem in drawn]
    key, reward = jax.random.key(SEED), make_reward(EnvConfig(reward=settings.reward))
    devices: queue.Queue[Any] = queue.Queue()
    for device in mesh.local_devices:
        devices.put(device)
    some = PROGRAMS_PER_DEVICE * devices.qsize()
    sweeps: list[head_start.Sweep] = []

    def one(number: int) -> head_start.Sweep:
        problem, count = asked[number]
        keys = jax.random.split(jax.random.fold_in(key, number), count)
        device = devices.get()
        try:
            env = problems.build(problem, config.suite.data_dir, reward=reward)
            own = make_mesh([device])
            return head_start.sweep(env, learner.actions, ACTIONS, keys, own)
        except FileNotFoundError as error:
            raise UserError(str(error)) from error
        finally:
            devices.put(device)

    with ThreadPoolExecutor(devices.qsize()) as pool, Bar("head start", len(asked)) as bar:
        for first in range(0, len(asked), some):
            for found in pool.map(one, range(first, min(first + some, len(asked)))):
                best = ACTIONS[int(found.returns.mean(axis=0).argmax())]
                bar.show(len(sweeps) + 1, f"{asked[len(sweeps)][0].name}: best action {best}")
                sweeps.append(found)
            jax.clear_caches()  # each problem is a program of its own
    seeds = range(settings.seed, settings.seed + settings.num_members)
    fitted = [
        head_start.fit(learner, state, sweeps, ACTIONS, jax.random.key(seed))
        for seed, state in zip(seeds, states, strict=True)
    ]
    return [to_mesh(state, mesh) for state in fitted]
