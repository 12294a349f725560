"""A suite: every method on every problem, a cell at a time; finished cells are kept and not repeated."""

import dataclasses
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from experiments.configs.broad import Effort
from experiments.problems.problem import Problem
from experiments.problems.suites import training_of
from experiments.runs.whole_files import plain, read_object, write_object
from experiments.suites.methods import (
    BASE,
    BLIND,
    OURS,
    REFERENCE,
    REPLAY,
    SAME_DIRECTION,
    TUNED,
    learner_seed,
    methods,
)
from experiments.suites.train import Bench, Info
from ganno_jax.baselines import LearnedWeights
from ganno_jax.controller_files import fingerprint
from ganno_jax.controllers import Controller
from ganno_jax.env import make_mesh
from ganno_jax.env.features import FEATURE_VERSION
from ganno_jax.evaluation.optax_loop import LoopResult, plan_of
from ganno_jax.inner import Training

# To be raised when a change makes rivals do something else: all cells of another number are made again.
CELL_VERSION = 3
# The same for the controller's own cells: its base, replay and learner seeds. Its rivals' cells are kept.
DOOR_VERSION = 3
# Every method is a program of its own. A process that keeps 17 of a residual network runs out of memory mappings
# (65,530 on Linux), so programs are let go of once each device has run so many.
PROGRAMS_PER_DEVICE = 3
_STORED = tuple(f.name for f in dataclasses.fields(LoopResult) if f.name != "observed")


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one method did on one problem."""

    result: LoopResult  # arrays `[run, ...]`
    marks: Int[np.ndarray, " mark_plus_one"]  # steps of the curves' points
    info: Info
    seconds: float

    @property
    def first_loss(self) -> Float[np.ndarray, " run"]:
        """Report loss before the first step."""
        return np.asarray(self.result.curve)[:, 0]


class Suite:
    """The cells of a suite in a folder.

    Args:
      folder: of the cells; made if missing.
      controller: what is examined.
      data_dir: folder with the data sets.
      effort: how many runs stand behind every number.
      blind: agents that see nothing, with as many updates as the controller's.
      more: controllers of the same recipe with other seeds.
      velo: weights of VeLO, which is left out without them.
    """

    def __init__(
        self,
        folder: Path,
        controller: Controller,
        data_dir: str | None,
        effort: Effort,
        blind: Controller | None = None,
        more: Sequence[Controller] = (),
        velo: LearnedWeights | None = None,
    ):
        self.folder, self.data_dir = folder, data_dir
        self.effort = Effort(
            **{f.name: getattr(effort, f.name) for f in dataclasses.fields(Effort)}
        )
        self.methods = methods(controller, blind, tuple(more), velo)
        self._made_of: dict[str, Any] = dict.fromkeys(
            (OURS, BASE, REPLAY, TUNED), made_of(controller)
        )
        if blind is not None:
            self._made_of[BLIND] = made_of(blind)
        for number, other in enumerate(more, 2):
            self._made_of[learner_seed(number)] = made_of(other)
        self._made_of[REFERENCE] = controller.direction is not None  # whether decay is tuned
        if controller.direction is not None:
            self._made_of[SAME_DIRECTION] = dataclasses.asdict(controller.direction)
        if velo is not None:
            self._made_of["velo"] = digest_of(velo)
        self._digests: dict[str, str] = {}

    def run(
        self,
        problem: Problem,
        names: Sequence[str],
        done_fn: Callable[[str, Cell | None], None] = lambda name, cell: None,
    ) -> dict[str, Cell]:
        """The cells of these methods on one problem, in the order asked for.

        One method at a time on each device, so that programs are compiled side by side too.

        Args:
          problem: what is trained.
          names: of the methods.
          done_fn: told of every cell, from any thread, one at a time.

        Raises:
          FileNotFoundError: the data set is not there.
          UserError: the problem names what there is not.
        """
        devices: queue.Queue[Any] = queue.Queue()
        for device in jax.local_devices():
            devices.put(device)
        training = training_of(problem, self.data_dir)
        data = digest_of(training.family.dataset)
        cells: dict[str, Cell] = {}
        lock, stop = threading.Lock(), threading.Event()

        def one(name: str) -> None:
            if stop.is_set():
                return
            device = devices.get()
            try:
                cell = self._cell(problem, training, data, name, device)
                with lock:
                    cells[name] = cell
                    done_fn(name, cell)
            except BaseException:
                stop.set()
                raise
            finally:
                devices.put(device)

        some = PROGRAMS_PER_DEVICE * devices.qsize()
        missing = [name for name in names if self._read(problem, name, data) is None]
        with ThreadPoolExecutor(devices.qsize()) as pool:
            try:
                for name in names:
                    if name not in missing:
                        one(name)
                for start in range(0, len(missing), some):
                    for _ in pool.map(one, missing[start : start + some]):
                        pass
                    jax.clear_caches()
            except BaseException:
                stop.set()
                raise
        return {name: cells[name] for name in names if name in cells}

    def stored(self, problem: Problem, names: Sequence[str]) -> dict[str, Cell]:
        """Those of the cells that are finished; data that are not there are not compared."""
        try:
            data = self._data_digest(problem)
        except FileNotFoundError:
            data = None
        found = {name: self._read(problem, name, data) for name in names}
        return {name: cell for name, cell in found.items() if cell is not None}

    def outdated(self, problem: Problem, names: Sequence[str]) -> int:
        """How many cells are there that were made with other settings, versions or data."""
        there = sum(self._path(problem, name).is_file() for name in names)
        return there - len(self.stored(problem, names))

    def _cell(
        self, problem: Problem, training: Training, data: str, name: str, device: Any
    ) -> Cell:
        cell = self._read(problem, name, data)
        if cell is not None:
            return cell
        start = time.monotonic()
        bench = Bench(problem, training, make_mesh([device]), self.effort)
        result, info = bench.execute(self.methods[name])
        trainings = info["tuning_runs"] + self.effort.num_seeds
        values = {
            "settings": {**self._settings(problem, name), "data": data},
            "info": {**info, "inner_steps": trainings * problem.total_steps},
            "seconds": time.monotonic() - start,
            "marks": plan_of(training, problem.total_steps).marks,
            "result": {field: np.asarray(getattr(result, field)) for field in _STORED},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_object(self._path(problem, name), values)
        return _loaded(plain(values))

    def _read(self, problem: Problem, name: str, data: str | None) -> Cell | None:
        try:
            values = read_object(self._path(problem, name))
            settings = values["settings"]
            expected = {**self._settings(problem, name), "data": data or settings["data"]}
            return _loaded(values) if settings == plain(expected) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _settings(self, problem: Problem, name: str) -> dict[str, Any]:
        """A cell made with other settings is made again."""
        settings = {
            "problem": values_of(problem),
            "effort": dataclasses.asdict(self.effort),
            "versions": versions(),
        }
        if name in self._made_of:
            settings["made_of"] = self._made_of[name]
        return settings

    def _data_digest(self, problem: Problem) -> str:
        key = repr(problem)
        if key not in self._digests:
            self._digests[key] = digest_of(training_of(problem, self.data_dir).family.dataset)
        return self._digests[key]

    def _path(self, problem: Problem, name: str) -> Path:
        return self.folder / slug(problem.name) / f"{slug(name)}.json"


def values_of(problem: Problem) -> dict[str, Any]:
    """All that a problem is; `dataclasses.asdict` cannot copy what is varied."""
    return {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}


def versions() -> dict[str, Any]:
    """What every kept training depends on besides its settings: this program and its libraries."""
    return {
        "cells": CELL_VERSION,
        **{library: version(library) for library in ("jax", "optax", "flax")},
    }


def made_of(controller: Controller) -> dict[str, Any]:
    """What cells of a controller depend on besides the problem."""
    return {
        "controller": fingerprint(controller),
        "door": DOOR_VERSION,
        "features": FEATURE_VERSION,
    }


def digest_of(tree: Any) -> str:
    """Sixteen hexadecimal digits of the numbers in a pytree of arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def slug(text: str) -> str:
    """The name of a file for a problem or a method."""
    return re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_")


def cost(problems: Sequence[Problem], suite: Suite, names: Sequence[str]) -> tuple[int, int]:
    """Trainings and inner steps, about, that these cells take if none is finished.

    Args:
      problems: what is trained.
      suite: with the methods and the effort.
      names: of the methods.
    """
    trainings = [
        sum(suite.methods[name].cost(problem, suite.effort) for name in names)
        for problem in problems
    ]
    steps = [
        count * problem.total_steps for count, problem in zip(trainings, problems, strict=True)
    ]
    return sum(trainings), sum(steps)


def _loaded(values: Mapping[str, Any]) -> Cell:
    stored = {key: np.array(value, float) for key, value in values["result"].items()}  # null: nan
    result = LoopResult(**stored, observed=None)
    return Cell(result, np.asarray(values["marks"]), values["info"], values["seconds"])
