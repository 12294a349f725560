"""Numbers that a user gives, checked where they are known."""

import math
from typing import Any

import jax
import numpy as np


def check_number(name: str, value: Any, *, zero: bool = False) -> None:
    """Whether a setting is a finite number above 0; one that is traced is taken as it is.

    Args:
      name: of the setting, for the message.
      value: what was given.
      zero: whether 0 is allowed.

    Raises:
      ValueError: it is none.
    """
    if isinstance(value, jax.core.Tracer):
        return
    wanted = "at least 0" if zero else "above 0"
    is_number = isinstance(value, int | float | np.number | np.ndarray | jax.Array)
    number = float(value) if is_number and np.ndim(value) == 0 else math.nan
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise ValueError(f"`{name}` must be a finite number {wanted}; got {value!r}.")
