"""How much of its agents' actions a controller should keep, and around which base: asked of development suites.

    python -m experiments.suites.shares CONTROLLER --suites development second third --data_dir FOLDER

Every combination of a share of the actions, a factor on the base's size and one on its forgetting is trained through
the door on every problem, in tuning runs, and judged by the selection split. A row of the table is one combination: the
mean log loss minus that of the first controller's base (share 0, factors 1), over the problems of each suite and over
all. Several controllers, such as learner seeds and the team of all of them, are compared in the same runs. Whoever uses
it on a suite has looked at it: docs/looks.md.
"""

import argparse
import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.configs.broad import AT_FULL_SIZE, SUITE_NAMES, Effort
from experiments.problems.problem import Problem
from experiments.problems.suites import problems_of, training_of
from experiments.runs.errors import UserError
from experiments.runs.progress import say
from experiments.suites.doors import as_settings, sets_whole_updates
from experiments.suites.train import Bench
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.env import make_mesh
from ganno_jax.env.whole_update import part_of
from ganno_jax.evaluation.across_problems import problem_means, worst_problem
from ganno_jax.policies.agents import with_actions


class Variant(NamedTuple):
    """What is kept of a controller."""

    share: float  # of the agents' log actions
    size: float  # factor on the base's size
    forgetting: float  # factor on the base's forgetting
    which: int = 0  # of the controllers

    def of(self, controller: Controller) -> Controller:
        """The controller with that much of it."""
        change = partial(
            part_of,
            action_share=self.share,
            size_share=self.size,
            forgetting_share=self.forgetting,
        )
        return controller.replace(policy=with_actions(controller.policy, change))


BASE = Variant(0.0, 1.0, 1.0)
LOOKED_AT = tuple(name for name in SUITE_NAMES if name not in ("unseen", *AT_FULL_SIZE))
"""Suites that settings may be chosen by."""


def measure(
    problem: Problem,
    controllers: Sequence[Controller],
    variants: Sequence[Variant],
    data_dir: str | None,
    num_seeds: int,
) -> Float[np.ndarray, "variant seed"]:
    """Log losses on the selection split; all variants of controllers of one shape are one compiled program.

    Args:
      problem: what is trained.
      controllers: with actions of size and forgetting.
      variants: of them.
      data_dir: folder with the data sets.
      num_seeds: tuning runs of each variant, >= 1.
    """
    mesh = make_mesh(jax.local_devices())
    bench = Bench(problem, training_of(problem, data_dir), mesh, Effort(tuning_seeds=num_seeds))
    losses = np.empty((len(variants), num_seeds))
    shapes = [_shape(controllers[variant.which]) for variant in variants]
    for shape in dict.fromkeys(shapes):
        places = [place for place, its in enumerate(shapes) if its == shape]
        made = [variants[place].of(controllers[variants[place].which]) for place in places]
        optimizer, numbers = as_settings(bench, made[0], [one.policy for one in made])
        rows, runs = np.divmod(np.arange(len(places) * num_seeds), num_seeds)
        found = bench.train(optimizer, numbers, rows, runs, report=False)
        losses[places] = found.selection_log_loss.reshape(len(places), num_seeds)
    return losses


def _shape(controller: Controller) -> tuple[Hashable, ...]:
    """What controllers must have in common to be settings of one program."""
    leaves, structure = jax.tree.flatten(controller.policy)
    return (structure, *map(jnp.shape, leaves), controller.decisions, controller.direction)


def lines(
    names: Sequence[str],
    variants: Sequence[Variant],
    found: Mapping[str, Sequence[Float[np.ndarray, "variant seed"]]],
) -> list[str]:
    """A Markdown table: a row per variant, a column per suite, then all problems and the worst.

    Args:
      names: of the controllers.
      variants: of them, first the base.
      found: the losses of every problem, by suite.
    """
    suites = list(found)
    labels = _labels(names, variants)
    rows = [
        f"| share, size, forgetting | {' | '.join(suites)} | all | worst |",
        f"| --- |{' --- |' * (len(suites) + 2)}",
    ]
    for place, label in enumerate(labels):
        gaps = {s: [(x[place] - x[0])[None] for x in losses] for s, losses in found.items()}
        by_suite = [f"{problem_means(some).mean():+.3f}" for some in gaps.values()]
        every = list(itertools.chain(*gaps.values()))
        mean, worst = problem_means(every).mean(), worst_problem(every).difference
        rows.append(f"| {label} | {' | '.join(by_suite)} | {mean:+.3f} | {worst:+.3f} |")
    return rows


def _labels(names: Sequence[str], variants: Sequence[Variant]) -> list[str]:
    """Share, size and forgetting of each variant, after its controller where there are several."""
    labels = [f"{v.share:g}, {v.size:g}, {v.forgetting:g}" for v in variants]
    if len(names) == 1:
        return labels
    return [f"{names[v.which]}: {label}" for v, label in zip(variants, labels, strict=True)]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("controllers", nargs="+", help="names of shipped ones, or files")
    parser.add_argument("--suites", nargs="+", choices=LOOKED_AT, default=["development"])
    parser.add_argument("--data_dir", help="folder with the data sets")
    parser.add_argument("--problems", nargs="+", default=(), help="only names with such a word")
    parser.add_argument("--seeds", type=int, default=4, help="tuning runs of each combination")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--forgettings", type=float, nargs="+", default=[1.0])
    given = parser.parse_args(words)
    try:
        controllers = [_checked(name) for name in given.controllers]
        problems = {
            suite: [p for p in problems_of(suite, "small", None) if p.is_named(given.problems)]
            for suite in given.suites
        }
    except (UserError, ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    each = range(len(controllers))
    combinations = itertools.product(each, given.shares, given.sizes, given.forgettings)
    variants = [BASE, *(v for w, *c in combinations if (v := Variant(*c, which=w)) != BASE)]
    names = [Path(name).stem for name in given.controllers]
    say(f"variants: {'; '.join(_labels(names, variants))}")
    found: dict[str, list[Float[np.ndarray, "variant seed"]]] = {}
    for suite, some in problems.items():
        for problem in some:
            try:
                losses = measure(problem, controllers, variants, given.data_dir, given.seeds)
            except FileNotFoundError as error:
                say(f"left out: {problem.name}: {error}")
                continue
            finally:
                jax.clear_caches()
            found.setdefault(suite, []).append(losses)
            gains = losses.mean(1) - losses.mean(1)[0]
            say(
                f"{suite}, {problem.name}: base {losses[0].mean():.3f}; "
                + ", ".join(f"{gain:+.3f}" for gain in gains[1:])
            )
    if not found:
        parser.error("no problem has such a name, or no data set is there: --data_dir FOLDER")
    print("\n".join(lines(names, variants, found)))


def _checked(name: str) -> Controller:
    """The controller, if its agents set sizes and forgetting.

    Raises:
      ValueError: it does not.
    """
    controller = load(name)
    if not sets_whole_updates(controller):
        raise ValueError("it is no whole optimizer whose agents set size and forgetting")
    return controller


if __name__ == "__main__":
    main()
