"""What pages tell to type is understood: the command line, benchmarks, targets of make, extras."""

import argparse
import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from experiments import run
from experiments.runs.errors import UserError

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:srun |[A-Z_]+=\S+ )*((?:python -m|make|pip install|ganno-jax) .*)")
STANDS_FOR = {"PRESET": "digits", "M": "ppo", "K": "1", "S": "1", "FILE": "muon"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def lines(page):
    """What could be typed: lines of shell blocks, texts of YAML, code within the text."""
    text = page.read_text()
    for language, block in BLOCK.findall(text):
        if language == "yaml":
            for document in yaml.safe_load_all(block):
                yield from texts(document)
        elif language in ("", "bash", "sh", "text"):
            yield from block.replace("\\\n", " ").splitlines()
    # Notes tell of commands at the commits that stand beside them.
    if page.parent.name != "notes":
        yield from re.findall(r"`([^`]+)`", BLOCK.sub("", text))


def texts(value):
    """Every text in what a YAML document holds."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)
    elif isinstance(value, str):
        yield re.sub(r"\$[A-Z_]+", "0", value)


def commands(page):
    """The words of every command of a page."""
    for line in lines(page):
        found = COMMAND.fullmatch(" ".join(line.split()).removeprefix("$ "))
        if found:
            words = shlex.split(found[1], comments=True)
            yield [STANDS_FOR.get(word, word) for word in words if word != "..."]


def complaint(words):
    """What is wrong with a command, found before anything runs; None where nothing is."""
    program, *rest = words
    if program == "make":
        return next((f"no target {word}" for word in rest if word not in TARGETS), None)
    if program == "pip":
        extras = re.findall(r"(?:\.|ganno-jax)\[([\w,-]+)\]", " ".join(rest))
        asked = {name for extra in extras for name in extra.split(",")}
        return None if asked <= {*EXTRAS} else f"no extra {asked - {*EXTRAS}}"
    module, rest = ("experiments.run", rest) if program == "ganno-jax" else (rest[1], rest[2:])
    return of_experiments(*rest) if module == "experiments.run" else of_module(module, rest)


def of_experiments(command, *words):
    """What the command line says of it."""
    if command not in run.COMMANDS:
        return f"no command {command}"
    if command == "list" or not words:  # a command by its name alone
        return None
    try:
        return "no help was asked for" if run.parse(command, words) is None else None
    except UserError as error:
        # `evaluate` and `plot` of a run read its folder, which is not here.
        return None if command != "train" and "no run in" in str(error) else str(error)


class Understood(Exception):
    """The words of a command were parsed; it need not run."""


def of_module(module, words):
    """What another module's parser says."""

    def parse(parser, *arguments):
        original(parser, *arguments)
        raise Understood

    original = argparse.ArgumentParser.parse_args
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        patch.setattr(sys, "argv", [module, *words])
        try:
            importlib.import_module(module).main()
        except Understood:
            return None
        except (ImportError, SystemExit) as error:
            return f"{module}: {error}"
    return f"{module} reads no options"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_understood(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        assert complaint(words) is None, (words, complaint(words))


@pytest.mark.parametrize(
    "line, expected",
    [
        ("make tset", "no target tset"),
        ("pip install '.[experiment]'", "no extra"),
        ("python -m experiments.run trian digits", "no command trian"),
        ("srun python -m experiments.run train digits --lerner.clip 1", "groups of options"),
        ("python -m experiments.run evaluate muon --suite unsene", "no suite"),
        ("python -m benchmarks.nothing", "benchmarks.nothing"),
        ("MALLOC_ARENA_MAX=1 python -m benchmarks.memory --quik", "benchmarks.memory"),
        ("python -m benchmarks.inner_step --networks cmn", "benchmarks.inner_step"),
    ],
)
def test_what_is_wrong_with_a_command_is_found(line, expected, tmp_path, capsys):
    page = tmp_path / "page.md"
    for text in (f"Do `{line}`.", f"```bash\n{line}  # now\n```\n"):
        page.write_text(text)
        [words] = commands(page)
        assert expected in (complaint(words) or "")


def test_commands_are_found_in_scripts_and_in_yaml():
    found = [words for words in commands(ROOT / "docs" / "several_hosts.md") if "train" in words]
    assert sum("auto" in words for words in found) == 1  # srun
    assert sum("ganno-0.ganno:12355" in words for words in found) == 1  # a container's arguments


def test_continuous_integration_calls_targets_that_exist():
    called = re.findall(r"^make (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert called
    assert {*called} <= {*TARGETS}
