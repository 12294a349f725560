"""What the commands do for step-size controllers."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments import folder as folders
from experiments import results, step_size
from experiments.errors import UserError
from experiments.folder import RunFolder
from experiments.progress import Bar
from experiments.results import say
from experiments.session import Session, mesh_of
from experiments.signals import StopRequest
from experiments.step_size import EvaluateResult
from experiments.systems import StepSizeConfig, StepSizeExperiment, learned_settings
from ganno_jax.evaluation.tables import read_csv, write_csv
from ganno_jax.learners.parameter_search import ParameterSearch
from ganno_jax.policies.step_size import WEIGHTS

Thetas = dict[str, np.ndarray]  # by optimizer, in the order of WEIGHTS


def train(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Search a controller for each optimizer, evaluate them, write everything."""
    folder = folders.claim(config)
    mesh, problems = mesh_of(config.run), _problems(config)
    say(
        f"{config.preset} ({config.scale}): {config.step_size.strategy} for "
        f"{' and '.join(problems)}, {config.step_size.num_iterations} iterations each on "
        f"{mesh.size} devices; run folder {folder.path}"
    )
    if not folder.config.is_file():
        results.describe(config, folder, list(mesh.devices.flat))
    again = results.resume_command(arguments)
    with StopRequest(f"stopped; everything is saved. Go on with: {again}") as stop:
        with _session(config, folder, problems, stop) as session:
            for name in problems:
                _search(config, name, session, mesh)
            session.save()
            thetas, seconds = _thetas(problems, session.state), session.seconds
        stop.waits = False  # the controllers are saved: from here on a stop loses evaluations only
        _evaluate(config, folder, mesh, thetas, seconds)


def evaluate(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Evaluate the controllers of a finished run again."""
    del arguments
    folder = folders.of(config)
    mesh, problems = mesh_of(config.run), _problems(config)
    with StopRequest("stopped; the run is as it was before.") as stop:
        stop.waits = False
        with _session(config, folder, problems, stop) as session:
            states, seconds = session.state, session.seconds
        done = min(int(state.iteration) for state in states.values())
        if done < config.step_size.num_iterations:
            raise UserError(
                f"the run in {folder.path} is at iteration {done} of "
                f"{config.step_size.num_iterations}; finish it first with: python -m "
                f"experiments.run train {config.preset} --run.resume (and the arguments that it was "
                "started with)"
            )
        _evaluate(config, folder, mesh, _thetas(problems, states), seconds)


def plot(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    timing = results.stored_seconds(folder)
    _present(config, folder, _stored(config, folder), timing)


def _part(config: StepSizeExperiment, optimizer: Any) -> StepSizeConfig:
    return dataclasses.replace(config.step_size, optimizer=optimizer)


def _title(config: StepSizeExperiment, optimizer: str) -> str:
    return f"{optimizer}, {config.step_size.test_data}"


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
    for name in ("interval", "num_iterations", "num_runs", "tuning_runs", "num_perturbed"):
        if getattr(part, name) < 1:
            raise UserError(f"`step_size.{name}` must be at least 1; got {getattr(part, name)}")
    if not part.rates or min(part.rates) <= 0:
        raise UserError(f"`step_size.rates` must be above 0; got {part.rates}")
    try:
        return {name: step_size.problem(_part(config, name)) for name in config.optimizers}
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _session(
    config: StepSizeExperiment,
    folder: RunFolder,
    problems: Mapping[str, ParameterSearch],
    stop: StopRequest,
) -> Session:
    key = jax.random.key(config.step_size.seed)
    states = {name: problem.init(key) for name, problem in problems.items()}
    settings = {"optimizers": list(config.optimizers), **learned_settings(config.step_size)}
    return Session(folder, config.run, settings, states, stop)


def _thetas(problems: Mapping[str, ParameterSearch], states: Mapping[str, Any]) -> Thetas:
    return {
        name: np.asarray(problem.strategy.best(states[name].strategy))
        for name, problem in problems.items()
    }


def _search(config: StepSizeExperiment, name: str, session: Session, mesh: Mesh) -> None:
    """Go on with the search for one optimizer until it is done."""
    part = _part(config, name)
    state = session.state[name]
    done = int(state.iteration)
    if done == part.num_iterations:
        return
    say(f"going on from iteration {done}" if done else f"compiling the search for {name} ...")
    with Bar(f"iterations for {name}", part.num_iterations, done) as bar:

        def report(row: dict[str, float], state: Any) -> None:
            shown = f"mean return {row['mean_return']:.4f}  best {row['highest_return']:.4f}"
            bar.show(int(row["iteration"]) + 1, shown)
            session.record(name, row, session.state | {name: state})

        step_size.train(part, mesh=mesh, state=state, report=report)


def _evaluate(
    config: StepSizeExperiment, folder: RunFolder, mesh: Mesh, thetas: Thetas, seconds: float
) -> None:
    """Measure every controller on the test network."""
    begun = time.monotonic()
    found = {}
    for name, theta in thetas.items():
        say(f"evaluating the controller for {name} ...")
        part = _part(config, name)
        found[name] = step_size.evaluate(part, theta, mesh=mesh, compare=part.compare)
    folder.tables.mkdir(parents=True, exist_ok=True)
    rows = [
        {"optimizer": name} | {w: float(x) for w, x in zip(WEIGHTS, theta, strict=True)}
        for name, theta in thetas.items()
    ]
    write_csv(rows, folder.tables / "controllers.csv")
    _store(folder, found)
    results.describe(config, folder, list(mesh.devices.flat))
    timing = {"seconds_search": seconds, "seconds_evaluation": time.monotonic() - begun}
    _present(config, folder, found, timing)


def _store(folder: RunFolder, found: Mapping[str, EvaluateResult]) -> None:
    """Keep what the figures are drawn from."""
    values = {
        name: {
            "theta": result.theta,
            "panel": {key: list(pair) for key, pair in result.panel.items()},
            "steps": result.steps,
            "rates": result.rates,
            "comparison": result.comparison,
            "perturbed_losses": result.perturbed_losses,
            "unperturbed_loss": result.unperturbed_loss,
        }
        for name, result in found.items()
    }
    folders.write_json(folder.tables / "evaluation.json", values)


def _stored(config: StepSizeExperiment, folder: RunFolder) -> dict[str, EvaluateResult]:
    """What `_store` kept.

    Raises:
      UserError: nothing, or the file is damaged.
    """
    path = folder.tables / "evaluation.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: EvaluateResult(
                config=_part(config, name),
                theta=np.asarray(part["theta"]),
                panel={k: (np.asarray(v[0]), np.asarray(v[1])) for k, v in part["panel"].items()},
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
    files = step_size.write(titles, folder.figures, folder.tables)
    figures = [
        (_caption(path.stem), f"figures/{path.name}") for path in files if path.suffix == ".png"
    ]
    numbers: dict[str, Any] = {}
    sentences = []
    for name, result in found.items():
        (_, static), (_, ours) = result.panel["static"], result.panel["controlled"]
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
            f"{of_ours.max():.3f} over initial rates from {config.step_size.rates[0]:g} to "
            f"{config.step_size.rates[-1]:g}, the static rate between {of_static.min():.3f} and "
            f"{of_static.max():.3f}."
        )
    tables = []
    if any(result.comparison for result in found.values()):
        rows = read_csv(folder.tables / "comparison.csv")
        tables.append(("Controllers, static rates and tuned schedules on the test network", rows))
    tables.append(("The controllers' weights", read_csv(folder.tables / "controllers.csv")))
    seeds = config.step_size.num_runs
    notes = [
        f"Every number is over {seeds} seeds. Losses are on the test split; a diverged run costs as "
        "much as guessing. Losses over seeds are geometric means.",
        "The best static rate is chosen by the reported runs, schedules by other seeds: the static "
        "one has an advantage.",
        "The controllers were learned on smaller networks and never saw the test network.",
    ]
    results.finish(folder, " ".join(sentences), {**numbers, **timing}, tables, figures, notes)
    for name in ("search", "evaluation"):
        say(f"{timing.get(f'seconds_{name}', 0.0):.0f} s of {name}")


def _caption(stem: str) -> str:
    kind, _, rest = stem.partition("_")
    what = {
        "sensitivity": "Final test loss against the initial rate; bands hold the middle half of the seeds.",
        "rates": "The controlled rate over a training, one thin line per seed, by initial rate",
        "perturbation": "Mean final log test loss of controllers with randomly changed weights",
    }[kind]
    return f"{what}: {rest.replace('_', ', ')}." if rest else what
