"""How a run takes its folder: described, the same as before, and nobody else in it; and how to go on with it."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.configs.config import PROGRAM
from experiments.configs.experiment_kinds import AnyConfig
from experiments.runs import folder as folders
from experiments.runs import hosts, whole_files
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.progress import say
from experiments.runs.signals import StopRequest
from experiments.runs.whole_files import plain
from ganno_jax.checkpoint import require_same, versions


@contextlib.contextmanager
def entered(
    config: AnyConfig,
    folder: RunFolder,
    devices: Sequence[Any],
    settings: Callable[[Any], Mapping[str, Any]],
) -> Iterator[None]:
    """Be in the folder: the first process describes the run, or checks that it is the one described.

    Args:
      config: of the run.
      folder: of this process, as `folders.claim` gave it.
      devices: that it runs on.
      settings: what is learned depends on these, flat; a function of a configuration.

    Raises:
      UserError: another process is in it, or it holds a run of other settings.
    """

    def check() -> None:
        if not folder.config.is_file():
            return
        before = folders.stored_config(folder)
        if type(before) is not type(config):
            raise UserError(
                f"{folder.path} holds a run of {before.preset}; choose another --run.name"
            )
        try:
            require_same(
                plain(settings(before)), plain(settings(config)), f"the run in {folder.path}"
            )
        except ValueError as error:
            raise UserError(f"{error} Choose another --run.name") from error
        if not folder.has_checkpoint():
            say(f"no checkpoint in {folder.checkpoints} yet: starting from the beginning")

    with folders.held(folder):
        hosts.first(check, f"the first process cannot use {folder.path}; its error says why")
        if not folder.config.is_file():
            describe(config, folder, devices)
        yield


@contextlib.contextmanager
def learning(
    config: AnyConfig,
    folder: RunFolder,
    devices: Sequence[Any],
    settings: Callable[[Any], Mapping[str, Any]],
    arguments: Sequence[str],
) -> Iterator[StopRequest]:
    """`entered`, to learn there; whoever stops it is told how to go on.

    Args:
      config: as for `entered`, like the three that follow.
      folder: of this process.
      devices: that it runs on.
      settings: what is learned depends on these.
      arguments: the words of the command.
    """
    message = f"stopped; everything is saved. Go on with: {resume_command(arguments)}"
    with entered(config, folder, devices, settings), StopRequest(message) as stop:
        yield stop


@contextlib.contextmanager
def looking(
    folder: RunFolder, message: str = "stopped; the run is as it was before."
) -> Iterator[StopRequest]:
    """Be in the folder of a finished run, to evaluate it; a stop waits for nothing.

    Args:
      folder: of this process.
      message: what a stop says.
    """
    with folders.held(folder), StopRequest(message) as stop:
        stop.waits = False
        yield stop


def describe(config: AnyConfig, folder: RunFolder, devices: Sequence[Any], **more: Any) -> None:
    """Write `config.json`; `more` goes into it as it is.

    Args:
      config: of the run.
      folder: of this process.
      devices: that it runs on.
      **more: further entries.
    """
    names = [f"{device.platform}:{device.device_kind}" for device in devices]
    whole_files.write_json(folder.config, folders.describe(config, versions(), names) | more)


def resume_command(arguments: Sequence[str]) -> str:
    """The command that goes on with a run that was started with these words, for a shell."""
    again = [word for word in arguments if word not in ("--resume", "--run.resume")]
    return command([*again, "--run.resume"])


def command(arguments: Sequence[str]) -> str:
    """The program with these words, as a shell takes them."""
    return f"{PROGRAM} {shlex.join(arguments)}"


def command_of(verb: str, config: AnyConfig, *more: str) -> str:
    """A command for the run of this configuration: its preset, and its place where that is not the usual one.

    Args:
      verb: what to do, such as "train".
      config: of the run.
      *more: further words.
    """
    words, usual = [verb, config.preset], type(config.run)()
    if config.run.folder != usual.folder:
        words += ["--run.folder", config.run.folder]
    if config.run.name is not None:
        words += ["--run.name", config.run.name]
    return command([*words, *more])


def unfinished(config: AnyConfig, folder: RunFolder, stands: str) -> UserError:
    """The error that says how far a run is, such as "at update 3 of 10", and how to finish it.

    Args:
      config: of the run.
      folder: of the run.
      stands: how far it is.
    """
    return UserError(
        f"the run in {folder.path} is {stands}; finish it first with: "
        f"{command_of('train', config, '--run.resume')}"
    )
