"""How large updates and forgetting should be without agents, over horizons and batches: the law of the base.

    python -m experiments.broad.base_law --data_dir FOLDER --out runs/base_law.jsonl
    python -m experiments.broad.base_law --fit runs/base_law.jsonl

The first trains dense and convolutional networks on digits and MNIST under Muon at every pair of a relative size and a
forgetting, for each of several horizons and batch sizes, and appends one line per slice. The second compares laws by
their regret: what a law's pair loses, in selection log loss, to the best pair of the slice, mean over the slices,
linear between the pairs that were run. Nothing here looks at a report split or at a problem of a suite.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import ganno_jax
from experiments.problems.problem import Problem
from experiments.problems.suites import training_of
from ganno_jax.controllers import Controller
from ganno_jax.env import make_mesh
from ganno_jax.env.base_shapes import SHAPES
from ganno_jax.env.whole_update import REFERENCE_STEPS, Forgetting, RelativeUpdate, WholeUpdate
from ganno_jax.evaluation.optax_loop import LoopOptimizer, plan_of, run
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.inner import Direction
from ganno_jax.policies.untaught import NeutralPolicy

SIZES = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
FORGETTINGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NUM_SEEDS, SEED = 2, 77
DIRECTION = Direction("muon", momentum=0.95, second_decay=0.98)
_MNIST_8 = {"name": "mnist", "image_size": 8, "max_examples": 12_000, "max_held_out": 2000}
_MNIST_5 = {"name": "mnist", "image_size": 5, "max_examples": 30_000, "max_held_out": 2000}
_MLP = {"name": "mlp", "features": (32,)}
FAMILIES = (
    Problem("digits, MLP", {"name": "digits"}, _MLP),
    Problem(
        "digits, MLP, wrong labels", {"name": "digits"}, _MLP, varied={"label_noise": (0.2, 0.2)}
    ),
    Problem("MNIST 8x8, MLP", _MNIST_8, {"name": "mlp", "features": (48,)}),
    Problem(
        "MNIST 5x5, two tanh layers",
        _MNIST_5,
        {"name": "mlp", "features": (48, 48), "activation": "tanh"},
    ),
    Problem("MNIST 8x8, CNN", _MNIST_8, {"name": "cnn", "channels": (8, 16)}),
)
SLICES = ((100, 32), (300, 32), (1000, 32), (3000, 32), (600, 8), (600, 128), (600, 512))
"""Steps and examples per batch."""


@dataclasses.dataclass(frozen=True)
class Law:
    r"""Size $\rho (600/T)^a (B/64)^b \phi^c$ and forgetting $\phi = \kappa \max(1, E)^\gamma$."""

    relative_size: float
    horizon_exponent: float
    batch_exponent: float
    forgetting: float
    epoch_exponent: float
    coupling: float

    def forgets(self, epochs: float) -> float:
        """Over the whole training."""
        return self.forgetting * max(1.0, epochs) ** self.epoch_exponent

    def size(self, steps: int, batch_size: int, epochs: float) -> float:
        """Of an update at the peak of the base schedule.

        Args:
          steps: of the training, >= 1.
          batch_size: examples of a step.
          epochs: of the training, > 0.
        """
        return (
            self.relative_size
            * (REFERENCE_STEPS / steps) ** self.horizon_exponent
            * (batch_size / 64) ** self.batch_exponent
            * self.forgets(epochs) ** self.coupling
        )


def measure(problem: Problem, steps: int, batch_size: int, data_dir: str | None) -> dict[str, Any]:
    """Mean selection log losses `[size, forgetting]` of one family at one horizon and batch size.

    Args:
      problem: the family.
      steps: of a training.
      batch_size: examples of a step.
      data_dir: folder with the data sets.
    """
    problem = dataclasses.replace(
        problem, num_decisions=30, interval=max(steps // 30, 1), batch_size=batch_size
    )
    training = training_of(problem, data_dir)
    shape = SHAPES["warmup_linear"]

    def make(numbers, start):
        size = RelativeUpdate(shape, relative_size=numbers["size"], first_share=1.0)
        forgetting = Forgetting(shape, kappa=numbers["forgetting"], epoch_exponent=0.0)
        policy = NeutralPolicy(WholeUpdate(size, forgetting))
        return ganno_jax.optimizer(steps, Controller(policy, 30, direction=DIRECTION))

    pairs = np.array(list(itertools.product(SIZES, FORGETTINGS)), np.float32)
    numbers = {"size": jnp.asarray(pairs[:, 0]), "forgetting": jnp.asarray(pairs[:, 1])}
    rows = np.repeat(np.arange(len(pairs)), NUM_SEEDS)
    runs = np.tile(np.arange(NUM_SEEDS), len(pairs))
    result = run(
        training,
        LoopOptimizer(make),
        numbers,
        jax.random.split(jax.random.key(SEED), NUM_SEEDS),
        rows,
        runs,
        plan_of(training, steps),
        make_mesh(jax.local_devices()),
        report=False,
        block=28,
    )
    losses = log_losses(result.selection_loss, result.first_loss, result.diverged)
    return {
        "family": problem.name,
        "steps": steps,
        "batch_size": batch_size,
        "epochs": steps * batch_size / training.family.num_trainable,
        "log_loss": losses.reshape(len(SIZES), len(FORGETTINGS), NUM_SEEDS).mean(-1).tolist(),
    }


def regret(law: Law, slices: Sequence[dict[str, Any]]) -> Float[np.ndarray, " slice"]:
    """What a law loses to the best pair of each slice."""
    found = []
    for s in slices:
        losses = np.asarray(s["log_loss"])
        size = law.size(s["steps"], s["batch_size"], s["epochs"])
        at_size = [_between(SIZES, column, size) for column in losses.T]
        found.append(_between(FORGETTINGS, at_size, law.forgets(s["epochs"])) - losses.min())
    return np.asarray(found)


def _between(places: Sequence[float], values: Any, place: float) -> float:
    return float(np.interp(np.log(place), np.log(places), values))


def candidates() -> list[Law]:
    """Laws that are compared."""
    return [
        Law(*numbers)
        for numbers in itertools.product(
            (0.015, 0.02, 0.025, 0.03, 0.04),
            (0.0, 0.35, 0.5, 0.65),
            (0.0, 0.15, 0.25),
            (0.25, 0.35, 0.5, 0.7, 1.0),
            (0.0, 0.45, 0.6, 0.7, 0.8),
            (0.0, 0.25, 0.35),
        )
    ]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="folder with MNIST")
    parser.add_argument("--out", type=Path, default=Path("runs/base_law.jsonl"))
    parser.add_argument("--fit", type=Path, help="compare laws on what was measured")
    options = parser.parse_args(words)
    if options.fit is not None:
        slices = [json.loads(line) for line in options.fit.read_text().splitlines()]
        ranked = sorted(
            ((float(regret(law, slices).mean()), law) for law in candidates()),
            key=lambda pair: pair[0],
        )
        for mean, law in ranked[:10]:
            print(f"{mean:.3f}  {law}")
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if options.out.is_file():
        done = {
            (s["family"], s["steps"], s["batch_size"])
            for s in map(json.loads, options.out.read_text().splitlines())
        }
    for problem, (steps, batch_size) in itertools.product(FAMILIES, SLICES):
        slow = problem.network["name"] == "cnn" and (steps > 300 or batch_size > 128)
        if slow or (problem.name, steps, batch_size) in done:
            continue
        found = measure(problem, steps, batch_size, options.data_dir)
        with options.out.open("a") as file:
            file.write(json.dumps(found) + "\n")
        size, forgetting = np.unravel_index(
            np.argmin(found["log_loss"]), (len(SIZES), len(FORGETTINGS))
        )
        print(
            f"{problem.name}, {steps} steps, batches of {batch_size}, {found['epochs']:.1f} epochs: best size "
            f"{SIZES[size]:g}, forgetting {FORGETTINGS[forgetting]:g}",
            flush=True,
        )
        jax.clear_caches()


if __name__ == "__main__":
    main()
