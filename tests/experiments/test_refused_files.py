"""What the system refuses, and what somebody does to the files of a run at work: one line, nothing lost silently."""

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.agents import commands
from experiments.rules import search as rule_search
from experiments.run import main, parse
from experiments.runs import folder, history
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.logs import Lines
from experiments.runs.progress import Bar
from experiments.step_size import search
from ganno_jax.checkpoint import Checkpoints

from . import tiny
from .tiny import ONLY_TRAIN, assert_one_line, numbers

ROOT = Path(__file__).parents[2]


def arguments(place, *more):
    return tiny.arguments(place, ONLY_TRAIN, *more)


@contextlib.contextmanager
def largest_file(size):
    """The system refuses files above so many bytes; Python ignores the signal, writing raises."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "digits").symlink_to("/nowhere/at all")
    (tmp_path / "runs").symlink_to(tmp_path / "gone")
    for place in (tmp_path, tmp_path / "runs"):
        config = parse("train", ["digits", "--run.folder", str(place)])
        with pytest.raises(UserError, match=r"is a link to .*, which is not there; choose another"):
            folder.claim(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "runs"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files")
def test_a_folder_that_cannot_be_made_is_named():
    with (
        pytest.raises(UserError, match=r"/proc/runs/digits cannot be made \(No such file"),
        folder.held(RunFolder(Path("/proc/runs/digits"))),
    ):
        pass


@pytest.mark.parametrize(
    "number", ["EFBIG", "ENOENT", "EEXIST", "ELOOP", "ESTALE", "EDQUOT", "EROFS", "EMFILE"]
)
def test_what_the_system_refuses_is_one_line(tmp_path, capsys, monkeypatch, number):
    def refused(config, **what):
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code), str(tmp_path))

    monkeypatch.setattr(commands, "_build", refused)
    assert main(arguments(tmp_path)) == 2
    assert_one_line(capsys, "the system refuses a file", str(tmp_path))


@pytest.mark.parametrize("harm", ["moved", "removed", "replaced"])
def test_records_never_go_to_a_file_that_is_not_where_it_was(tmp_path, harm):
    place = tmp_path / "run"
    place.mkdir()
    lines = Lines(place / "metrics.jsonl", 0)
    lines.write({"update": 1})
    if harm == "removed":
        shutil.rmtree(place)
    else:
        place.rename(tmp_path / "elsewhere")
    if harm == "replaced":
        place.mkdir()
        (place / "metrics.jsonl").write_text("")
    with pytest.raises(OSError, match="was moved or removed while the run was at work"):
        lines.write({"update": 2})
    lines.close()


def test_a_folder_that_is_gone_does_not_come_back_half_empty(tmp_path):
    place = tmp_path / "run"
    with (  # noqa: PT012
        pytest.raises(UserError, match="was moved or removed while the run was at work"),
        folder.held(RunFolder(place)),
    ):
        folder.write_json(place / "tables" / "a.json", {})
        shutil.rmtree(place)
        with pytest.raises(FileNotFoundError):
            folder.write_json(place / "tables" / "a.json", {})
    assert not place.exists()


def test_checkpoints_do_not_go_to_a_folder_that_is_gone(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(1, {"a": jnp.ones(3)}, {})
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="the folder of the checkpoints has gone"):
        checkpoints.save(2, {"a": jnp.ones(3)}, {})
    assert not (tmp_path / "run").exists()
    checkpoints.close()


def test_a_checkpoint_above_the_limit_of_a_file_is_an_error_of_the_system(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, {"a": jnp.ones(3)}, {})
    with largest_file(4096), pytest.raises(OSError, match="File too large"):
        checkpoints.save(2, {"a": jnp.arange(100_000.0)}, {})
    assert checkpoints.restore(1, {"a": jnp.zeros(3)})["a"].tolist() == [1, 1, 1]
    checkpoints.close()


@pytest.fixture
def at_update(monkeypatch):
    """Does something in the middle of a run, once."""

    def at_update(number, act):
        show, done_once = Bar.show, []

        def show_and_act(self, done, note=""):
            show(self, done, note)
            if self._what == "updates" and done == number and not done_once:
                done_once.append(number)
                act()

        monkeypatch.setattr(Bar, "show", show_and_act)

    return at_update


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["moved", "removed"])
def test_a_run_whose_folder_goes_stops_and_what_was_moved_goes_on(
    tmp_path, capsys, at_update, harm
):
    place = tmp_path / "digits"
    act = {
        "moved": lambda: place.rename(tmp_path / "moved"),
        "removed": lambda: shutil.rmtree(place),
    }
    at_update(2, act[harm])
    assert main(arguments(tmp_path)) == 2
    assert_one_line(capsys, "was moved or removed while the run was at work")
    assert not place.exists()
    if harm == "moved":
        assert main(arguments(tmp_path, "--run.name", "moved", "--run.resume")) == 0
        updates = [line["update"] for line in numbers(tmp_path / "moved", "metrics.jsonl")]
        assert updates == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1024, 2048, 4096])
def test_a_run_that_the_system_gives_no_room_ends_with_one_line_and_can_go_on(tmp_path, limit):
    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1)); "
        "sys.argv[0] = 'run'; import runpy; runpy.run_module('experiments.run', run_name='__main__')"
    )
    cache = tmp_path / "cache"  # of its own: programs above the limit are cut short in it
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    words = arguments(tmp_path / "runs")
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr
    run = tmp_path / "runs" / "digits"
    if (run / "config.json").is_file():
        words.append("--run.resume")
    assert main(words) == 0
    updates = [line["update"] for line in numbers(run, "metrics.jsonl")]
    assert updates == [1, 2, 3, 4]


def test_a_search_that_is_not_finite_stops_and_says_since_when(monkeypatch):
    recorded = []
    session = SimpleNamespace(
        state={"momentum": SimpleNamespace(iteration=0)}, record=lambda *row: recorded.append(row)
    )
    problem = SimpleNamespace(strategy=SimpleNamespace(best=lambda weights: weights))

    def run_search(problem, state, total, mesh, report):
        for number in range(total):
            row = {"iteration": number, "mean_return": 0.0, "highest_return": 0.0}
            weights = np.full(5, np.nan if number == 2 else 1.0)
            report(row, SimpleNamespace(strategy=weights, iteration=number + 1))

    monkeypatch.setattr(search, "run_search", run_search)
    with pytest.raises(
        UserError, match="weights for momentum are not finite since iteration 3: stopped"
    ):
        search.go_on(parse("train", ["step_size_digits"]), "momentum", problem, session, None)
    assert len(recorded) == 2  # what is not finite is not kept


def test_a_rule_search_whose_proposer_is_not_finite_stops_at_once(monkeypatch):
    recorded = []
    archive, start = SimpleNamespace(size=0), SimpleNamespace(params=())
    session = SimpleNamespace(
        state={"search": SimpleNamespace(archive=archive, num_updates=0, method=start)},
        record=lambda *arguments: recorded.append(arguments),
    )

    def run(method, fitness, key, *, budget, state, chunk_size, on_update):
        for number in range(1, 5):
            params = {"kernel": np.full(3, np.nan if number == 3 else 1.0)}
            now = SimpleNamespace(
                archive=archive,
                num_updates=number,
                num_proposed=8 * number,
                method=SimpleNamespace(params=params),
            )
            on_update(now, {"loss": 0.0})

    monkeypatch.setattr(rule_search.search, "run", run)
    monkeypatch.setattr(rule_search.search, "leaderboard", lambda state, count: [])
    judge = SimpleNamespace(fitness=None, chunk_size=8)
    with pytest.raises(UserError, match="proposer's weights are not finite since update 3: stop"):
        rule_search.go_on(parse("train", ["search_digits"]).search, "search", session, judge)
    assert len(recorded) == 2


def test_missing_updates_are_said_as_spans(tmp_path, capsys):
    assert history.spans([1, 3, 4, 5, 9]) == "1, 3 to 5, 9"
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd\n{"update": 4}\n')
    history.say_missing(path, range(1, 7))
    said = capsys.readouterr().out
    assert "has no whole line of update 2 to 3, 5 to 6: that part of the history is lost" in said
    history.say_missing(path, [1, 4])
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_run_that_goes_on_says_what_its_history_lacks(tmp_path, capsys, at_update):
    at_update(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert main(arguments(tmp_path)) == 143
    place = tmp_path / "digits"
    lines = (place / "metrics.jsonl").read_text().splitlines(keepends=True)
    (place / "metrics.jsonl").write_text(lines[0] + lines[1][:20] + "\n" + lines[2])
    (place / "curve.jsonl").unlink()
    snapshot = place / "snapshots" / "agents_00000.msgpack"
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    capsys.readouterr()
    assert main(arguments(tmp_path, "--run.resume")) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "metrics.jsonl has no whole line of update 2: that part of the history is lost" in said
    assert "curve.jsonl has no whole line of update 0, 2: that part" in said
    assert "agents_00000.msgpack is damaged (it is not as it was written)" in said
    assert json.loads((place / "metrics.jsonl").read_text().splitlines()[0])["update"] == 1
