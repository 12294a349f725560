"""Problems from a TOML file, for suites of one's own: `--suite.problems mine.toml` (docs/suites.md)."""

import inspect
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.problems.problem import ADAM_PEAKS, OF_GRADIENT_SIZE, OUTPUTS, Problem
from ganno_jax.inner.directions import DIRECTIONS
from ganno_jax.tasks import CropsAndFlips, networks, sources

_SOURCE = set(inspect.signature(sources.load).parameters) - {"data_dir", "download"}


def read_problems(path: Path | str) -> tuple[Problem, ...]:
    """The problems of a file: an array of tables `[[problem]]`.

    A table has `name`, `data` (arguments of `sources.load`; a `path` is relative to the file), `network` (arguments
    of `networks.build` without the number of outputs, which the data say), `steps`, and if other than usual `optimizer`
    (adam), `batch_size` (64), `weight_decay` (0; a number, or a range to draw from), `peaks` (range of peak rates;
    by optimizer), `initial_rate` and `augmentation` (arguments of `tasks.CropsAndFlips`). Data are not loaded here.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no TOML, or an entry is missing, unknown, of the wrong type or out of range; one line that
        names the file, the problem and the key.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of problems {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML: {error}") from error
    tables = content.get("problem")
    if set(content) != {"problem"} or not isinstance(tables, list) or not tables:
        raise ValueError(
            f"{path}: expected tables [[problem]] and nothing else; got {', '.join(content) or 'an empty file'}"
        )
    problems = []
    for number, table in enumerate(tables, 1):
        where = f"problem {number}"
        try:
            if not isinstance(table, dict):
                raise _KeyError("problem", "must be a table [[problem]]")
            name = table.get("name")
            where = repr(name) if isinstance(name, str) else where
            if name in [problem.name for problem in problems]:
                raise _KeyError("name", "is that of another problem")
            problems.append(_problem(table, path.parent))
        except _KeyError as error:
            raise ValueError(f"{path}: {where}: `{error.key}` {error}") from error
    return tuple(problems)


class _KeyError(ValueError):
    """What is wrong with the value of a key."""

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


def _problem(table: Mapping[str, Any], folder: Path) -> Problem:
    readers: dict[str, Callable[[Any], Any]] = {
        "name": _text,
        "data": lambda value: _data(value, folder),
        "network": _network,
        "steps": _whole,
        "optimizer": _optimizer,
        "batch_size": _whole,
        "weight_decay": lambda value: _range(value, 0.0),
        "peaks": lambda value: _range(value, None),
        "initial_rate": lambda value: _range(value, None),
        "augmentation": _augmentation,
    }
    for key in table:
        if key not in readers:
            raise _KeyError(key, f"is unknown; there are: {', '.join(readers)}")
    for key in ("name", "data", "network", "steps"):
        if key not in table:
            raise _KeyError(key, "is missing")
    values: dict[str, Any] = {"optimizer": "adam"}
    for key, value in table.items():
        try:
            values[key] = readers[key](value)
        except _KeyError:
            raise
        except ValueError as error:
            raise _KeyError(key, str(error)) from error
    if values["optimizer"] not in OF_GRADIENT_SIZE:
        values.setdefault("peaks", ADAM_PEAKS)
    steps = values.pop("steps")
    try:
        return Problem(**values).of_steps(steps)
    except ValueError as error:
        raise _KeyError("steps", f"cannot be used: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise ValueError(f"must be one line of text; got {value!r}")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"must be a whole number from 1 on; got {value!r}")
    return value


def _optimizer(value: Any) -> str:
    if value not in DIRECTIONS:
        raise ValueError(f"must be one of {', '.join(DIRECTIONS)}; got {value!r}")
    return value


def _range(value: Any, lowest: float | None) -> tuple[float, float]:
    """Two ordered numbers, or one for both; above 0, or from `lowest` on."""
    pair = value if isinstance(value, list) else [value, value]
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in pair)
    if len(pair) == 2 and numbers and all(map(math.isfinite, pair)) and pair[0] <= pair[1]:
        low, high = map(float, pair)
        if low > 0 or (low == high == lowest):
            return low, high
    least = "above 0" if lowest is None else "above 0, or 0"
    raise ValueError(f"must be a number {least}, or two with the lower one first; got {value!r}")


def _augmentation(value: Any) -> dict[str, Any]:
    """The arguments of crops and flips that can be made."""
    names = {"padding": int, "flip": bool}
    if not isinstance(value, dict) or any(type(value[k]) is not names.get(k) for k in value):
        raise ValueError(f"must be like {{ padding = 4, flip = true }}; got {value!r}")
    CropsAndFlips(**value)
    return value


def _data(value: Any, folder: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or not {"name", "path"} & set(value):
        raise ValueError(f"must be a table with `name` or `path`; got {value!r}")
    for key in value:
        if key not in _SOURCE:
            raise _KeyError(f"data.{key}", f"is unknown; there are: {', '.join(sorted(_SOURCE))}")
    found = dict(value)
    for key in {"name", "path"} & set(value):
        if not isinstance(value[key], str):
            raise _KeyError(f"data.{key}", f"must be text; got {value[key]!r}")
    if "path" in found:
        found["path"] = str(folder / Path(found["path"]).expanduser())
    return found


def _network(value: Any) -> dict[str, Any]:
    """The arguments of a network that can be made with them."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError(f"must be a table with `name`; got {value!r}")
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
    outputs = OUTPUTS.get(settings["name"], "num_classes")
    if outputs in settings:
        raise _KeyError(f"network.{outputs}", "follows from the data; leave it out")
    try:
        networks.build(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot be made: {error}") from error
    return settings
