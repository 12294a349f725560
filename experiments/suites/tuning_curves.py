"""What tuning runs buy: the loss of a controller and of its rivals against the number of trials that each is given.

    python -m experiments.suites.tuning_curves muon --suite unseen --data_dir FOLDER

Every method has a random search: its first trial is what one would take without tuning, the others are drawn from its
range. A trial is one run, as users have it: its selection loss decides whether it is kept, its report loss is what that
user gets. All draws of so many trials are averaged (`ganno_jax.evaluation.best_of`). The controller, its base,
and the replay of its mean hyperparameters search factors on size and forgetting, the rivals a peak and a weight decay
under a warm-up cosine.

Problems and methods that are done are kept in the folder of the run, so that the same command goes on after a stop.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from experiments.configs.broad import AT_FULL_SIZE, SUITE_NAMES, Effort
from experiments.problems.problem import Problem
from experiments.problems.suites import problems_of, training_of
from experiments.runs.errors import UserError
from experiments.runs.progress import say
from experiments.suites.cells import digest_of, made_of, slug, values_of, versions
from experiments.suites.compare import learners_of, shown_interval
from experiments.suites.doors import sets_whole_updates
from experiments.suites.methods import OURS
from experiments.suites.random_search import ADAMW, Searched, Trials, kept, measure, methods
from experiments.suites.train import Bench
from ganno_jax import plots
from ganno_jax.controller_files import load
from ganno_jax.env import make_mesh
from ganno_jax.evaluation.across_problems import at_or_below, over_problems
from ganno_jax.evaluation.best_of import best_of
from ganno_jax.plots.suite import tuning_curves

Found = Mapping[str, Mapping[str, Trials]]
"""By problem and method."""


def chosen(found: Found, budgets: Sequence[int]) -> dict[str, Float[np.ndarray, "problem seed k"]]:
    """Log report losses of every method at each budget."""
    return {
        name: np.stack(
            [best_of(t[name].selection, t[name].report, budgets) for t in found.values()]
        )
        for name in next(iter(found.values()))
    }


def against(
    losses: Mapping[str, Float[np.ndarray, "problem seed k"]],
) -> dict[str, Float[np.ndarray, "problem seed k"]]:
    """Losses as `chosen` gives them, minus AdamW's at the largest budget in the same run."""
    return {name: x - losses[ADAMW][..., -1:] for name, x in losses.items()}


def lines(found: Found, budgets: Sequence[int]) -> list[str]:
    """Markdown tables: differences to AdamW at its best, the controller's at equal budgets, and mean accuracies.

    Intervals are over problems, learner seeds and runs together; the second table is of all learner seeds.
    """
    losses = chosen(found, budgets)
    learners = learners_of(losses)
    ours = np.stack([losses[name] for name in learners], 1)
    title = f"{OURS}s of {len(learners)} learner seeds" if len(learners) > 1 else OURS
    ours = {
        f"{title} minus {name}": ours - x[:, None]
        for name, x in losses.items()
        if name not in learners
    }
    gaps = {name: x[:, None] for name, x in against(losses).items()}
    tables = [
        _table("minus AdamW at its best", gaps, budgets, _interval),
        _table("at equal budgets", ours, budgets, _counted),
    ]
    scored = [t for t in found.values() if np.isfinite(t[OURS].accuracy).all()]
    if scored:
        accuracies = {
            name: np.stack([best_of(t[name].selection, t[name].accuracy, budgets) for t in scored])
            for name in losses
        }
        tables.append(_table("accuracy", accuracies, budgets, lambda x: f"{x.mean():.1%}"))
    return "\n\n".join("\n".join(table) for table in tables).splitlines()


def _table(
    title: str,
    rows: Mapping[str, Float[np.ndarray, "problem *run k"]],
    budgets: Sequence[int],
    cell: Callable[[Float[np.ndarray, "problem *run"]], str],
) -> list[str]:
    head = [f"| {title} | {' | '.join(map(str, budgets))} |", f"| --- |{' --- |' * len(budgets)}"]
    each = range(len(budgets))
    return head + [
        f"| {name} | {' | '.join(cell(x[..., place]) for place in each)} |"
        for name, x in rows.items()
    ]


def _interval(gaps: Float[np.ndarray, "problem learner seed"]) -> str:
    return shown_interval(over_problems(list(gaps)))


def _counted(gaps: Float[np.ndarray, "problem learner seed"]) -> str:
    below = at_or_below(list(gaps)).sum()
    return f"{_interval(gaps)}, {below} of {len(gaps)}"


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("controller", help="name of a shipped one, or a file")
    parser.add_argument("--suite", choices=SUITE_NAMES, default="development")
    parser.add_argument("--problems", nargs="+", default=(), help="only names with such a word")
    parser.add_argument("--file", help="TOML or Python file of problems, in the place of a suite")
    parser.add_argument("--data_dir", help="folder with the data sets")
    parser.add_argument("--trials", type=int, default=24, help="of each method, at least 2")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each trial, at least 2")
    parser.add_argument("--blind", help="file of agents without features, of the same recipe")
    parser.add_argument("--more", nargs="+", default=(), help="files with other learner seeds")
    parser.add_argument("--folder", default="runs/tuning_curves", help="where results are kept")
    given = parser.parse_args(words)
    if given.trials < 2 or given.seeds < 2:
        parser.error("there must be at least 2 trials and 2 seeds")
    try:
        controller = load(given.controller)
        blind = None if given.blind is None else load(given.blind)
        compared = methods(controller, blind, [load(name) for name in given.more])
        if not sets_whole_updates(controller):
            raise ValueError("it is no whole optimizer whose agents set size and forgetting")
        scale = "medium" if given.suite in AT_FULL_SIZE else "small"
        problems = problems_of(given.suite, scale, given.file)
    except (UserError, ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    problems = [p for p in problems if p.is_named(given.problems)]
    effort = Effort(num_seeds=given.seeds)
    folder = Path(given.folder) / (slug(Path(given.file).stem) if given.file else given.suite)
    runs = len(compared) * given.trials * given.seeds
    say(f"{len(problems)} problems, {runs} trainings of each; results in {folder}")
    found: dict[str, dict[str, Trials]] = {}
    for problem in problems:
        try:
            found[problem.name] = _on(problem, compared, effort, given, folder)
        except FileNotFoundError as error:
            say(f"left out: {problem.name}: {error}")
        except UserError as error:
            parser.error(str(error))
    if not found:
        parser.error("no problem has such a name, or no data set is there: --data_dir FOLDER")
    budgets = [2**power for power in range(given.trials.bit_length()) if 2**power <= given.trials]
    print("\n".join(lines(found, budgets)))
    losses = against(chosen(found, budgets))
    drawn = [name for name in losses if name == OURS or name not in learners_of(losses)]
    gaps = {name: losses[name].mean(1) for name in drawn}
    plots.save(tuning_curves(budgets, gaps), folder / "tuning_curves.png")


def _on(
    problem: Problem,
    compared: Mapping[str, Searched],
    effort: Effort,
    given: argparse.Namespace,
    folder: Path,
) -> dict[str, Trials]:
    """All methods on one problem."""
    training = training_of(problem, given.data_dir)
    data = digest_of(training.family.dataset)
    bench, found = Bench(problem, training, make_mesh(jax.local_devices()), effort), {}
    for name, one in compared.items():
        settings = {
            "problem": values_of(problem),
            "controller": None if one.controller is None else made_of(one.controller),
            "space": one.space,
            "trials": given.trials,
            "seeds": given.seeds,
            "versions": versions(),
            "data": data,
        }
        path = folder / slug(problem.name) / f"{slug(name)}.json"
        try:
            found[name] = kept(path, settings, lambda one=one: measure(bench, one, given.trials))
        finally:
            jax.clear_caches()
        ends = best_of(found[name].selection, found[name].report, [1, given.trials]).mean(0)
        say(f"{problem.name}: {name}: {ends[0]:.3f} untuned, {ends[1]:.3f} of {given.trials}")
    return found


if __name__ == "__main__":
    main()
