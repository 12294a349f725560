"""What the commands do for step-size controllers."""

import time
from collections.abc import Sequence

import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.configs.step_size import StepSizeExperiment, learned_settings
from experiments.runs import folder as folders
from experiments.runs import outputs
from experiments.runs.enter import describe, learning, looking, unfinished
from experiments.runs.folder import RunFolder
from experiments.runs.hosts import mesh_of
from experiments.runs.progress import Bar, say
from experiments.step_size import search
from experiments.step_size.build import build
from experiments.step_size.evaluation import evaluate as evaluate_controller
from experiments.step_size.other_run import Thetas, controllers_of
from experiments.step_size.present import present
from experiments.step_size.stored import store, stored
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy


def train(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Search a controller for each optimizer (or take another run's), evaluate, write everything."""
    folder = folders.claim(config)
    mesh, problems = mesh_of(config.run), build(config)
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
    with learning(config, folder, list(mesh.devices.flat), learned_settings, arguments) as stop:
        thetas, seconds = given, 0.0
        if thetas is None:
            with search.session_of(config, folder, problems, stop) as session:
                for name in problems:
                    search.go_on(config, name, problems[name], session, mesh)
                session.save()
                thetas, seconds = search.thetas_of(problems, session.state), session.clock.seconds
            _leave(config, folder, thetas, seconds)
        stop.waits = False  # the controllers are saved: from here on a stop loses evaluations only
        _evaluate(config, folder, mesh, thetas, seconds)


def evaluate(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Evaluate the controllers of a finished run again."""
    del arguments
    folder = folders.of(config)
    mesh, problems = mesh_of(config.run), build(config)
    with looking(folder) as stop:
        if config.step_size.controllers is not None:
            _evaluate(config, folder, mesh, controllers_of(config), 0.0)
            return
        with search.session_of(config, folder, problems, stop) as session:
            states, seconds = session.state, session.clock.seconds
        done = min(int(state.iteration) for state in states.values())
        if done < config.step_size.num_iterations:
            stands = f"at iteration {done} of {config.step_size.num_iterations}"
            raise unfinished(config, folder, stands)
        _evaluate(config, folder, mesh, search.thetas_of(problems, states), seconds)


def plot(config: StepSizeExperiment, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    with outputs.drawing(folder):
        timing = outputs.stored_seconds(folder.summary, outputs.TIMES)
        present(config, folder, stored(folder), timing)


def _leave(config: StepSizeExperiment, folder: RunFolder, thetas: Thetas, seconds: float) -> None:
    """A controller file for each optimizer, for `ganno_jax.load` and `ganno_jax.control`."""
    decisions = config.step_size.num_steps // config.step_size.interval
    for name, theta in thetas.items():
        cost = {"optimizer": name, "seconds": seconds}
        policy = StepSizePolicy(jnp.asarray(theta), by_layer=config.step_size.by_layer)
        outputs.save_controller(folder, policy, decisions, cost, name)
        say(f"controller for {name}: {folder.controller_of(name)}  (ganno_jax.load)")


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
    rows = [
        {"optimizer": name} | {w: float(x) for w, x in zip(WEIGHTS, theta, strict=True)}
        for name, theta in thetas.items()
    ]
    outputs.store_rows(folder, "controllers", rows)
    store(folder, found)
    describe(config, folder, list(mesh.devices.flat))
    timing = {"seconds_search": seconds, "seconds_evaluation": time.monotonic() - begun}
    present(config, folder, found, timing)
