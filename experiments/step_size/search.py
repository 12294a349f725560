"""Learned step-size controllers: search the five numbers of one on small random networks.

`evaluation` measures it on a larger network. docs/step_size_controllers.md has the method.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.configs.step_size import StepSizeExperiment, learned_settings
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.runs.saved import require_finite
from experiments.runs.session import Session
from experiments.runs.signals import StopRequest
from experiments.runs.streams import stream
from experiments.step_size.other_run import Thetas
from ganno_jax.env.mesh import to_mesh
from ganno_jax.learners.search import ParameterSearch, SearchState, search
from ganno_jax.policies.step_size import WEIGHTS


def run_search(
    what: ParameterSearch,
    state: SearchState,
    num_iterations: int,
    mesh: Mesh,
    report: Callable[[dict[str, float], SearchState], None] | None = None,
) -> SearchState:
    """Go on with a search until it has done so many iterations.

    Args:
      what: one of `build`.
      state: from its `init`, or of an earlier search.
      num_iterations: in all.
      mesh: devices.
      report: told of every iteration's row and state, for progress bars and checkpoints.
    """
    state = to_mesh(state, mesh)  # as it comes back
    for iteration in range(int(state.iteration), num_iterations):
        state, metrics = search(what, state, 1, mesh)
        if report is not None:
            report(_row(iteration, jax.device_get(metrics)), state)
    return state


def _row(iteration: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of one iteration as plain numbers, the controller's weights by name."""
    row: dict[str, float] = {"iteration": iteration}
    row |= {name: float(value[0]) for name, value in metrics.items() if name != "best"}
    return row | {name: float(x) for name, x in zip(WEIGHTS, metrics["best"][0], strict=True)}


def session_of(
    config: StepSizeExperiment,
    folder: RunFolder,
    problems: Mapping[str, ParameterSearch],
    stop: StopRequest,
) -> Session:
    """Where the searches of a run are, fresh ones in a new run.

    Args:
      config: of the run.
      folder: of the run.
      problems: what is searched, by optimizer.
      stop: asked after every iteration.
    """
    key = stream(config.step_size.seed, "search")
    states = {name: problem.init(key) for name, problem in problems.items()}
    return Session(folder, config, learned_settings(config), states, stop)


def thetas_of(problems: Mapping[str, ParameterSearch], states: Mapping[str, Any]) -> Thetas:
    """The best controller of each search."""
    return {
        name: np.asarray(problem.strategy.best(states[name].strategy))
        for name, problem in problems.items()
    }


def go_on(
    config: StepSizeExperiment, name: str, problem: ParameterSearch, session: Session, mesh: Mesh
) -> None:
    """Go on with the search for one optimizer until it is done.

    Args:
      config: of the run.
      name: of the optimizer.
      problem: what is searched for it.
      session: of the run; its state has this search too.
      mesh: devices.
    """
    total, state = config.step_size.num_iterations, session.state[name]
    done = int(state.iteration)
    if done == total:
        return
    say(f"going on from iteration {done}" if done else f"compiling the search for {name} ...")
    with Bar(f"iterations for {name}", total, done) as bar:

        def report(row: dict[str, float], state: Any) -> None:
            shown = f"mean return {row['mean_return']:.4f}  best {row['highest_return']:.4f}"
            number = int(row["iteration"]) + 1
            weights = problem.strategy.best(state.strategy)
            require_finite(weights, f"the controller's weights for {name}", f"iteration {number}")
            bar.show(number, shown)
            session.record(name, row, session.state | {name: state})

        run_search(problem, state, total, mesh, report)
