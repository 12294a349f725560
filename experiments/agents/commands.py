"""Commands of a training of agents: train, evaluate, plot."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.agents import evaluation_arrays, needs
from experiments.agents.blind import train_blind
from experiments.agents.build import Experiment, build, learner_key
from experiments.agents.compare import compare
from experiments.agents.compared import Evaluator
from experiments.agents.train import train_agents
from experiments.agents.updates import LearningClock, Updates, init, require_planned
from experiments.configs.config import Config
from experiments.configs.values import learned_settings
from experiments.runs import folder as folders
from experiments.runs import history, hosts, memory, outputs, whole_files
from experiments.runs.enter import command_of, describe, learning, looking, unfinished
from experiments.runs.errors import as_user_error
from experiments.runs.folder import RunFolder
from experiments.runs.progress import say
from experiments.runs.saved import restore
from experiments.runs.signals import StopRequest
from ganno_jax.checkpoint import Checkpoints
from ganno_jax.policies import AgentPolicy

TIMES = ("inner_steps_per_second", "seconds_total", "seconds_compile")


def train(config: Config, arguments: Sequence[str]) -> None:
    """Train, evaluate, write everything."""
    clock = LearningClock()
    folder = folders.claim(config)
    evaluates = config.evaluate.after_training or config.evaluate.curve_every > 0
    experiment = _build(config, learns=True, evaluates=evaluates)
    devices = list(experiment.mesh.devices.flat)
    say(
        f"{config.preset} ({config.scale}): {experiment.env.training.family.name}, "
        f"{experiment.env.num_layers} layers, {config.learner.num_updates} updates on "
        f"{len(devices)} x {devices[0].platform}:{devices[0].device_kind}; run folder {folder.path}"
    )
    with learning(config, folder, devices, learned_settings, arguments) as stop:
        evaluator = _evaluator(experiment)
        trained, updates = train_agents(experiment, folder, evaluator, clock, stop)
        if not config.evaluate.after_training:
            say(f"trained; evaluate with: {command_of('evaluate', config)}")
            return
        stop.waits = False  # the agents are saved: from here on a stop loses evaluations only
        blind = None
        if config.num_blind_updates:
            blind = _blind(experiment, folder, updates, clock, stop)
        _finish(experiment, folder, evaluator, trained, blind, clock)


def evaluate(config: Config, arguments: Sequence[str]) -> None:
    """Evaluate the agents of a finished run again."""
    del arguments
    clock = LearningClock()
    folder = folders.of_process(config)
    experiment = _build(config, learns=config.num_blind_updates > 0, evaluates=True)
    checkpoints = Checkpoints(folder.checkpoints)
    updates = Updates(experiment)
    learner = experiment.learner
    like = updates.place(updates.start(learner, init(learner, learner_key(config))))
    state, metadata = restore(checkpoints, learned_settings(config), like)
    checkpoints.close()
    require_planned(int(state.update), config.learner.num_updates, folder)
    if int(state.update) < config.learner.num_updates:
        stands = f"at update {int(state.update)} of {config.learner.num_updates}"
        raise unfinished(config, folder, stands)
    clock.go_on_from(metadata)
    with looking(folder) as stop:
        blind = None
        if config.num_blind_updates:
            blind = _blind(experiment, folder, updates, clock, stop)
        trained = learner.policy(state)
        _finish(experiment, folder, _evaluator(experiment), trained, blind, clock)


def plot(config: Config, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    from experiments.agents import present

    del arguments
    folder = folders.of(config)
    with outputs.drawing(folder):
        timing = outputs.stored_seconds(folder.timing, TIMES)
        _say_place(folder, present.present(folder, lambda: timing))


def _build(config: Config, *, learns: bool, evaluates: bool) -> Experiment:
    with as_user_error():
        experiment = build(config)
    learner = experiment.learner
    if learns:
        memory.require(*needs.learning(learner, "learner.num_envs"))
    if evaluates:
        memory.require(*needs.evaluation(learner, config.evaluate))
    return experiment


def _evaluator(experiment: Experiment) -> Evaluator:
    settings = experiment.config.evaluate
    return Evaluator(
        experiment.env,
        experiment.mesh,
        block=settings.block,
        mapping=experiment.mapping,
        chunk=settings.chunk,
    )


def _blind(
    experiment: Experiment,
    folder: RunFolder,
    updates: Updates,
    clock: LearningClock,
    stop: StopRequest,
) -> tuple[AgentPolicy, int]:
    """State-blind agents, and for how many updates they learned."""
    count = experiment.config.num_blind_updates
    return train_blind(experiment, folder, updates, count, clock, stop), count


def _finish(
    experiment: Experiment,
    folder: RunFolder,
    evaluator: Evaluator,
    trained: AgentPolicy,
    blind: tuple[AgentPolicy, int] | None,
    clock: LearningClock,
) -> None:
    """Evaluate, write and show."""
    # its figures take a second to import: not before the training
    from experiments.agents import present

    before = evaluator.seconds_compile
    arrays = compare(experiment, evaluator, trained, blind)
    clock.compiling += evaluator.seconds_compile - before
    if not hosts.leads():
        return
    evaluation_arrays.store(folder, arrays)
    for path in (folder.metrics, folder.curve):
        history.finish(path)
    # What was evaluated may differ from what the run was started with.
    describe(experiment.config, folder, list(experiment.mesh.devices.flat))

    def timing() -> dict[str, float]:
        steps = experiment.steps_per_update * clock.updates
        values = {
            "inner_steps_per_second": steps / max(clock.updating, 1e-9),
            "seconds_total": clock.seconds,
            "seconds_compile": clock.compiling,
        }
        whole_files.write_object(folder.timing, values)
        return values

    say("drawing figures")
    numbers = present.present(folder, timing)
    found = {k: v for k, v in numbers.items() if isinstance(v, str | int | float)}
    outputs.save_controller(folder, trained, experiment.env.num_decisions, {"results": found})
    _say_place(folder, numbers)


def _say_place(folder: RunFolder, numbers: Mapping[str, Any]) -> None:
    """How long it took, and where the agents are."""
    seconds, compiling = numbers["seconds_total"], numbers["seconds_compile"]
    say(f"{seconds:.0f} s in all, {compiling:.0f} s of them compiling")
    say(f"agents:  {folder.controller}  (ganno_jax.load)")
