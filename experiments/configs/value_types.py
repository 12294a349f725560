"""Whether a plain value, such as one of a JSON file, is of the type that a setting has. Imports nothing heavy."""

import math
import types
import typing
from typing import Any

_WORDS: dict[type, tuple[str, str]] = {  # one, several
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    type(None): ("null", "null"),
}


def typed(value: Any, hint: Any, name: str) -> Any:
    """The value as the setting has it: a list becomes a tuple.

    Args:
      value: null, true or false, a number, a text, or a list of these.
      hint: the annotation of the setting.
      name: of the setting.

    Raises:
      ValueError: it is of another type; one line with the name, what came and what is needed.
    """
    hint = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    parts = typing.get_args(hint) if is_union else (hint,)
    for part in parts:
        if _fits(value, part):
            return tuple(value) if typing.get_origin(part) is tuple else value
    needed = " or ".join(_named(part) for part in parts)
    raise ValueError(f"`{name}` must be {needed}; got {_found(value)}")


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return isinstance(value, str) and value in parts
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        items = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(items) == len(value) and all(map(_fits, value, items))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and not math.isnan(value)
    return isinstance(value, hint)


def _named(hint: Any, several: bool = False) -> str:
    """Such as "a whole number", or "whole numbers"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        count = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"a list of {count}{_named(parts[0], several=True)}"
    return _WORDS[hint][several]


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return "a group of settings"
    if isinstance(value, list | tuple):
        return f"a list {_short(value)}"
    return "null" if value is None else f"{_named(type(value))} {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
