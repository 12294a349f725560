"""What the commands do for a search of update rules."""

import time
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from experiments.configs.systems import RuleSearchConfig, RuleSearchExperiment, learned_settings
from experiments.rules import comparison as rule_comparison
from experiments.rules import search as rule_search
from experiments.rules.present import present
from experiments.runs import folder as folders
from experiments.runs import results
from experiments.runs.beginning import describe, entered, resume_command, unfinished
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.runs.session import Session, mesh_of, require_finite
from experiments.runs.signals import StopRequest
from ganno_jax import rules
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.rules import search

States = dict[str, Any]  # by name: "search" and, where there is one, "control"


def train(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Search, compare, write everything."""
    folder = folders.claim(config)
    _check(config)
    mesh = mesh_of(config.run)
    say(
        f"{config.preset} ({config.scale}): {config.search.method}, {config.search.budget} rules x "
        f"{len(config.search.rates)} rates on {mesh.size} devices; run folder {folder.path}"
    )
    devices = list(mesh.devices.flat)
    message = f"stopped; everything is saved. Go on with: {resume_command(arguments)}"
    with entered(config, folder, devices, learned_settings), StopRequest(message) as stop:
        judge = _judge(config, mesh)
        with _session(config, folder, stop) as session:
            for name in rule_search.names_of(config.search):
                _search(config.search, name, session, judge)
            session.save()
            states, seconds = session.state, session.seconds
        stop.waits = False  # what was found is saved: from here on a stop loses evaluations only
        _evaluate(config, folder, mesh, judge, states, seconds)


def evaluate(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Compare what a finished search found again."""
    del arguments
    folder = folders.of(config)
    _check(config)
    mesh = mesh_of(config.run)
    message = "stopped; the run is as it was before."
    with folders.held(folder), StopRequest(message) as stop:
        stop.waits = False
        with _session(config, folder, stop) as session:
            states, seconds = session.state, session.seconds
        if not all(_is_done(config.search, name, state) for name, state in states.items()):
            raise unfinished(config, folder, "not finished")
        judge = _judge(config, mesh)
        _evaluate(config, folder, mesh, judge, states, seconds)


def plot(config: RuleSearchExperiment, arguments: Sequence[str]) -> None:
    """Draw figures and report of an evaluated run again."""
    del arguments
    folder = folders.of(config)
    with results.drawing(folder):
        comparison = results.stored_rows(folder, "comparison")
        board = results.stored_rows(folder, "leaderboard")
        present(config, folder, board, comparison, results.stored_seconds(folder))


def _check(config: RuleSearchExperiment) -> None:
    try:
        rule_search.check(config)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _judge(config: RuleSearchExperiment, mesh: Mesh) -> rule_search.Judge:
    try:
        return rule_search.Judge(config, mesh)
    except ValueError as error:
        raise UserError(str(error)) from error


def _session(config: RuleSearchExperiment, folder: RunFolder, stop: StopRequest) -> Session:
    return Session(folder, config, learned_settings(config), _fresh(config.search), stop)


def _method(config: RuleSearchConfig, name: str) -> rules.RuleMethod:
    return rule_search.method_of(config, config.method if name == "search" else "random")


def _budget(config: RuleSearchConfig, name: str) -> int:
    return config.budget if name == "search" else rule_search.control_budget(config)


def _key(config: RuleSearchConfig, name: str) -> Any:
    return rule_search.key_of(config, control=name == "control")


def _fresh(config: RuleSearchConfig) -> States:
    """Searches that have not begun."""
    return {
        name: search.init(_method(config, name), _budget(config, name), _key(config, name))
        for name in rule_search.names_of(config)
    }


def _is_done(config: RuleSearchConfig, name: str, state: search.RuleSearchState) -> bool:
    budget = _budget(config, name)
    most = 10 * -(-budget // config.batch_size)  # as in `search.run`
    return int(state.archive.size) >= budget or int(state.num_updates) >= most


def _search(config: RuleSearchConfig, name: str, session: Session, judge: Any) -> None:
    """Go on with one of the searches until it is done."""
    state = session.state[name]
    if _is_done(config, name, state):
        return
    method, budget = _method(config, name), _budget(config, name)
    label = "rules" if name == "search" else "rules of random search"
    start, begun = int(state.archive.size), time.monotonic()
    if start:
        say(f"going on from rule {start} of {budget}")
    with Bar(label, budget, start) as bar:

        def on_update(state: search.RuleSearchState, metrics: dict[str, float]) -> None:
            params = getattr(state.method, "params", ())  # evolution has none
            require_finite(params, "the proposer's weights", f"update {int(state.num_updates)}")
            size = int(state.archive.size)
            best = search.leaderboard(state, 1)
            reward = best[0]["fitness"] if best else 0.0
            counts = {"evaluated": size, "proposed": int(state.num_proposed), "best": reward}
            speed = (size - start) / (time.monotonic() - begun)
            text = best[0]["rule"] if best else "none alive"
            bar.show(min(size, budget), f"{speed:.0f} rules/s  best {reward:.3f}: {text}")
            session.record(name, counts | metrics, session.state | {name: state})

        search.run(
            method,
            judge.fitness,
            _key(config, name),
            budget=budget,
            state=state,
            chunk_size=judge.chunk_size,
            on_update=on_update,
        )
    size = int(session.state[name].archive.size)
    if size < budget:
        say(f"stopped at {size} of {budget} {label}: the proposals repeat what is known")


def _evaluate(
    config: RuleSearchExperiment,
    folder: RunFolder,
    mesh: Mesh,
    judge: rule_search.Judge,
    states: States,
    seconds: float,
) -> None:
    """Leaderboard, comparison, and all that is drawn from them."""
    begun = time.monotonic()
    board = []
    for name, state in states.items():
        method = config.search.method if name == "search" else "random"
        key, budget = _key(config.search, name), _budget(config.search, name)
        rows = rule_search.leaderboard(config.search, state, judge, key, budget)
        board += [{"method": method, **row} for row in rows]
    if not board:
        raise UserError("the search found no rule that trains; give it a larger --search.budget")
    found = {
        f"{row['method']} #{row['rank']}": row["canonical"]
        for row in board
        if row["rank"] <= (config.search.num_found if row["method"] == board[0]["method"] else 1)
    }
    total = len(found) + len(rule_comparison.NAMED) + len(rule_comparison.OPTIMIZERS)
    done = []
    with Bar("optimizers compared", total) as bar:

        def report(name: str) -> None:
            done.append(name)
            bar.show(len(done), name)

        comparison = rule_comparison.compare(config, found, mesh, report)
    folder.tables.mkdir(parents=True, exist_ok=True)
    write_csv(board, folder.tables / "leaderboard.csv")
    write_csv(comparison, folder.tables / "comparison.csv")
    describe(config, folder, list(mesh.devices.flat))
    spent = time.monotonic() - begun
    timing = {"seconds_search": seconds, "seconds_evaluation": spent}
    present(config, folder, board, comparison, timing)
