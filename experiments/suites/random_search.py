"""Methods under a random search: every trial is one run, as a user has it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.runs.whole_files import plain, read_object, write_object
from experiments.suites import rivals
from experiments.suites.doors import replay_with_factors, with_factors
from experiments.suites.methods import BASE, BLIND, OURS, REPLAY, learner_seed
from experiments.suites.train import Bench
from ganno_jax.controllers import Controller
from ganno_jax.evaluation.optax_loop import LoopOptimizer
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.policies.agents import at_rest

SEED = 40_000
MUON, ADAMW = "Muon", "AdamW"
RIVAL = {"peak": (1e-3, (1e-3, 0.1)), "decay": (0.1, (3e-3, 1.0))}
"""Of AdamW and of Muon, whose updates have Adam's size: the untuned number, and the range of the random search."""
FACTORS = {"size": (1.0, (0.5, 2.0)), "forgetting": (1.0, (0.1, 4.0))}
"""Of the controller's base, likewise."""

Space = Mapping[str, tuple[float, tuple[float, float]]]


@dataclasses.dataclass(frozen=True)
class Searched:
    """A method, and what its random search draws from."""

    make_fn: Callable[[Bench], LoopOptimizer]
    space: Space
    controller: Controller | None = None  # what it is made of


@dataclasses.dataclass(frozen=True)
class Trials:
    """Log losses and accuracies of every trial of a method on a problem; of a diverged run those of its start."""

    selection: Float[np.ndarray, "seed trial"]
    report: Float[np.ndarray, "seed trial"]
    accuracy: Float[np.ndarray, "seed trial"]  # on the report split; NaN where there are no classes


def methods(
    controller: Controller, blind: Controller | None = None, more: Sequence[Controller] = ()
) -> dict[str, Searched]:
    """What is compared, by name.

    Args:
      controller: a whole optimizer.
      blind: agents of the same recipe that see nothing.
      more: controllers of the same recipe with other seeds.
    """

    def door(one: Controller) -> Searched:
        return Searched(lambda bench: with_factors(bench, one), FACTORS, one)

    others = {} if blind is None else {BLIND: door(blind)}
    others |= {learner_seed(number): door(one) for number, one in enumerate(more, 2)}
    return {
        OURS: door(controller),
        BASE: door(controller.replace(policy=at_rest(controller.policy))),
        REPLAY: Searched(lambda bench: replay_with_factors(bench, controller), FACTORS, controller),
        **others,
        MUON: Searched(lambda bench: rivals.muon(bench.training, bench.total_steps), RIVAL),
        ADAMW: Searched(lambda bench: rivals.adamw(bench.total_steps), RIVAL),
    }


def drawn(space: Space, count: int) -> dict[str, Float[np.ndarray, " trial"]]:
    """Settings of the trials: the untuned one, then log-uniform draws, the same for all that share a space.

    Args:
      space: of the method.
      count: trials, >= 1.
    """
    rng = np.random.default_rng(SEED)
    logs = {name: rng.uniform(*np.log(bounds), count) for name, (_, bounds) in space.items()}
    return {
        name: np.append(space[name][0], np.exp(x[1:])).astype(np.float32)
        for name, x in logs.items()
    }


def measure(bench: Bench, searched: Searched, num_trials: int) -> Trials:
    """Every trial of a method, one run for each seed; all are one compiled program.

    Args:
      bench: the problem, whose reported runs these are.
      searched: the method.
      num_trials: of its search.
    """
    numbers = {name: jnp.asarray(x) for name, x in drawn(searched.space, num_trials).items()}
    seeds = bench.effort.num_seeds
    settings, runs = np.divmod(np.arange(num_trials * seeds), seeds)
    found = bench.train(
        searched.make_fn(bench), numbers, settings, bench.effort.tuning_seeds + runs, report=True
    )

    def by_seed(x: Float[np.ndarray, " row"]) -> Float[np.ndarray, "seed trial"]:
        return np.asarray(x).reshape(num_trials, seeds).T

    start = found.accuracy_curve[:, 0]
    return Trials(
        selection=by_seed(found.selection_log_loss),
        report=by_seed(log_losses(found.final_loss, found.curve[:, 0], found.diverged)),
        accuracy=by_seed(np.where(found.diverged, start, found.final_accuracy)),
    )


def kept(path: Path, settings: Mapping[str, object], make: Callable[[], Trials]) -> Trials:
    """Trials from a file that was written with the same settings, or made and written.

    Args:
      path: of the file; its folder is made.
      settings: what they depend on, as plain values.
      make: makes them.
    """
    try:
        values = read_object(path)
        if values["settings"] == plain(dict(settings)):
            return Trials(**{name: np.array(x, float) for name, x in values["trials"].items()})
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_object(path, {"settings": dict(settings), "trials": vars(found)})
    return found
