"""A trained controller as an Optax transformation: one line in anybody's training loop."""

from collections.abc import Callable, Mapping

import optax
from jax.typing import DTypeLike
from jaxtyping import PyTree

from ganno_jax.controllers import Controller, checked
from ganno_jax.door.assembly import Assembly
from ganno_jax.door.clock import Clock
from ganno_jax.door.layer_finder import LayerFinder, Layers
from ganno_jax.inner.directions import Direction
from ganno_jax.inner.splits import off_meshes


def control(
    direction: optax.GradientTransformation | Direction,
    controller: Controller,
    total_steps: int,
    *,
    initial_rate: float = 1e-3,
    steps_per_epoch: float | None = None,
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
    """Let a controller set the learning rate of every layer.

    ```python
    optimizer = ganno_jax.control(optax.trace(0.9), ganno_jax.load("broad"), total_steps=10_000)
    updates, state = optimizer.update(grads, state, params, value=loss)
    ```

    A step-size controller (`policies.step_size`) also sees how the examples of the batch differ: give its `update`
    `example_losses_fn=`, from the parameters to the loss of each example, `[example]`. It is called at the end of each
    interval only, in one forward-mode pass along the update, or in one along each layer's update for a controller with
    `by_layer`.

    Args:
      direction: an Optax transformation without a learning rate or decoupled weight decay, such as `optax.trace(0.9)`
        or `optax.scale_by_adam()`, or a `Direction`.
      controller: from `ganno_jax.load`, or a trained one.
      total_steps: updates that the training will take; afterwards the rates stay as they were. Under
        `optax.MultiSteps` those of the whole batches.
      initial_rate: what the controller starts from, > 0. Controllers with compounding actions depend on it.
      steps_per_epoch: updates in which the training examples are seen once, > 0. Controllers that set forgetting let
        more be forgotten where examples are seen often; without it they take the training for one pass.
      weight_decay: decoupled, per unit of rate, >= 0; by default that of a `Direction`, else none. In a chain with
        `optax.add_decayed_weights` it would count as part of the direction's size.
      decay_mask: which leaves decay, a tree of booleans or a function of the parameters that gives one, as in
        `optax.add_decayed_weights`; by default the matrices.
      layers: "module" (by module path), a function of a leaf's path that names its layer, or a tree of labels as for
        `optax.multi_transform`.
      stacked: number of leading axes that count layers, by the beginning of the path, such as
        `{"decoder/layers": 1}` for parameters `[layer, ...]` from `nn.scan` or for `lax.scan`; each slice has its rate.
        By default those whose Flax metadata names a leading axis of layers, as `nn.scan` does for `nn.Partitioned`.
      specs: inside `jax.shard_map`, where parameters are split: their `PartitionSpec`s, as for its `in_specs`. Norms,
        sizes and the directions of `Direction` are then those of the whole parameters. Not needed otherwise.
      every: updates per decision; by default as many decisions as the controller was trained with.
      num_measured: updates at the end of each interval in which statistics are taken, >= 1; agreement needs 2.
      mu_dtype: of the direction's first moments between two updates, such as `jnp.bfloat16`; by default float32.
      safety: skip updates that are not finite, shorten gradients and lower rates at outliers, and measure losses of an
        unusual unit in a usual one (`ganno_jax.door`). False leaves out all of that.

    Returns:
      A transformation whose `update` needs `params` and should have `value=`, the training loss of the gradients:
      without it the agents see nothing of the loss. On several devices results are those of one device: parameters and
      gradients may be split over a mesh, or stand inside `jax.shard_map` with `specs`; there, average the gradients
      of parameters that are whole.

    Raises:
      ValueError: settings that cannot work; at `init` or `update`: complex parameters, a direction that already steps
        downhill, missing `params` or, for a step-size controller, `example_losses_fn`; a `value` that is no scalar;
        gradients, labels or a state that do not fit the parameters.
    """
    checked(controller)
    assembly = Assembly(
        direction,
        off_meshes(controller.policy),
        Clock(total_steps, controller.decisions, every),
        LayerFinder(layers, stacked, decay_mask, specs),
        initial_rate=initial_rate,
        steps_per_epoch=steps_per_epoch,
        weight_decay=weight_decay,
        num_measured=num_measured,
        mu_dtype=mu_dtype,
        safety=safety,
    )
    return assembly.transformation()
