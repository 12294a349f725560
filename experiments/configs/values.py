"""Configurations as plain values and back, and the options that a type of configuration has."""

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any

import tyro

from experiments.configs.config import Config
from experiments.configs.value_types import typed


def to_dict(config: Config) -> dict[str, Any]:
    """Plain dicts and lists, as `config.json` has them."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any], config_type: type = Config) -> Any:
    """What `to_dict` wrote of a configuration of this type, also after a way through JSON.

    Raises:
      ValueError: a setting that does not exist here, or is of another type.
    """
    return _from_dict(config_type, values, "")


def options(config_type: type = Config) -> dict[str, tuple[str, ...]]:
    """The options of each group of a type of configuration; those without a group under ""."""
    hints = typing.get_type_hints(config_type)
    groups = {name: part for name, part in hints.items() if dataclasses.is_dataclass(part)}
    alone = tuple(name for name in hints if name not in groups and name != "preset")
    return {"": alone} | {
        name: tuple(f.name for f in dataclasses.fields(part) if not _is_hidden(f.type))
        for name, part in groups.items()
    }


def flags(config_type: type = Config) -> tuple[str, ...]:
    """The options that take no value."""
    return tuple(
        f"{group}.{name}"
        for group, part in typing.get_type_hints(config_type).items()
        if dataclasses.is_dataclass(part)
        for name, hint in typing.get_type_hints(part).items()
        if hint is bool
    )


def _is_hidden(hint: Any) -> bool:
    return tyro.conf.Suppress in getattr(hint, "__metadata__", ())


def _from_dict(config_type: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        what = f"`{where[:-1]}`" if where else "a configuration"
        raise ValueError(f"{what} must be a group of settings; got {type(values).__name__}")
    hints = typing.get_type_hints(config_type, include_extras=True)
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
    return config_type(**made)


# What a checkpoint depends on: the rest may differ between the run and its resumption.
LEARNED = ("seed", "data", "network", "task", "optimizer", "env", "agent", "learner")


# Where files lie says nothing about what is in them.
PLACES_OF_DATA = ("dir",)


def learned_settings(config: Config) -> dict[str, Any]:
    """The settings that decide what is learned, flat: {"learner.num_updates": 100, ...}."""
    settings: dict[str, Any] = {}
    for name in LEARNED:
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            settings |= flat(name, value, without=PLACES_OF_DATA if name == "data" else ())
        else:
            settings[name] = value
    return settings


def flat(name: str, group: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """The settings of a group by name, such as "learner.num_updates", with lists for tuples.

    Args:
      name: of the group.
      group: a dataclass of plain values.
      without: names that are left out.
    """
    values = {part: getattr(group, part) for part in vars(group) if part not in without}
    return {
        f"{name}.{part}": list(value) if isinstance(value, tuple) else value
        for part, value in values.items()
    }
