"""What the commands do for a search of update rules."""

import time
from collections.abc import Sequence

from jax.sharding import Mesh

from experiments.configs.rules import RuleSearchExperiment, learned_settings
from experiments.rules import build
from experiments.rules import compare as rule_compare
from experiments.rules import search as rule_search
from experiments.rules.build import Judge
from experiments.rules.present import BOARD, COMPARED, present
from experiments.runs import folder as folders
from experiments.runs import history, outputs
from experiments.runs.enter import describe, learning, looking, unfinished
from experiments.runs.errors import UserError, as_user_error
from experiments.runs.folder import RunFolder
from experiments.runs.hosts import mesh_of
from experiments.runs.progress import Bar, say


def train(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Search, compare, write everything."""
    folder = folders.claim(config)
    _check(config)
    mesh = mesh_of(config.run)
    say(
        f"{config.preset} ({config.scale}): {config.search.method}, {config.search.budget} rules x "
        f"{len(config.search.rates)} rates on {mesh.size} devices; run folder {folder.path}"
    )
    with learning(config, folder, list(mesh.devices.flat), learned_settings, arguments) as stop:
        judge = _judge(config, mesh)
        with rule_search.session_of(config, folder, stop) as session:
            for name in rule_search.names_of(config.search):
                rule_search.go_on(config.search, name, session, judge)
            session.save()
            states, seconds = session.state, session.clock.seconds
        stop.waits = False  # what was found is saved: from here on a stop loses evaluations only
        _evaluate(config, folder, mesh, judge, states, seconds)


def evaluate(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Compare what a finished search found again."""
    del arguments
    folder = folders.of(config)
    _check(config)
    mesh = mesh_of(config.run)
    with looking(folder) as stop:
        with rule_search.session_of(config, folder, stop) as session:
            states, seconds = session.state, session.clock.seconds
        if not all(
            rule_search.is_done(config.search, name, state) for name, state in states.items()
        ):
            raise unfinished(config, folder, "not finished")
        judge = _judge(config, mesh)
        _evaluate(config, folder, mesh, judge, states, seconds)


def plot(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    with outputs.drawing(folder):
        comparison = outputs.stored_rows(folder, "comparison", *COMPARED)
        board = outputs.stored_rows(folder, "leaderboard", *BOARD)
        timing = outputs.stored_seconds(folder.summary, outputs.TIMES)
        present(config, folder, board, comparison, timing)


def _check(config: RuleSearchExperiment) -> None:
    with as_user_error():
        build.check(config)


def _judge(config: RuleSearchExperiment, mesh: Mesh) -> Judge:
    with as_user_error(ValueError):
        return Judge(config, mesh)


def _evaluate(
    config: RuleSearchExperiment,
    folder: RunFolder,
    mesh: Mesh,
    judge: Judge,
    states: rule_search.States,
    seconds: float,
) -> None:
    """Leaderboard, comparison, and all that is drawn from them."""
    begun = time.monotonic()
    board = []
    for name in rule_search.names_of(config.search):
        state = states[name]
        method = config.search.method if name == "search" else "random"
        key = rule_search.key_of(config.search, name)
        budget = rule_search.budget_of(config.search, name)
        rows = rule_search.leaderboard(config.search, state, judge, key, budget)
        board += [{"method": method, **row} for row in rows]
    if not board:
        raise UserError("the search found no rule that trains; give it a larger --search.budget")
    found = {
        f"{row['method']} #{row['rank']}": row["canonical"]
        for row in board
        if row["rank"] <= (config.search.num_found if row["method"] == board[0]["method"] else 1)
    }
    total = len(found) + len(rule_compare.NAMED) + len(rule_compare.OPTIMIZERS)
    done = []
    with Bar("optimizers compared", total) as bar:

        def report(name: str) -> None:
            done.append(name)
            bar.show(len(done), name)

        comparison = rule_compare.compare(config, found, mesh, report)
    outputs.store_rows(folder, "leaderboard", board)
    outputs.store_rows(folder, "comparison", comparison)
    history.finish(folder.metrics)
    describe(config, folder, list(mesh.devices.flat))
    spent = time.monotonic() - begun
    timing = {"seconds_search": seconds, "seconds_evaluation": spent}
    present(config, folder, board, comparison, timing)
