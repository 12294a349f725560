"""Numbers that a user gives, checked where they are known."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_number(name: str, value: Any, *, zero: bool = False) -> None:
    """Whether a setting is a finite real number above 0; one that is traced is taken as it is.

    Args:
      name: of the setting, for the message.
      value: what was given.
      zero: whether 0 is allowed.

    Raises:
      ValueError: it is none.
    """
    if isinstance(value, jax.core.Tracer):
        return
    if not (_is_real(value) and (0 < value < math.inf or (zero and value == 0))):
        wanted = "at least 0" if zero else "above 0"
        raise ValueError(f"`{name}` must be a finite number {wanted}; got {value!r}.")


def check_count(name: str, value: Any, hint: str = "") -> None:
    """Whether a setting is a whole number of at least 1.

    Args:
      name: of the setting, for the message.
      value: what was given.
      hint: a sentence that follows where it is none.

    Raises:
      ValueError: it is none.
    """
    is_count = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_count and value >= 1):
        raise ValueError(
            f"`{name}` must be a whole number, at least 1; got {value!r}.{hint and ' '}{hint}"
        )


def _is_real(value: Any) -> bool:
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        kinds = (jnp.floating, jnp.integer)
        return np.ndim(value) == 0 and any(jnp.issubdtype(value.dtype, kind) for kind in kinds)
    return isinstance(value, int | float) and not isinstance(value, bool)
