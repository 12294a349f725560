"""Configurations as plain values and back, and the options that a type of configuration has."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import tyro

from experiments.configs.config import Config
from experiments.configs.value_types import typed


def to_dict(config: Config) -> dict[str, Any]:
    """Plain dicts and lists, as `config.json` has them."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any], kind: type = Config) -> Any:
    """What `to_dict` wrote of a configuration of this type, also after a way through JSON.

    Raises:
      ValueError: a setting that does not exist here, or is of another type.
    """
    return _from_dict(kind, values, "")


def options(kind: type = Config) -> dict[str, tuple[str, ...]]:
    """The options of each group of a type of configuration; those without a group under ""."""
    hints = typing.get_type_hints(kind)
    groups = {name: part for name, part in hints.items() if dataclasses.is_dataclass(part)}
    alone = tuple(name for name in hints if name not in groups and name != "preset")
    return {"": alone} | {
        name: tuple(f.name for f in dataclasses.fields(part) if not _is_hidden(f.type))
        for name, part in groups.items()
    }


def flags(kind: type = Config) -> tuple[str, ...]:
    """The options that take no value."""
    return tuple(
        f"{group}.{name}"
        for group, part in typing.get_type_hints(kind).items()
        if dataclasses.is_dataclass(part)
        for name, hint in typing.get_type_hints(part).items()
        if hint is bool
    )


def _is_hidden(hint: Any) -> bool:
    return tyro.conf.Suppress in getattr(hint, "__metadata__", ())


def _from_dict(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        what = f"`{where[:-1]}`" if where else "a configuration"
        raise ValueError(f"{what} must be a group of settings; got {type(values).__name__}")
    hints = typing.get_type_hints(kind, include_extras=True)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(
            f"no setting {where}{unknown[0]}; there are: {', '.join(where + n for n in hints)}"
        )
    made = {
        name: _from_dict(hints[name], value, f"{where}{name}.")
        if dataclasses.is_dataclass(hints[name])
        else typed(value, hints[name], where + name)
        for name, value in values.items()
    }
    return kind(**made)


# What a checkpoint depends on: the rest may differ between the run and its resumption.
LEARNED = ("seed", "data", "network", "task", "optimizer", "env", "agent", "learner")


# Where files lie says nothing about what is in them.
_PLACES = {"data": ("dir",)}


def learned_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what is learned, flat: {"learner.num_updates": 100, ...}."""
    flat: dict[str, Any] = {}
    for name in LEARNED:
        value = getattr(config, name)
        if not dataclasses.is_dataclass(value):
            flat[name] = value
            continue
        for part, number in dataclasses.asdict(value).items():
            if part not in _PLACES.get(name, ()):
                flat[f"{name}.{part}"] = list(number) if isinstance(number, tuple) else number
    return flat
