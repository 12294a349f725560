"""What the commands do once the arguments are understood."""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from experiments import folder as folders
from experiments import present, training
from experiments.assess import assess
from experiments.build import Experiment, build, learner_key
from experiments.config import Config
from experiments.entrants import Evaluator
from experiments.errors import UserError
from experiments.folder import RunFolder
from experiments.progress import console
from experiments.signals import StopRequest
from ganno_jax.checkpoint import Checkpoints, versions
from ganno_jax.controllers import Controller, save
from ganno_jax.evaluation.tables import format_table
from ganno_jax.policies import AgentPolicy


def train(config: Config, arguments: Sequence[str]) -> None:
    """Train, evaluate, write everything."""
    clock = training.Clock()
    folder = folders.claim(config)
    experiment = _build(config)
    devices = _devices(experiment)
    _say(
        f"{config.preset} ({config.scale}): {experiment.env.training.family.name}, "
        f"{experiment.env.num_layers} layers, {config.learner.num_updates} updates on "
        f"{len(devices)} x {devices[0]}; run folder {folder.path}"
    )
    if not folder.config.is_file():
        _describe(experiment, folder)
    again = [word for word in arguments if word not in ("--resume", "--run.resume")]
    command = " ".join(["python -m experiments.run", *again, "--run.resume"])
    with StopRequest(f"stopped; everything is saved. Go on with: {command}") as stop:
        evaluator = _evaluator(experiment)
        trained, updates = training.run_training(experiment, folder, evaluator, clock, stop, _say)
        if not config.evaluate.after_training:
            _say(
                f"trained; evaluate with: python -m experiments.run evaluate {config.preset} "
                f"--run.folder {config.run.folder} --run.name {config.run_name}"
            )
            return
        stop.waits = False  # the agents are saved: from here on a stop loses evaluations only
        blind = None
        if config.evaluate.blind_updates:
            blind = training.train_blind(experiment, folder, updates, clock, stop)
        _finish(experiment, folder, evaluator, trained, blind, clock)


def evaluate(config: Config, arguments: Sequence[str]) -> None:
    """Evaluate the agents of a finished run again."""
    del arguments
    clock = training.Clock()
    folder = folders.of(config)
    experiment = _build(config)
    checkpoints = Checkpoints(folder.checkpoints)
    updates = training.Updates(experiment)
    learner = experiment.learner
    like = updates.place(updates.start(learner, training.init(learner, learner_key(config))))
    state, earlier = training.restore(experiment, checkpoints, like)
    checkpoints.close()
    if int(state.update) < config.learner.num_updates:
        raise UserError(
            f"the run in {folder.path} is at update {int(state.update)} of "
            f"{config.learner.num_updates}; finish it first with: python -m experiments.run train "
            f"{config.preset} --run.resume (and the arguments that it was started with)"
        )
    clock.go_on_from(earlier)
    with StopRequest("stopped; the run is as it was before.") as stop:
        stop.waits = False
        blind = None
        if config.evaluate.blind_updates:
            blind = training.train_blind(experiment, folder, updates, clock, stop)
        trained = learner.policy(state)
        _finish(experiment, folder, _evaluator(experiment), trained, blind, clock)


def plot(config: Config, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    try:
        timing = json.loads(folder.timing.read_text(encoding="utf-8"))
        presented = present.present(folder, lambda: timing)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{folder.path} has no evaluation to draw: {error}") from error
    _show(folder, presented)


def _build(config: Config) -> Experiment:
    try:
        return build(config)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _devices(experiment: Experiment) -> list[str]:
    return [f"{d.platform}:{d.device_kind}" for d in experiment.mesh.devices.flat]


def _describe(experiment: Experiment, folder: RunFolder) -> None:
    description = folders.describe(experiment.config, versions(), _devices(experiment))
    folders.write_json(folder.config, description)


def _evaluator(experiment: Experiment) -> Evaluator:
    settings = experiment.config.evaluate
    return Evaluator(
        experiment.env,
        experiment.mesh,
        block=settings.block,
        mapping=experiment.mapping,
        chunk=settings.chunk,
    )


def _finish(
    experiment: Experiment,
    folder: RunFolder,
    evaluator: Evaluator,
    trained: AgentPolicy,
    blind: tuple[AgentPolicy, int] | None,
    clock: training.Clock,
) -> None:
    """Evaluate, write and show."""
    untrained = experiment.learner.policy(
        training.init(experiment.learner, learner_key(experiment.config))
    )
    before = evaluator.seconds_compile
    arrays = assess(experiment, evaluator, trained, untrained, blind, _say)
    clock.compiling += evaluator.seconds_compile - before
    present.store(folder, arrays)
    _describe(
        experiment, folder
    )  # what was evaluated may differ from what the run was started with

    def timing() -> dict[str, float]:
        spent = clock.now()
        steps = experiment.steps_per_update * spent["updates"]
        values = {
            "inner_steps_per_second": steps / max(spent["updating"], 1e-9),
            "seconds_total": spent["total"],
            "seconds_compile": spent["compiling"],
        }
        folders.write_json(folder.timing, values)
        return values

    _say("drawing figures")
    presented = present.present(folder, timing)
    _save_controller(experiment, folder, trained, presented.summary)
    _show(folder, presented)


def _save_controller(
    experiment: Experiment, folder: RunFolder, trained: AgentPolicy, summary: Mapping[str, Any]
) -> None:
    """The trained agents as a file for `ganno_jax.load`, with where they come from."""
    description = folders.describe(experiment.config, versions(), _devices(experiment))
    results = {
        name: value for name, value in summary.items() if isinstance(value, str | int | float)
    }
    provenance = {**description, "date": datetime.date.today().isoformat(), "results": results}
    plain = json.loads(json.dumps(provenance))
    save(folder.controller, Controller(trained, experiment.env.num_decisions, plain))


def _show(folder: RunFolder, presented: present.Presented) -> None:
    """The table, the result in words, and where everything is."""
    out = console()
    out.print(format_table(presented.rows, "Every policy in the same runs"))
    out.print(escape(presented.headline))
    seconds = presented.summary["seconds_total"]
    _say(f"{seconds:.0f} s in all, {presented.summary['seconds_compile']:.0f} s of them compiling")
    _say(f"agents:  {folder.controller}  (ganno_jax.load)")
    _say(f"figures: {folder.figures}{os.sep}")
    _say(f"tables:  {folder.tables}{os.sep}  and {folder.summary}")
    _say(f"report:  {folder.report}")


def _say(text: str) -> None:
    print(text, flush=True)
