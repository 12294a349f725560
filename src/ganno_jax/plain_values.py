"""Values of a file that is not believed: each is checked, and named where it is wrong. Arrays as such values, and back.

An array is a map of its dtype, shape and little-endian bytes.
"""

import math
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_DTYPE = "<f4"  # of every array


def require_entries(content: Any, names: Collection[str], where: str) -> None:
    """Raise a `ValueError` where something is no map with exactly these entries.

    Args:
      content: anything read from a file.
      names: of the entries.
      where: name of the content, for the message.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"`{where}` must be a map; got {shown(content)}")
    for name in names:
        if name not in content:
            raise ValueError(f"`{where}` has no {name!r}")
    unknown = [name for name in content if name not in names]
    if unknown:
        raise ValueError(
            f"`{where}` has an unknown {shown(unknown[0])}; known are: {', '.join(names)}"
        )


def one_of(value: Any, known: Collection[str], where: str) -> None:
    """Raise a `ValueError` where a value is none of the known names.

    Args:
      value: anything read from a file.
      known: names it may have.
      where: name of the value, for the message.
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{where}` is {shown(value)}; known are: {', '.join(known)}")


def require_count(value: Any, where: str, highest: int) -> None:
    """Raise a `ValueError` where a value is no whole number from 1 on.

    Args:
      value: anything read from a file.
      where: name of the value, for the message.
      highest: that it may have, >= 1.
    """
    if type(value) is not int or not 1 <= value <= highest:
        raise ValueError(
            f"`{where}` must be a whole number from 1 to {highest}; got {shown(value)}"
        )


def number(value: Any, where: str, lowest: float, highest: float) -> float:
    """The same; a `ValueError` where it is no number within these bounds.

    Args:
      value: anything read from a file.
      where: its name, for the message.
      lowest: that it may be.
      highest: that it may be.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not lowest <= value <= highest:
        raise ValueError(
            f"`{where}` must be a number from {lowest:g} to {highest:g}; got {shown(value)}"
        )
    return value


def truth(value: Any, where: str) -> bool:
    """The same; a `ValueError` where it is neither true nor false."""
    if not isinstance(value, bool):
        raise ValueError(f"`{where}` must be true or false; got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """In one line, not longer than it helps."""
    text = reprlib.repr(value)  # which goes no deeper than six levels
    return text if len(text) <= 60 else f"{text[:57]}..."


def encode_arrays(tree: Any) -> Any:
    """Arrays, in maps or alone, as maps of plain values."""
    if isinstance(tree, Mapping):
        return {key: encode_arrays(value) for key, value in tree.items()}
    array = np.asarray(jax.device_get(tree), _DTYPE)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def decode_arrays(content: Any, shapes: Any, where: str) -> Any:
    """What `encode_arrays` made: arrays of these shapes, finite; maps in the order of the content.

    Args:
      content: anything read from a file.
      shapes: a shape, or a map of them, as deep as the content.
      where: name of the content, for the message.
    """
    if isinstance(shapes, Mapping):
        require_entries(content, shapes, where)
        return {
            name: decode_arrays(value, shapes[name], f"{where}.{name}")
            for name, value in content.items()
        }
    require_entries(content, ("dtype", "shape", "data"), where)
    found = f"{shown(content['dtype'])} {shown(content['shape'])}"
    if content["dtype"] != _DTYPE or content["shape"] != list(shapes):
        raise ValueError(f"`{where}` must be {_DTYPE!r} {list(shapes)}; got {found}")
    size = np.dtype(_DTYPE).itemsize * math.prod(shapes)
    if not isinstance(content["data"], bytes) or len(content["data"]) != size:
        raise ValueError(f"`{where}` must hold {size} bytes, as many as its shape needs")
    array = np.frombuffer(content["data"], _DTYPE).reshape(shapes)
    if not np.isfinite(array).all():
        raise ValueError(f"`{where}` holds NaN or infinities")
    return jnp.asarray(array)
