"""The folder of a run: what lies where, and whose it is."""

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.configs.experiment_kinds import AnyConfig, stored
from experiments.configs.values import to_dict
from experiments.runs import hosts, rescued
from experiments.runs.errors import UserError
from experiments.runs.source import git_commit
from experiments.runs.whole_files import write_json

LIBRARY = "ganno-jax"
AGENTS = "agents"  # name of the controller file that a training of agents leaves


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where the files of one run are."""

    path: Path
    # The run's own folder, where `path` is that of one of several processes.
    shared: Path | None = None

    @property
    def config(self) -> Path:
        """The run's settings, and where and with what it was made."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """Numbers of every update, one line each."""
        return self.path / "metrics.jsonl"

    @property
    def curve(self) -> Path:
        """Evaluations during training, one per line."""
        return self.path / "curve.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Numbers of the updates, for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """States to go on from, of all processes."""
        return (self.shared or self.path) / "checkpoints"

    def blind_checkpoints(self, num_updates: int) -> Path:
        """Of state-blind agents that are still to learn for so many updates; gone once they have."""
        return self.checkpoints.with_name(f"checkpoints_blind_{num_updates}")

    @property
    def snapshots(self) -> Path:
        """Agents at some updates, small files."""
        return (self.shared or self.path) / "snapshots"

    @property
    def head_start(self) -> Path:
        """Trainings under constant actions, a file per problem."""
        return self.path / "head_start"

    @property
    def controller(self) -> Path:
        """The trained agents as a controller file, for `ganno_jax.load`."""
        return self.controller_of(AGENTS)

    def controller_of(self, name: str) -> Path:
        """A controller file, for `ganno_jax.load`."""
        return self.path / f"{name}.controller"

    @property
    def tables(self) -> Path:
        """Tables, and what figures are drawn from."""
        return self.path / "tables"

    @property
    def arrays(self) -> Path:
        """What the figures are drawn from."""
        return self.tables / "curves.npz"

    @property
    def figures(self) -> Path:
        """The images of the report."""
        return self.path / "figures"

    @property
    def summary(self) -> Path:
        """The headline and the numbers of the result."""
        return self.path / "summary.json"

    @property
    def timing(self) -> Path:
        """Where the time of a training of agents went."""
        return self.path / "timing.json"

    @property
    def report(self) -> Path:
        """The page with all results."""
        return self.path / "report.html"

    def has_checkpoint(self) -> bool:
        """Whether there is a complete one, damaged or not."""
        return any(path.name.isdigit() for path in self.checkpoints.glob("*"))

    def is_taken(self) -> bool:
        """Whether there is anything in it (but for files that begin with a dot)."""
        if not self.path.is_dir():
            return False
        return any(not name.startswith(".") for name in os.listdir(self.path))


def of(config: AnyConfig) -> RunFolder:
    """The folder of this configuration's run; nothing is made."""
    return RunFolder(Path(config.run.folder).expanduser() / config.run_name)


def of_process(config: AnyConfig) -> RunFolder:
    """Where this process writes: the run's folder, or one in it for all processes but the first."""
    folder = of(config)
    if hosts.leads():
        return folder
    return RunFolder(folder.path / f"process_{hosts.index()}", folder.path)


def claim(config: AnyConfig) -> RunFolder:
    """Check that a run may use its folder; nothing is made.

    Raises:
      UserError: the name is none, another run is there, or nothing can be written.
    """
    otherwise = f"the first process cannot use {of(config).path}; its error says why"
    hosts.first(lambda: _check_free(config), otherwise)
    return of_process(config)


@contextlib.contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Keep other programs out of a run's folder, which is made if missing; the system lets go of it if this one dies.

    Raises:
      UserError: another program is in it, it cannot be made, or somebody moved or removed it meanwhile.
    """
    place = folder.shared or folder.path
    kept: list[os.stat_result] = []
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            _make(place)
            file = stack.enter_context((place / ".lock").open("a"))
            kept.append(os.fstat(file.fileno()))
            try:  # not `filelock`, which does not show its file: by that a moved folder is noticed
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another process is at work in {place}; wait for it, or choose another --run.name"
                ) from error
            except OSError:  # a file system without locks
                pass

        hosts.first(lock, f"the first process cannot use {place}; its error says why")
        yield
        if kept and not is_at(place / ".lock", kept[0]):
            raise UserError(
                f"{place} was moved or removed while the run was at work: it is not whole there"
            )


def is_at(path: Path, file: os.stat_result) -> bool:
    """Whether this file, which is open, is still the one under that name."""
    try:
        return os.path.samestat(path.stat(), file)
    except OSError:
        return False


def _make(place: Path) -> None:
    """Make a run's folder; a `UserError` where the system refuses."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {place} cannot be made ({error.strerror}); choose another --run.folder"
        ) from error


def require_name(name: str) -> None:
    """Raise a `UserError` where a name is none for a folder, or not to be shown in one line."""
    fits = name.isprintable() and len(os.fsencode(name)) <= 200
    if not fits or name.strip() in ("", ".", "..") or os.sep in name:
        raise UserError(
            f"`run.name` must be the name of a folder, one line of at most 200 bytes; got {name!r}"
        )


def _check_free(config: AnyConfig) -> None:
    if not 0 <= config.run.checkpoint_every < math.inf:
        raise UserError(
            f"`run.checkpoint_every` must be at least 0 seconds, and finite; got {config.run.checkpoint_every}"
        )
    require_name(config.run_name)
    folder = of(config)
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"{folder.path} is a file; a run needs a folder: choose another --run.name")
    if folder.is_taken() and not folder.config.is_file():
        raise UserError(f"{folder.path} holds other files; choose another --run.name")
    if folder.is_taken() and not config.run.resume:
        raise UserError(
            f"{folder.path} holds another run; go on with it with --run.resume, "
            "or choose another --run.name"
        )
    place = folder.path.absolute()
    while not place.exists():
        if place.is_symlink():
            raise UserError(
                f"{place} is a link to {os.readlink(place)}, which is not there; choose another --run.folder"
            )
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"no permission to write to {place}; choose another --run.folder")


def stored_config(folder: RunFolder) -> AnyConfig:
    """The configuration of a run that was made before; where it is lost, a checkpoint has it.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    is_empty = folder.config.is_file() and not folder.config.read_bytes().strip()
    if is_empty or not folder.config.is_file():
        _restore_config(folder)
    if is_empty and not folder.config.read_bytes().strip():
        raise UserError(
            f"{folder.config} is empty, and no checkpoint has the configuration: the run cannot be used"
        )
    if not folder.config.is_file():
        others = sorted(path.parent.name for path in folder.path.parent.glob("*/config.json"))
        there = f"there are: {', '.join(others)}" if others else "there are none"
        raise UserError(f"no run in {folder.path}; {there}")
    description: Any = None
    try:
        description = json.loads(folder.config.read_text(encoding="utf-8"))
        return stored(description["config"])
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{folder.config} cannot be read: {reason}{_other_version(description)}"
        ) from error


def _restore_config(folder: RunFolder) -> None:
    """Write the description that the newest checkpoint has, if any has it."""
    found = rescued.description(folder.checkpoints)
    if found is not None:
        write_json(folder.config, found)
        if hosts.leads():
            print(f"{folder.config} was lost; {found['restored_from']} has it", flush=True)


def is_known(config: AnyConfig) -> bool:
    """Whether this configuration's run was begun before, as its description or a checkpoint says."""
    folder = of(config)
    return folder.config.is_file() or rescued.description(folder.checkpoints) is not None


def _other_version(description: Any) -> str:
    """Who wrote the description, where that was another version of this library."""
    try:
        theirs = description["versions"][LIBRARY]
        ours = importlib.metadata.version(LIBRARY)
    except (KeyError, TypeError, importlib.metadata.PackageNotFoundError):
        return ""
    return "" if theirs == ours else f" (written by {LIBRARY} {theirs}; this is {ours})"


def describe(config: AnyConfig, versions: Mapping[str, str], devices: list[str]) -> dict[str, Any]:
    """Everything needed to rebuild a run, as `config.json` has it.

    Args:
      config, devices: of the run.
      versions: of the libraries, by name.
    """
    return {
        "config": to_dict(config),
        "versions": {"python": platform.python_version(), **versions},
        "devices": devices,
        "cores": os.cpu_count(),
        "git_commit": git_commit(),
    }
