"""Commands of broad meta-training: one controller from many kinds of problems, examined on the development suite."""

from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from experiments.broad import compare
from experiments.broad.build import Learning, build, fresh
from experiments.broad.present import present
from experiments.broad.train import learn, learned_settings, together
from experiments.configs.broad import BroadExperiment
from experiments.problems.problem import Problem
from experiments.problems.suites import problems_of
from experiments.runs import folder as folders
from experiments.runs import hosts
from experiments.runs.enter import command, learning, looking
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.streams import stream
from experiments.suites.build import check_suite
from experiments.suites.commands import examine, present_stored
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller


def train(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """Meta-train, save the controller, run the suite."""
    folder = folders.claim(config)
    check_suite(config.suite)
    mesh = hosts.mesh_of(config.run)
    plan = build(config, mesh)
    with learning(config, folder, list(mesh.devices.flat), learned_settings, arguments) as stop:
        controller = learn(config, plan, folder, mesh, stop)
        if config.broad.own_runs:
            _compare(config, plan, folder, controller, mesh)
        # A cell of the suite takes one device: the leading process runs them all.
        if not (config.suite.after_training and hosts.leads()):
            return
        stop.waits = False  # the controller is saved, and finished cells are kept
        examine(folder, controller, config.suite, "development", _suite_problems(config))


def evaluate(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """The suite again; cells that are finished are read from the folder."""
    folder = folders.of(config)
    check_suite(config.suite)
    controller = _finished(folder)
    with looking(folder, f"stopped; go on with: {command(arguments)}"):
        examine(folder, controller, config.suite, "development", _suite_problems(config))


def plot(config: BroadExperiment, arguments: Sequence[str]) -> None:
    """Tables, figures and report from the cells that are finished."""
    del arguments
    folder = folders.of(config)
    problems = _suite_problems(config)
    present_stored(folder, _finished(folder), config.suite, "development", problems)


def _compare(
    config: BroadExperiment, plan: Learning, folder: RunFolder, controller: Controller, mesh: Mesh
) -> None:
    """The agents beside untrained ones, in fresh runs of the problems that they learned on."""
    settings = config.broad
    untrained = together(plan.learner, fresh(plan.learner, settings, mesh))
    keys = jax.random.split(stream(settings.seed, "own runs"), settings.own_runs)
    envs = plan.envs[: len(plan.own)]
    rows = compare.compare(plan.own, envs, controller.policy, untrained, keys, mesh)
    if hosts.leads():
        present(folder, rows, settings.own_runs)


def _suite_problems(config: BroadExperiment) -> tuple[Problem, ...]:
    return problems_of("development", config.scale, config.suite.problems)


def _finished(folder: RunFolder) -> Controller:
    if not folder.controller.is_file():
        raise UserError(f"no trained controller in {folder.path}; train first")
    return load(folder.controller)
