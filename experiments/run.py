"""Command line: `python -m experiments.run {train,evaluate,plot,list} [PRESET] [--option value]`.

Arguments are understood before JAX is imported: a wrong one is answered at once, in one line.
"""

from experiments.runs import at_once

if __name__ == "__main__":  # before the imports below, which take a while
    at_once.stop_at_once()

import contextlib
import dataclasses
import errno
import inspect
import io
import os
import signal
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

try:
    import tyro
except ModuleNotFoundError:
    sys.exit(
        "tyro is not installed; pip install 'ganno-jax[experiments]' brings it, "
        "in a checkout pip install '.[experiments]'."
    )

from experiments.configs import presets
from experiments.configs.broad import SUITE_NAMES, SuiteExperiment
from experiments.configs.broad_presets import suite_of
from experiments.configs.config import PROGRAM
from experiments.configs.experiment_kinds import AnyConfig, commands_of, takes_processes
from experiments.configs.place import PlaceConfig
from experiments.configs.values import flags, options
from experiments.runs import devices, folder, hosts
from experiments.runs.errors import Interrupted, UserError, as_user_error

COMMANDS = {
    "train": "train or search, evaluate what was found, write the run folder",
    "evaluate": "evaluate what a finished run found again, or CONTROLLER --suite development",
    "plot": "draw figures and report of an evaluated run again",
    "list": "the presets with their cost and expected result",
}
# What the system says when a file cannot be used, as opposed to what is a bug.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_REFUSALS |= {errno.ENAMETOOLONG, errno.EISDIR, errno.EIO, errno.EFBIG, errno.ENOENT, errno.EEXIST}
_REFUSALS |= {errno.ELOOP, errno.ESTALE, errno.EMFILE, errno.ENFILE}

_OF_PROCESS = ("coordinator", "num_processes", "process_id")  # said anew at every start


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 2 for what the user can change, or 128 + the signal."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):  # None where it was closed before the start
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    try:
        return _main(arguments)
    except UserError as error:
        return _complain(str(error), error.code)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr, flush=True)
        return stopped.code
    except KeyboardInterrupt:
        return _complain("stopped before anything was written", 130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to flush
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno in _REFUSALS or error.errno is None:
            return _complain(f"the system refuses a file: {error}", 2)
        raise


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, *rest = arguments
    if command not in COMMANDS:
        raise UserError(f"no command {command!r}; there are: {', '.join(COMMANDS)}")
    if command == "list":
        if rest and rest[0] not in ("-h", "--help"):
            raise UserError(f"`list` takes no arguments; got {' '.join(rest)}")
        _list()
        return 0
    if rest and rest[0] in ("-h", "--help"):
        rest = ["digits", *rest]
    config = parse(command, rest)
    if config is None:  # help was asked for and given
        return 0
    if config.run.coordinator is not None and not takes_processes(command, config):
        raise UserError(f"`{command} {rest[0]}` runs in one process; it takes no --run.coordinator")
    devices.prepare(config.run.devices)
    hosts.join(config.run)
    getattr(commands_of(config), command)(config, arguments)  # imports JAX
    return 0


def parse(command: str, words: Sequence[str]) -> AnyConfig | None:
    """The configuration that the words after the command describe; None after showing the help.

    Raises:
      UserError: an unknown preset or option, or a value that does not fit.
    """
    if not words or words[0].startswith("-"):
        raise UserError(f"`{command}` needs a preset; there are: {', '.join(presets.PRESETS)}")
    name, *rest = words
    given = _value(rest, "--run.name")
    if given is not None:  # an empty one would be taken for none
        folder.require_name(given)
    if command != "train" and _value(rest, "--suite") is not None:
        return _parse_suite(command, name, rest)
    short = {"--resume": "--run.resume", "--profile": "--run.profile"}
    rest = [short.get(word, word) for word in rest]
    with as_user_error(ValueError):
        make = presets.named(name)
    wants_help = "-h" in rest or "--help" in rest
    _check_options([] if wants_help else rest, type(make()))
    scale = _value(rest, "--scale")
    scales = typing.get_args(typing.get_type_hints(make)["scale"])
    if scale is not None and scale not in scales:
        raise UserError(f"no scale {scale!r} of {name}; there are: {', '.join(scales)}")
    default = make() if scale is None else make(scale)
    if not wants_help:
        default = _begun(command, rest, default)
    return _parse(f"{PROGRAM} {command} {name}", make, rest, default)


def _begun(command: str, words: Sequence[str], default: AnyConfig) -> AnyConfig:
    """The configuration of the run that a command goes on with, as its folder has it; else the default.

    Raises:
      UserError: there is no such run, or it is another one than the words say.
    """
    place = {
        "folder": _value(words, "--run.folder") or default.run.folder,
        "name": _value(words, "--run.name"),
    }
    asked = dataclasses.replace(default, run=dataclasses.replace(default.run, **place))
    if command == "train" and not ("--run.resume" in words and folder.is_known(asked)):
        return default
    stored, path = folder.stored_config(folder.of(asked)), folder.of(asked).path
    if stored.preset != default.preset:
        raise UserError(f"the run in {path} is of preset {stored.preset}, not {default.preset}")
    if _value(words, "--scale") not in (None, stored.scale):
        raise UserError(
            f"the run in {path} was made with scale {stored.scale}; here it is {default.scale}. "
            "Choose another --run.name"
        )
    here = {f.name: f.default for f in dataclasses.fields(PlaceConfig) if f.name in _OF_PROCESS}
    return dataclasses.replace(stored, run=dataclasses.replace(stored.run, **place, **here))


def _parse_suite(command: str, controller: str, words: Sequence[str]) -> AnyConfig | None:
    """What `evaluate CONTROLLER --suite NAME` and `plot CONTROLLER --suite NAME` describe."""
    suite = _value(words, "--suite")
    if suite not in SUITE_NAMES:
        raise UserError(f"no suite {suite!r}; there are: {', '.join(SUITE_NAMES)}")
    at = next(i for i, word in enumerate(words) if word.split("=")[0] == "--suite")
    rest = [*words[:at], *words[at + (1 if "=" in words[at] else 2) :]]
    default = suite_of(suite, controller)
    wants_help = "-h" in rest or "--help" in rest
    _check_options([] if wants_help else rest, SuiteExperiment)
    program = f"{PROGRAM} {command} CONTROLLER --suite {suite}"
    return _parse(program, SuiteExperiment, rest, default)


def _parse(
    program: str, make: typing.Any, words: list[str], default: AnyConfig
) -> AnyConfig | None:
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                type(default),
                args=words,
                default=default,
                prog=program,
                description=inspect.getdoc(make),
                use_underscores=True,
            )
    except SystemExit as stopped:
        if not stopped.code:
            return None
        raise UserError(_condensed(shown.getvalue())) from None


def _check_options(words: Sequence[str], config_type: type) -> None:
    """Name what exists where an option of a type of configuration does not."""
    known = options(config_type)
    for word in words:
        if not word.startswith("--"):
            continue
        name = word[2:].partition("=")[0].replace("-", "_")
        group, _, option = name.rpartition(".")
        if group not in known:
            groups = ", ".join(group for group in known if group)
            raise UserError(f"no option {word}; the groups of options are: {groups}")
        negative = option.startswith("no_") and f"{group}.{option[3:]}" in flags(config_type)
        if option not in known[group] and not negative:
            there = ", ".join(f"--{group}.{o}" if group else f"--{o}" for o in known[group])
            raise UserError(f"no option {word}; there are: {there}")


def _value(words: Sequence[str], option: str) -> str | None:
    """What was given for an option, the last time if often; None if it was not."""
    for number, word in reversed([*enumerate(words)]):
        if word == option:
            return words[number + 1] if number + 1 < len(words) else None
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _condensed(box: str) -> str:
    """What tyro draws a box around, up to the first rule below the title, as one line.

    It tells what is wrong in this form only: on stderr, then `SystemExit`.
    """
    title_in_frame = (
        "╭" in box
    )  # else the title stands above a rule of dashes: no Unicode on this terminal
    parts: list[list[str]] = [[]]
    for line in box.splitlines():
        text = line.strip("│ ").strip()
        if text.startswith(("╭", "╰")) or (text and set(text) <= set("─-")):
            parts.append([])
        elif text:
            parts[-1].append(text)
    said = [" ".join(part) for part in parts if part]
    if not title_in_frame:
        said = said[1:]
    return said[0] if said else "the arguments cannot be understood"


def _list() -> None:
    for name, make in presets.PRESETS.items():
        print(f"{name} (--scale {make().scale} by default)")
        print("\n".join(f"    {line}" for line in (inspect.getdoc(make) or "").splitlines()))


def _usage() -> str:
    lines = [f"usage: {PROGRAM} {{{','.join(COMMANDS)}}} [PRESET] [--group.option value ...]", ""]
    lines += [f"  {name:9} {meaning}" for name, meaning in COMMANDS.items()]
    lines += ["", f"presets: {', '.join(presets.PRESETS)}"]
    lines += [f"options: {PROGRAM} train PRESET --help"]
    return "\n".join(lines)


def _without_closed_loops(kind: type, error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception, but not those of TensorStore's threads that still want to tell of a write that has failed."""
    if not (kind is RuntimeError and str(error) == "Event loop is closed"):
        sys.__excepthook__(kind, error, trace)


def _complain(message: str, code: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr, flush=True)
    return code


def program() -> NoReturn:
    """`main` with the words of this process, which then ends.

    After an error it ends at once: threads of TensorStore still tell of writes that failed.
    """
    sys.excepthook = _without_closed_loops
    status = main()
    if status == 2 and "jax" in sys.modules and hosts.count() == 1:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    program()
