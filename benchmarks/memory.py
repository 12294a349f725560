"""How much memory does an iteration take beyond what it must hold?

    python -m benchmarks.memory --json out.json

Each row is a process of its own that compiles one chunk of learner updates (`learners.train`), gives
unused memory back, and then runs it while a thread watches the resident memory. `must_hold_mb` is
what no schedule can avoid: parameters and optimizer state of all trainings, plus the arrays that
reverse mode keeps for one batch of one chunk (as many trainings as run side by side: one per device
with the mapping `map`). `ratio` is the growth of resident memory over that. `program_mb` is what the
compiler planned for the same program, on all devices together.
"""

import ctypes
import gc
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import common
from benchmarks.problems import PROBLEMS, Problem
from ganno_jax.env import Mapping
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.inner import Training
from ganno_jax.learners import MAPPO, MAPPOConfig, train

COLUMNS = {
    "variant": "",
    "network": "",
    "trainings": "d",
    "updates": "d",
    "grown_mb": ".1f",
    "must_hold_mb": ".1f",
    "memory_ratio": ".2f",
    "program_mb": ".1f",
    "resident_mb": ".0f",
}
MB = 2**20


def num_bytes(tree: Any) -> int:
    """Of all arrays in a tree."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def must_hold(training: Training, num_trainings: int, at_once: int) -> int:
    """Bytes of parameters and optimizer state of all trainings and of one chunk's activations.

    Args:
      training: the inner problem.
      num_trainings: all of them.
      at_once: those that run side by side.
    """
    state = jax.eval_shape(training.init, jax.random.key(0))
    indices = jax.ShapeDtypeStruct((training.batch_size,), jax.numpy.int32)

    def pullback(state: Any, indices: Any) -> Any:
        batch = training.family.train_batch(state.task, indices)

        def loss(params: Any) -> Any:
            return state.task.loss(params, state.model_state, batch, state.key)[0]

        return jax.vjp(loss, state.params)[1]

    kept = num_bytes(jax.eval_shape(pullback, state, indices)) - num_bytes(state.params)
    held = num_bytes((state.params, state.model_state, state.optimizer_state))
    return num_trainings * held + at_once * kept


class Watch:
    """The largest memory in use during a `with` block, in bytes: of the device where it tells, else of this process."""

    peak = 0

    def __enter__(self) -> "Watch":
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, common.device_memory("peak_bytes_in_use") or 0)

    def _run(self) -> None:
        while not self._done.wait(0.001):
            self.peak = max(self.peak, in_use())


def in_use() -> int:
    """Bytes in use on the device, or resident memory of this process (Linux)."""
    on_device = common.device_memory("bytes_in_use")
    if on_device is not None:
        return on_device
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def give_back() -> None:
    """Return freed memory to the system, so that growth starts from what is in use."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def measure_here(problem: Problem, trainings: int, updates: int, mapping: Mapping) -> common.Row:
    """The row of this process.

    Args:
      problem: what is trained.
      trainings: of an update.
      updates: of a chunk.
      mapping: over trainings.
    """
    decisions = 2
    env = problem.env(num_decisions=decisions)
    config = MAPPOConfig(num_envs=trainings, rollout_decisions=decisions, num_updates=1000)
    learner = MAPPO.create((env,), RateMultipliers(), config, mapping=mapping)
    mesh = common.mesh_for(trainings // config.num_minibatches)
    state = learner.init(jax.random.key(0))
    executable = train.lower(learner, state, updates, mesh).compile()
    at_once = mesh.size if mapping == "map" else trainings
    analysis = executable.memory_analysis()
    planned = mesh.size * (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )
    give_back()
    before = in_use()
    with Watch() as watch:
        jax.block_until_ready(executable(learner, state))
    needed = must_hold(env.training, trainings, at_once)
    return {
        "variant": f"{mapping}, {mesh.size} devices",
        "network": problem.name,
        "trainings": trainings,
        "batch": problem.batch,
        "updates": updates,
        "grown_mb": (watch.peak - before) / MB,
        "must_hold_mb": needed / MB,
        "memory_ratio": (watch.peak - before) / needed,
        "program_mb": planned / MB,
        "resident_mb": watch.peak / MB,
    }


def chosen(network: str, quick: bool) -> Problem:
    """Short windows: memory does not depend on their length."""
    problem = PROBLEMS[network].smaller(interval=2)
    if quick:
        problem = problem.smaller(batch=4, image=problem.image and (8, 8, 1), num_reward=4)
    return problem


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--row", nargs=4, help="measure this one row here, print it as JSON")
    args = parser.parse_args(arguments)
    if args.row:
        network, trainings, updates, mapping = args.row
        common.use_devices()
        problem = chosen(network, args.quick)
        print(json.dumps(measure_here(problem, int(trainings), int(updates), mapping)))
        return
    settings = [("cnn", 64, 1, "map"), ("cnn", 64, 8, "map"), ("digits", 256, 8, "vmap")]
    if args.quick:
        settings = [("cnn", 8, 1, "map"), ("cnn", 8, 2, "map")]
    rows = []
    for words in settings:
        command = [sys.executable, "-m", "benchmarks.memory", "--row", *map(str, words)]
        command += ["--quick"] if args.quick else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    common.use_devices()
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
