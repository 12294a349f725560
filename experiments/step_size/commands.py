"""What the commands do for step-size controllers."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.agents import needs
from experiments.configs.bounds import HIGHEST_RATE, check_bounds, require_within
from experiments.configs.systems import StepSizeExperiment, learned_settings
from experiments.runs import folder as folders
from experiments.runs import memory, results
from experiments.runs.beginning import describe, entered, resume_command, unfinished
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.memory import Need
from experiments.runs.progress import Bar, say
from experiments.runs.session import Session, mesh_of, require_finite
from experiments.runs.signals import StopRequest
from experiments.runs.streams import stream
from experiments.step_size import search
from experiments.step_size.evaluation import evaluate as evaluate_controller
from experiments.step_size.other_run import Thetas, controllers_of
from experiments.step_size.present import present, store, stored
from ganno_jax.controller_files import load
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.inner import Training
from ganno_jax.learners.search import ParameterSearch
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy


def train(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Search a controller for each optimizer (or take another run's), evaluate, write everything."""
    folder = folders.claim(config)
    mesh, problems = mesh_of(config.run), _problems(config)
    given = None if config.step_size.controllers is None else controllers_of(config)
    what = (
        f"{config.step_size.strategy} for {' and '.join(problems)}, "
        f"{config.step_size.num_iterations} iterations each"
        if given is None
        else f"controllers of {config.step_size.controllers}"
    )
    say(
        f"{config.preset} ({config.scale}): {what} on {mesh.size} devices; run folder {folder.path}"
    )
    devices = list(mesh.devices.flat)
    message = f"stopped; everything is saved. Go on with: {resume_command(arguments)}"
    with entered(config, folder, devices, learned_settings), StopRequest(message) as stop:
        thetas, seconds = given, 0.0
        if thetas is None:
            with _session(config, folder, problems, stop) as session:
                for name in problems:
                    _search(config, name, problems[name], session, mesh)
                session.save()
                thetas, seconds = _thetas(problems, session.state), session.seconds
            _leave(config, folder, thetas, seconds)
        stop.waits = False  # the controllers are saved: from here on a stop loses evaluations only
        _evaluate(config, folder, mesh, thetas, seconds)


def evaluate(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Evaluate the controllers of a finished run again."""
    del arguments
    folder = folders.of(config)
    mesh, problems = mesh_of(config.run), _problems(config)
    message = "stopped; the run is as it was before."
    with folders.held(folder), StopRequest(message) as stop:
        stop.waits = False
        if config.step_size.controllers is not None:
            _evaluate(config, folder, mesh, controllers_of(config), 0.0)
            return
        with _session(config, folder, problems, stop) as session:
            states, seconds = session.state, session.seconds
        done = min(int(state.iteration) for state in states.values())
        if done < config.step_size.num_iterations:
            stands = f"at iteration {done} of {config.step_size.num_iterations}"
            raise unfinished(config, folder, stands)
        _evaluate(config, folder, mesh, _thetas(problems, states), seconds)


def plot(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    with results.drawing(folder):
        timing = results.stored_seconds(folder)
        present(config, folder, stored(folder), timing)


def _problems(config: StepSizeExperiment) -> dict[str, ParameterSearch]:
    """What is searched, by optimizer.

    Raises:
      UserError: no optimizer, numbers that cannot work, or data that are not there.
    """
    if not config.optimizers or len(set(config.optimizers)) < len(config.optimizers):
        raise UserError(
            f"`optimizers` needs one or more, each once; got {' '.join(config.optimizers) or 'none'}"
        )
    part = config.step_size
    low, high = part.data_fraction
    if not 0 < low <= high <= 1:
        raise UserError(
            f"`step_size.data_fraction` must be a range in (0, 1]; got {low:g} {high:g}"
        )
    if not part.rates or not all(0 < rate <= HIGHEST_RATE for rate in part.rates):  # nan neither
        raise UserError(
            f"`step_size.rates` must be above 0 and at most {HIGHEST_RATE:g}; got {part.rates}"
        )
    low, high = part.initial_rate or (HIGHEST_RATE, HIGHEST_RATE)
    if not 0 < low <= high <= HIGHEST_RATE:
        raise UserError(
            f"`step_size.initial_rate` must be a range above 0, at most {HIGHEST_RATE:g}; got {low:g} {high:g}"
        )
    filters = zip(part.fewest_filters, part.most_filters, strict=True)
    if not all(1 <= fewest <= most for fewest, most in filters):
        raise UserError(
            "`step_size.fewest_filters` must be at least 1 and at most `step_size.most_filters` "
            f"{part.most_filters}; got {part.fewest_filters}"
        )
    try:
        check_bounds(part, "step_size.")
        check_bounds(config.network, "network.")
        if part.agents is not None:
            load(part.agents)
        examples = search.test_family(config).dataset.train.num_examples
        require_within(
            {
                "step_size.test_steps": (part.test_steps, part.interval, math.inf),
                "step_size.test_batch_size": (part.test_batch_size, 1, examples),
            }
        )
        problems = {name: search.problem(config, name) for name in config.optimizers}
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    for name, problem in problems.items():
        _require_memory(config, name, problem)
    return problems


def _require_memory(config: StepSizeExperiment, optimizer: str, problem: ParameterSearch) -> None:
    part, env = config.step_size, problem.env
    trials = part.num_samples * part.num_tasks
    training = Training.create(
        search.test_family(config),
        search.optimizer_of(optimizer, search.initial_rates(part, optimizer)),
        part.test_batch_size,
    )
    test = search.environment(training, part.test_steps, part.interval)
    memory.require(
        needs.one_training(env, "step_size.most_filters"),
        needs.one_training(test, "network"),
        Need(f"{trials:,} trials (step_size.num_samples and num_tasks)", 100 * trials),
        needs.curves(test, len(part.rates) * part.num_runs, 1, "step_size.num_runs"),
        needs.curves(test, len(part.rates) * part.tuning_runs, 1, "step_size.tuning_runs"),
    )


def _session(
    config: StepSizeExperiment,
    folder: RunFolder,
    problems: Mapping[str, ParameterSearch],
    stop: StopRequest,
) -> Session:
    key = stream(config.step_size.seed, "search")
    states = {name: problem.init(key) for name, problem in problems.items()}
    return Session(folder, config, learned_settings(config), states, stop)


def _thetas(problems: Mapping[str, ParameterSearch], states: Mapping[str, Any]) -> Thetas:
    return {
        name: np.asarray(problem.strategy.best(states[name].strategy))
        for name, problem in problems.items()
    }


def _leave(config: StepSizeExperiment, folder: RunFolder, thetas: Thetas, seconds: float) -> None:
    """A controller file for each optimizer, for `ganno_jax.load` and `ganno_jax.control`."""
    decisions = config.step_size.num_steps // config.step_size.interval
    for name, theta in thetas.items():
        cost = {"optimizer": name, "seconds": seconds}
        policy = StepSizePolicy(jnp.asarray(theta), by_layer=config.step_size.by_layer)
        results.save_controller(folder, policy, decisions, cost, name)
        say(f"controller for {name}: {folder.controller_of(name)}  (ganno_jax.load)")


def _search(
    config: StepSizeExperiment, name: str, problem: ParameterSearch, session: Session, mesh: Mesh
) -> None:
    """Go on with the search for one optimizer until it is done."""
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

        search.run_search(problem, state, total, mesh, report)


def _evaluate(
    config: StepSizeExperiment, folder: RunFolder, mesh: Mesh, thetas: Thetas, seconds: float
) -> None:
    """Measure every controller on the test network."""
    begun = time.monotonic()
    found = {}
    with Bar("controllers tested", len(thetas)) as bar:
        for name, theta in thetas.items():
            say(f"testing the controller for {name} on another network ...")
            found[name] = evaluate_controller(config, name, theta, mesh)
            bar.show(len(found))
    folder.tables.mkdir(parents=True, exist_ok=True)
    rows = [
        {"optimizer": name} | {w: float(x) for w, x in zip(WEIGHTS, theta, strict=True)}
        for name, theta in thetas.items()
    ]
    write_csv(rows, folder.tables / "controllers.csv")
    store(folder, found)
    describe(config, folder, list(mesh.devices.flat))
    timing = {"seconds_search": seconds, "seconds_evaluation": time.monotonic() - begun}
    present(config, folder, found, timing)
