"""A trained controller as a whole optimizer: no direction, no learning rate, no schedule to choose."""

from typing import Any

import optax

from ganno_jax.control import control
from ganno_jax.controllers import Controller, checked


def optimizer(
    controller: Controller, total_steps: int, **settings: Any
) -> optax.GradientTransformationExtraArgs:
    """`control` over the direction that the controller was trained with.

    ```python
    optimizer = ganno_jax.optimizer(ganno_jax.load("nadamw"), total_steps=10_000)
    updates, state = optimizer.update(grads, state, params, value=loss)
    ```

    Args:
      controller: from `ganno_jax.load`, or a trained one; with a direction of its own.
      total_steps: updates that the training will take.
      settings: the keyword arguments of `control`.

    Raises:
      ValueError: the controller takes any direction, so one must be chosen; otherwise as `control`.
    """
    direction = checked(controller).direction
    if direction is None:
        raise ValueError(
            "this controller has no direction of its own: use "
            "ganno_jax.control(direction, controller, total_steps), or ganno_jax.load('nadamw')."
        )
    return control(direction.transformation(), controller, total_steps, **settings)
