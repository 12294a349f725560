"""The head start of the broad controller: its own kinds of trainings, and others, under constant actions.

Every problem's trainings are kept in the run's folder as soon as they are there, so that a run which is stopped, or
begins again, does not repeat them.
"""

import dataclasses
import json
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.broad.build import make_env
from experiments.configs.broad import BroadConfig, BroadExperiment
from experiments.problems.problem import Problem
from experiments.runs import arrays as array_files
from experiments.runs.errors import as_user_error
from experiments.runs.progress import Bar
from experiments.runs.streams import stream
from experiments.runs.whole_files import plain
from experiments.suites.cells import digest_of, versions
from ganno_jax.env import Env
from ganno_jax.env.features import FEATURE_VERSION
from ganno_jax.env.mesh import to_mesh
from ganno_jax.learners import MAPPO, LearnerState, head_start, make_mesh

# With `alpha` 2.5, sizes from 0.14 to 4.5 times the base's.
ACTIONS = (-1.1, -0.7, -0.42, -0.25, -0.12, 0.0, 0.12, 0.25, 0.42, 0.7)
SEED = 0  # of the trainings, the same for every run
PROGRAMS_PER_DEVICE = 5  # before they are let go of, as in `suites.cells`
# Settings of the action space and of the env.
_DECIDE = (
    *("actions", "alpha", "shape", "relative_size", "first_share", "sharing", "shared"),
    *("horizon_exponent", "forgetting", "epoch_exponent", "coupling"),
    *("reward", "direction", "momentum", "second_decay", "weight_decay"),
)


def give(
    learner: MAPPO,
    states: Sequence[LearnerState],
    families: Sequence[Problem],
    num_own: int,
    config: BroadExperiment,
    mesh: Mesh,
    folder: Path,
) -> list[LearnerState]:
    """Fit every team to the same trainings under constant actions. Each of several processes does all of it.

    Args:
      learner: of the teams.
      states: of the teams, before their first update.
      families: all problems; the envs that the teams will learn on are those of the first ones.
      num_own: so many of the first problems are no random ones, which get a quarter as many trainings.
      config: of the run.
      mesh: its local devices take one problem at a time each, so that programs are compiled side by side.
      folder: for the trainings; those of the same settings that are there already are not repeated.

    Raises:
      UserError: a data set is not there.
    """
    settings = config.broad
    key = stream(SEED, "head start")
    devices: queue.Queue[Any] = queue.Queue()
    for device in mesh.local_devices:
        devices.put(device)
    some = PROGRAMS_PER_DEVICE * devices.qsize()
    sweeps: list[head_start.Sweep] = []

    def one(number: int) -> head_start.Sweep:
        count = settings.head_start if number < num_own else max(1, settings.head_start // 4)
        path = folder / f"{number}.npz"
        with as_user_error(FileNotFoundError):
            env = (
                learner.envs[number]
                if number < len(learner.envs)
                else make_env(families[number], config)
            )
        about = _settings(settings, families[number], number, count, env)
        found = _read(path, about)
        if found is not None:
            return found
        device = devices.get()
        try:
            keys = jax.random.split(jax.random.fold_in(key, number), count)
            found = head_start.sweep(env, learner.actions, ACTIONS, keys, make_mesh([device]))
            _write(path, about, found)
            return found
        finally:
            devices.put(device)

    with ThreadPoolExecutor(devices.qsize()) as pool, Bar("head start", len(families)) as bar:
        for first in range(0, len(families), some):
            for found in pool.map(one, range(first, min(first + some, len(families)))):
                best = ACTIONS[int(found.returns.mean(axis=0).argmax())]
                bar.show(len(sweeps) + 1, f"{families[len(sweeps)].name}: best action {best}")
                sweeps.append(found)
            jax.clear_caches()  # each problem is a program of its own
    fitted = [
        head_start.fit(learner, state, sweeps, ACTIONS, stream(settings.seed, f"fit {number}"))
        for number, state in enumerate(states)
    ]
    return [to_mesh(state, mesh) for state in fitted]


def _settings(settings: BroadConfig, problem: Problem, number: int, count: int, env: Env) -> str:
    """What a problem's trainings depend on."""
    values: dict[str, Any] = {name: getattr(settings, name) for name in _DECIDE}
    values["problem"] = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}
    values |= {"constant": ACTIONS, "trainings": count, "seed": [SEED, number]}
    values |= {"versions": {**versions(), "features": FEATURE_VERSION}}
    values["data"] = digest_of(env.training.family.dataset)
    return json.dumps(plain(values), sort_keys=True)


def _write(path: Path, about: str, found: head_start.Sweep) -> None:
    arrays = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    array_files.write(path, {"about": np.array(about), **arrays})


def _read(path: Path, about: str) -> head_start.Sweep | None:
    """None where there is none, it is of other settings or damaged."""
    try:
        arrays = array_files.read(path)
    except ValueError:
        return None
    return head_start.Sweep(**arrays) if str(arrays.pop("about", "")) == about else None
