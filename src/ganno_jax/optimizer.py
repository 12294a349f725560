"""A trained controller as a whole optimizer: no direction, no learning rate, no schedule to choose."""

from collections.abc import Callable, Mapping

import optax
from jaxtyping import PyTree

from ganno_jax.control import Layers, control
from ganno_jax.controllers import Controller, checked


def optimizer(
    controller: Controller,
    total_steps: int,
    *,
    initial_rate: float = 1e-3,
    steps_per_epoch: float | None = None,
    weight_decay: float | None = None,
    decay_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
    layers: Layers = "module",
    stacked: Mapping[str, int] | None = None,
    every: int | None = None,
    num_measured: int = 2,
    safety: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """`control` over the direction that the controller was trained with.

    ```python
    optimizer = ganno_jax.optimizer(ganno_jax.load("nadamw"), total_steps=10_000)
    updates, state = optimizer.update(grads, state, params, value=loss)
    ```

    Args:
      controller: from `ganno_jax.load`, or a trained one; with a direction of its own.
      total_steps: updates that the training will take.
      initial_rate: as for `control`, like all that follow.
      steps_per_epoch: updates of one pass over the data, where it is known.
      weight_decay: instead of the direction's own.
      decay_mask: which leaves decay.
      layers: what has a rate of its own.
      stacked: leading axes that count layers.
      every: updates per decision.
      num_measured: updates in which statistics are taken.
      safety: whether bad updates are guarded against.

    Raises:
      ValueError: the controller takes any direction, so one must be chosen; otherwise as `control`.
    """
    direction = checked(controller).direction
    if direction is None:
        raise ValueError(
            "this controller has no direction of its own: use "
            "ganno_jax.control(direction, controller, total_steps), or ganno_jax.load('nadamw')."
        )
    return control(
        direction,
        controller,
        total_steps,
        initial_rate=initial_rate,
        steps_per_epoch=steps_per_epoch,
        weight_decay=weight_decay,
        decay_mask=decay_mask,
        layers=layers,
        stacked=stacked,
        every=every,
        num_measured=num_measured,
        safety=safety,
    )
