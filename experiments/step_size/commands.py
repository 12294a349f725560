"""What the commands do for step-size controllers."""

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.agents import needs
from experiments.configs.checks import (
    HIGHEST_RATE,
    network_sizes,
    require_seeds,
    require_within,
)
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
from experiments.step_size.evaluation import EvaluateResult
from experiments.step_size.evaluation import evaluate as evaluate_controller
from experiments.step_size.evaluation import write as write_results
from ganno_jax.controllers import load
from ganno_jax.evaluation.tables import Row, read_csv, write_csv
from ganno_jax.inner import Training
from ganno_jax.learners.parameter_search import ParameterSearch
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy

Thetas = dict[str, np.ndarray]  # by optimizer, in the order of WEIGHTS


def train(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Search a controller for each optimizer (or take another run's), evaluate, write everything."""
    folder = folders.claim(config)
    mesh, problems = mesh_of(config.run), _problems(config)
    given = None if config.step_size.controllers is None else _controllers_of(config)
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
            _evaluate(config, folder, mesh, _controllers_of(config), 0.0)
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
        _present(config, folder, _stored(folder), timing)


def _title(config: StepSizeExperiment, optimizer: str) -> str:
    return f"{optimizer}, {config.data.name}"


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
    counts = ("interval", "num_iterations", "num_runs", "tuning_runs", "num_perturbed")
    counts += ("perturbed_runs", "num_judged", "limit", "chunk", "at_once", "num_tasks")
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
        require_seeds({"step_size.seed": part.seed})
        require_within({f"step_size.{name}": (getattr(part, name), 1, math.inf) for name in counts})
        require_within(network_sizes("network", config.network))
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


def _other(config: StepSizeExperiment) -> tuple[StepSizeExperiment, RunFolder]:
    """The run whose controllers are taken.

    Raises:
      UserError: there is none, or it is of another kind.
    """
    folder = RunFolder(Path(config.step_size.controllers or "").expanduser())
    other = folders.stored_config(folder)
    if not isinstance(other, StepSizeExperiment):
        raise UserError(f"{folder.path} is a run of {other.preset}, which learns no step sizes")
    return other, folder


def _controllers_of(config: StepSizeExperiment) -> Thetas:
    """The controllers that another run found, for the optimizers asked for."""
    other, folder = _other(config)
    if other.step_size.by_layer != config.step_size.by_layer:
        option = "by_layer" if other.step_size.by_layer else "no_by_layer"
        raise UserError(f"the controllers in {folder.path} need --step_size.{option}")
    rows = {row["optimizer"]: row for row in results.stored_rows(folder, "controllers")}
    missing = [name for name in config.optimizers if name not in rows]
    if missing:
        raise UserError(f"{folder.path} has no controller for {missing[0]}")
    return {
        name: np.asarray([rows[name][weight] for weight in WEIGHTS], np.float32)
        for name in config.optimizers
    }


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
    _store(folder, found)
    describe(config, folder, list(mesh.devices.flat))
    timing = {"seconds_search": seconds, "seconds_evaluation": time.monotonic() - begun}
    _present(config, folder, found, timing)


def _store(folder: RunFolder, found: Mapping[str, EvaluateResult]) -> None:
    """Keep what the figures are drawn from."""
    folders.write_json(
        folder.tables / "evaluation.json",
        {name: dataclasses.asdict(result) for name, result in found.items()},
    )


def _stored(folder: RunFolder) -> dict[str, EvaluateResult]:
    """What `_store` kept, by optimizer.

    Raises:
      UserError: nothing, or the file is damaged.
    """

    def panel(values: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {name: (np.asarray(a), np.asarray(b)) for name, (a, b) in values.items()}

    path = folder.tables / "evaluation.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: EvaluateResult(
                theta=np.asarray(part["theta"]),
                losses=panel(part["losses"]),
                errors=panel(part["errors"]),
                steps=np.asarray(part["steps"]),
                rates={k: np.asarray(v) for k, v in part["rates"].items()},
                comparison=part["comparison"],
                perturbed_losses=np.asarray(part["perturbed_losses"]),
                unperturbed_loss=part["unperturbed_loss"],
            )
            for name, part in values.items()
        }
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder.path} has no evaluation to draw: {error}") from error


def _present(
    config: StepSizeExperiment,
    folder: RunFolder,
    found: Mapping[str, EvaluateResult],
    timing: Mapping[str, float],
) -> None:
    """Tables, figures, summary and report."""
    titles = {_title(config, name): result for name, result in found.items()}
    beside = {}
    if config.step_size.controllers is not None:
        other, place = _other(config)
        beside = {_title(other, name): result for name, result in _stored(place).items()}
        beside = {title: result for title, result in beside.items() if title not in titles}
    files = write_results(titles, beside, folder.figures, folder.tables)
    figures = [
        (_caption(path.stem), f"figures/{path.name}") for path in files if path.suffix == ".png"
    ]
    numbers: dict[str, Any] = {}
    sentences, tables = [], []
    for (title, result), name in zip(titles.items(), found, strict=True):
        (rates, static), (_, ours) = result.losses["static"], result.losses["controlled"]
        # Geometric mean over seeds, then the worst initial rate and the best.
        of_static, of_ours = (np.exp(np.log(x).mean(axis=1)) for x in (static, ours))
        numbers |= {
            f"{name}_controlled_loss_worst_rate": float(of_ours.max()),
            f"{name}_controlled_loss_best_rate": float(of_ours.min()),
            f"{name}_static_loss_worst_rate": float(of_static.max()),
            f"{name}_static_loss_best_rate": float(of_static.min()),
        }
        sentences.append(
            f"With {name}, the controlled rate ends between a test loss of {of_ours.min():.3f} and "
            f"{of_ours.max():.3f} over initial rates from {rates[0]:g} to "
            f"{rates[-1]:g}, the static rate between {of_static.min():.3f} and "
            f"{of_static.max():.3f}."
        )
        tables.append((f"{title}: lowest test loss on top", _table(result)))
    shown = len(tables)
    tables.append(("The controllers' weights", read_csv(folder.tables / "controllers.csv")))
    part = config.step_size
    notes = [
        f"Rows `from any rate`, references and agents: {part.num_runs} seeds from each of "
        f"{len(part.rates)} initial rates. Other rows: {part.num_runs} seeds at the rate shown, constant "
        "or the schedule's peak.",
        "Losses and errors are on the test split; a diverged run costs as much as guessing. The loss "
        "of a row is the geometric mean over its runs.",
        "The best static rate is chosen by the reported runs, schedules by other seeds: the static "
        "one has an advantage.",
        "The controllers were learned on smaller networks and never saw the test network. Reference "
        "controllers are those of Adriaensen et al. 2022, arXiv:2205.13881.",
    ]
    headline = " ".join(sentences)
    results.finish(folder, headline, {**numbers, **timing}, tables, figures, notes, shown)
    for name in ("search", "evaluation"):
        say(f"{timing.get(f'seconds_{name}', 0.0):.0f} s of {name}")


def _table(result: EvaluateResult) -> list[Row]:
    """The comparison as it is shown."""
    rows = [
        {
            "policy": row["policy"],
            "rate": row["peak"],
            "test_loss": math.exp(row["log_loss"]),
            "worst_run": math.exp(row["worst_log_loss"]),
            "test_error": row["error"],
            "worst_error": row["worst_error"],
            "diverged": row["diverged"],
        }
        for row in result.comparison
    ]
    return sorted(rows, key=lambda row: row["test_loss"])


def _caption(stem: str) -> str:
    """Of a figure, by the name of its file."""
    what = {
        "sensitivity_error": "Final test error against the initial rate",
        "sensitivity_loss": "Final test loss against the initial rate",
        "rates": "The controlled rate over a training, one thin line per seed, by initial rate",
        "perturbation": "Mean final log test loss of controllers with randomly changed weights",
    }
    if stem in what:
        return f"{what[stem]}; lines join medians, bands hold the middle half of the seeds."
    kind, _, rest = stem.partition("_")
    return f"{what[kind]}: {rest.replace('_', ', ')}."
