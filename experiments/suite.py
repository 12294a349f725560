"""The held-out suite: every method on every problem, a cell at a time; finished cells are kept and not repeated."""

import dataclasses
import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.broad_config import Effort
from experiments.folder import plain, write_json
from experiments.problems import Problem
from experiments.suite_methods import SAME_DIRECTION, Bench, Info, methods
from ganno_jax.baselines import LearnedWeights, load_weights
from ganno_jax.controllers import Controller, fingerprint
from ganno_jax.env import make_mesh
from ganno_jax.evaluation.evaluate import Curves
from ganno_jax.evaluation.statistics import area_under_curve
from ganno_jax.evaluation.tables import PolicyResult
from ganno_jax.policies import SCHEDULES

FIRST = "schedules"  # what others of the same problem need
OF_CONTROLLER = ("controller", "untrained agents")
KIND = {"controller": "agents", "untrained agents": "control"}
TUNED = (
    "best tuned schedule",
    SAME_DIRECTION,
    "tuned constant",
    "tuned Adam",
    "hypergradient Adam",
    "NAdamW, random search",
)
# Every method is a program of its own. A process that keeps 17 of a residual network runs out of memory mappings
# (65,530 on Linux), so programs are let go of once each device has run so many.
PROGRAMS_PER_DEVICE = 3


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one method did on one problem."""

    result: PolicyResult | None  # None for the tuning itself
    first_loss: np.ndarray  # report loss before the first step, by run
    info: Info
    seconds: float


class Suite:
    """The cells of a suite in a folder.

    Args:
      folder: of the cells; made if missing.
      controller: what is examined.
      data_dir: folder with the data sets.
      effort: how many runs stand behind every number.
      velo: file with the weights of VeLO, which is left out without one.

    Raises:
      ValueError: the file holds no such weights.
      FileNotFoundError: it is not there.
    """

    def __init__(
        self,
        folder: Path,
        controller: Controller,
        data_dir: str | None,
        effort: Effort,
        velo: str | None = None,
    ):
        self.folder, self.data_dir, self.effort = folder, data_dir, effort
        weights = None if velo is None else load_weights(Path(velo).expanduser())
        self.methods = methods(controller, weights)
        self._made_of = {name: fingerprint(controller) for name in OF_CONTROLLER}
        if controller.direction is not None:
            self._made_of[SAME_DIRECTION] = json.dumps(dataclasses.asdict(controller.direction))
        if weights is not None:
            self._made_of["velo"] = digest_of(weights)

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
          done_fn: told of every cell, from any thread, one at a time; None for a method that cannot be run on it.

        Raises:
          FileNotFoundError: the data set is not there.
        """
        devices: queue.Queue[Any] = queue.Queue()
        for device in jax.local_devices():
            devices.put(device)
        cells: dict[str, Cell] = {}
        lock, stop = threading.Lock(), threading.Event()

        def one(name: str) -> None:
            if stop.is_set():
                return
            device = devices.get()
            try:
                cell = self._cell(problem, name, device, cells)
                with lock:
                    cells[name] = cell
                    done_fn(name, cell)
            except BaseException:
                stop.set()
                raise
            finally:
                devices.put(device)

        if FIRST in names:
            one(FIRST)
        rest = [name for name in names if name != FIRST]
        some = PROGRAMS_PER_DEVICE * devices.qsize()
        with ThreadPoolExecutor(devices.qsize()) as pool:
            try:
                for start in range(0, len(rest), some):
                    for _ in pool.map(one, rest[start : start + some]):
                        pass
                    jax.clear_caches()
            except BaseException:
                stop.set()
                raise
        return {name: cells[name] for name in names if name in cells}

    def stored(self, problem: Problem, names: Sequence[str]) -> dict[str, Cell]:
        """Those of the cells that are finished."""
        found = {name: self._read(problem, name) for name in names}
        return {name: cell for name, cell in found.items() if cell is not None}

    def _cell(self, problem: Problem, name: str, device: Any, cells: Mapping[str, Cell]) -> Cell:
        cell = self._read(problem, name)
        if cell is not None:
            return cell
        start = time.monotonic()
        tuned = cells[FIRST].info if FIRST in cells else {}
        bench = Bench(problem, self.data_dir, make_mesh([device]), self.effort, tuned)
        curves, info = self.methods[name](bench)
        values = {
            "settings": self._settings(problem, name),
            "info": info,
            "seconds": time.monotonic() - start,
            "curves": None if curves is None else _stored(curves),
        }
        write_json(self._path(problem, name), values)
        return _loaded(problem, name, plain(values))

    def _read(self, problem: Problem, name: str) -> Cell | None:
        try:
            values = json.loads(self._path(problem, name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if values.get("settings") != plain(self._settings(problem, name)):
            return None
        return _loaded(problem, name, values)

    def _settings(self, problem: Problem, name: str) -> dict[str, Any]:
        """A cell made with other settings is made again."""
        settings = {
            "problem": {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)},
            "effort": {f.name: getattr(self.effort, f.name) for f in dataclasses.fields(Effort)},
        }
        if name in self._made_of:
            settings["made_of"] = self._made_of[name]
        return settings

    def _path(self, problem: Problem, name: str) -> Path:
        return self.folder / _slug(problem.name) / f"{_slug(name)}.json"


def digest_of(weights: LearnedWeights) -> str:
    """Of the numbers in them."""
    leaves = jax.tree.leaves(weights)
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves))
    return digest.hexdigest()[:16]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_")


def _stored(curves: Curves) -> dict[str, Any]:
    names = ("report_loss", "report_accuracy", "diverged", "initial_rate")
    names += ("final_loss", "final_accuracy", "selection_loss", "selection_accuracy")
    return {name: np.asarray(getattr(curves, name)) for name in names}


def _loaded(problem: Problem, name: str, values: Mapping[str, Any]) -> Cell:
    info, seconds, stored = values["info"], values["seconds"], values["curves"]
    if stored is None:
        return Cell(None, np.zeros(0), info, seconds)
    curves = {key: np.array(value, float) for key, value in stored.items()}  # null becomes nan
    loss, accuracy = curves["report_loss"], curves["report_accuracy"]
    result = PolicyResult(
        name=name,
        kind=KIND.get(name, "schedule" if name in TUNED else "tuning-free"),
        peak=info.get("peak"),
        final_loss=curves["final_loss"],
        final_accuracy=curves["final_accuracy"],
        selection_loss=curves["selection_loss"],
        selection_accuracy=curves["selection_accuracy"],
        auc=np.array([area_under_curve(row, row[0]) for row in loss]),
        diverged=curves["diverged"].astype(bool),
        initial_rate=curves["initial_rate"],
        loss_curve=loss[:, 1:],
        accuracy_curve=accuracy[:, 1:],
        steps=np.arange(1, problem.num_decisions + 1) * problem.interval,
    )
    return Cell(result, loss[:, 0], info, seconds)


def cost(problems: Sequence[Problem], effort: Effort, names: Sequence[str]) -> int:
    """Inner steps that these cells take if none is finished: what a run states before it starts."""
    tuning = effort.tuning_seeds * effort.num_peaks
    schedules = (len(SCHEDULES) + 1) * tuning
    per_method = {
        FIRST: schedules,
        SAME_DIRECTION: schedules + effort.num_seeds,
        "tuned Adam": tuning + effort.num_seeds,
        "hypergradient Adam": tuning + effort.num_seeds,
        "NAdamW, random search": effort.num_trials * effort.tuning_seeds + effort.num_seeds,
    }
    trainings = sum(per_method.get(name, effort.num_seeds) for name in names)
    return sum(problem.total_steps * trainings for problem in problems)
