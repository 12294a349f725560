"""A training becomes longer or shorter than was planned."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ganno_jax.door.numbers import check_count
from ganno_jax.door.state import ControlState


def extend(state: Any, total_steps: int) -> Any:
    """The state of a training that goes on to another number of updates.

    ```python
    optimizer = ganno_jax.optimizer(total_steps=20_000)  # all arguments but this one as before
    state = ganno_jax.extend(state, total_steps=20_000)
    ```

    In a longer training the base schedule stands higher at the same update: rates rise to it from a tenth, over a tenth
    of the whole training, without a jump. In a shorter one they fall to it at the next decision. Moments, sizes and
    what agents remember stay. A stored state that is loaded into the `init` of an optimizer of another length goes on
    so too.

    Args:
      state: of one or several `control`s, wherever they stand in it.
      total_steps: of the whole training, what was done included.

    Raises:
      ValueError: there is no such state, the number is no whole number of at least 1, or more updates were made.
    """
    found = [x for x in jax.tree.leaves(state, is_leaf=_is_ours) if _is_ours(x)]
    if not found:
        raise ValueError("the state must hold a state of `control`; it holds none.")
    check_count("total_steps", total_steps)
    for one in found:
        step = one.step
        if not isinstance(step, jax.core.Tracer) and int(jnp.max(step)) > total_steps:
            raise ValueError(
                f"`total_steps` must be at least the {int(jnp.max(step))} updates that were made; got {total_steps}."
            )
    return jax.tree.map(
        lambda x: _planned(x, total_steps) if _is_ours(x) else x, state, is_leaf=_is_ours
    )


def _is_ours(x: Any) -> bool:
    return isinstance(x, ControlState)


def _planned(state: ControlState, total_steps: int) -> ControlState:
    """Under another clock; the next update finds that its horizon is another one."""
    clock = dataclasses.replace(state.outline.clock, total_steps=total_steps)
    return state._replace(outline=state.outline.replace(clock=clock))
