"""A trained controller as a whole optimizer: no direction, no learning rate, no schedule to choose."""

from collections.abc import Callable, Mapping
from functools import partial

import optax
from jax.typing import DTypeLike
from jaxtyping import PyTree

from ganno_jax.control import Layers, control
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller, checked
from ganno_jax.door.numbers import check_number
from ganno_jax.env.whole_update import RelativeUpdate, WholeUpdate, with_factors
from ganno_jax.policies.agents import teams_of, with_actions

DEFAULT = "muon"
"""The shipped controller that is taken where none is named."""


def optimizer(
    total_steps: int,
    controller: Controller | None = None,
    *,
    initial_rate: float = 1e-3,
    steps_per_epoch: float | None = None,
    size: float = 1.0,
    forgetting: float = 1.0,
    weight_decay: float | None = None,
    decay_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
    layers: Layers = "module",
    stacked: Mapping[str, int] | None = None,
    specs: PyTree | None = None,
    every: int | None = None,
    num_measured: int = 2,
    mu_dtype: DTypeLike | None = None,
    safety: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """`control` over the direction that the controller was trained with.

    ```python
    optimizer = ganno_jax.optimizer(total_steps=10_000, steps_per_epoch=num_examples / batch_size)
    updates, state = optimizer.update(grads, state, params, value=loss)
    ```

    Args:
      total_steps: updates that the training will take.
      controller: from `ganno_jax.load`, or a trained one; with a direction of its own. By default `DEFAULT`.
      initial_rate: as for `control`, like all that follow.
      steps_per_epoch: updates of one pass over the data, where it is known; the more often examples are seen, the
        more must be forgotten.
      size: factor on the base's relative size, > 0; for whoever can judge by a validation set.
      forgetting: factor on the base's forgetting, > 0; it leaves the size as it is. In trainings of 10,000 steps that
        see their examples twelve times or more 2 was far better (docs/trainings.md).
      weight_decay: instead of the direction's own.
      decay_mask: which leaves decay.
      layers: what has a rate of its own.
      stacked: leading axes that count layers.
      specs: inside `jax.shard_map`, how parameters are split.
      every: updates per decision.
      num_measured: updates in which statistics are taken.
      mu_dtype: of the first moments that are kept, such as `jnp.bfloat16`.
      safety: whether bad updates are guarded against.

    Raises:
      ValueError: the controller takes any direction, so one must be chosen, or has no such base; a factor is out of
        range; otherwise as `control`.
    """
    controller = load(DEFAULT) if controller is None else controller
    direction = checked(controller).direction
    if direction is None:
        raise ValueError(
            "this controller has no direction of its own: use "
            "ganno_jax.control(direction, controller, total_steps), or leave the controller out."
        )
    return control(
        direction,
        _rescaled(controller, size, forgetting),
        total_steps,
        initial_rate=initial_rate,
        steps_per_epoch=steps_per_epoch,
        weight_decay=weight_decay,
        decay_mask=decay_mask,
        layers=layers,
        stacked=stacked,
        specs=specs,
        every=every,
        num_measured=num_measured,
        mu_dtype=mu_dtype,
        safety=safety,
    )


def _rescaled(controller: Controller, size: float, forgetting: float) -> Controller:
    """The controller around a base of another size and forgetting."""
    numbers = {"size": size, "forgetting": forgetting}
    for name, x in numbers.items():
        check_number(name, x)
    known = {name: x for name, x in numbers.items() if isinstance(x, int | float)}  # not traced
    if known == {"size": 1, "forgetting": 1}:
        return controller
    spaces = [team.actions for team in teams_of(controller.policy)]
    needed = (RelativeUpdate, WholeUpdate) if known.get("forgetting", 1) == 1 else WholeUpdate
    if not spaces or not all(isinstance(space, needed) for space in spaces):
        raise ValueError("this controller's base has no such size and forgetting to multiply.")
    change = partial(with_factors, size=size, forgetting=forgetting)
    return controller.replace(policy=with_actions(controller.policy, change))
