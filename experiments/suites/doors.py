"""A controller on a bench as its users have it, and the replay of what it does there on average."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ganno_jax
from experiments.suites import rivals
from experiments.suites.train import Bench
from ganno_jax.controllers import Controller
from ganno_jax.env.whole_update import WholeUpdate
from ganno_jax.evaluation.optax_loop import LoopOptimizer, Numbers
from ganno_jax.inner import InnerState
from ganno_jax.inner.hyperparameters import LayerHyperparameters, forget
from ganno_jax.inner.layers import apply_rates
from ganno_jax.policies.agents import teams_of
from ganno_jax.policies.simple import mean_schedule
from ganno_jax.tasks.distributions import Constant

RECORDED = 8  # tuning runs whose rates are averaged for the replay


def sets_whole_updates(controller: Controller) -> bool:
    """Whether it is a whole optimizer whose agents set size and forgetting."""
    spaces = [team.actions for team in teams_of(controller.policy)]
    whole = bool(spaces) and all(isinstance(space, WholeUpdate) for space in spaces)
    return whole and controller.direction is not None


def through_the_door(
    bench: Bench, controller: Controller, start: InnerState, **factors: Any
) -> optax.GradientTransformationExtraArgs:
    """A controller as users get it: default arguments, over its own direction or the problem's.

    It is told how long an epoch of this training is, which whoever trains knows.

    Args:
      bench: where it is used.
      controller: which one.
      start: of the training.
      **factors: on the size and the forgetting of its base.
    """
    steps_per_epoch = bench.training.steps_per_epoch(start.task)
    if controller.direction is not None:
        return ganno_jax.optimizer(
            bench.total_steps, controller, steps_per_epoch=steps_per_epoch, **factors
        )
    optimizer = bench.training.optimizer
    numbers = optimizer.sample(jax.random.key(0))
    decays = optimizer.decays(numbers, 1)
    return ganno_jax.control(
        optimizer.transformation(numbers),
        controller,
        bench.total_steps,
        steps_per_epoch=steps_per_epoch,
        weight_decay=None if decays is None else decays[0],
    )


def as_settings(
    bench: Bench, controller: Controller, policies: Sequence[Any]
) -> tuple[LoopOptimizer, Numbers]:
    """Policies through the door, each a setting of one method and so of one compiled program.

    Args:
      bench: where they are used.
      controller: all else of them.
      policies: of the same shape as the controller's.
    """

    def made(numbers, start):
        return through_the_door(bench, controller.replace(policy=numbers["policy"]), start)

    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *policies)
    return LoopOptimizer(made, observe_fn=_hyperparameters), {"policy": stacked}


def with_factors(bench: Bench, controller: Controller) -> LoopOptimizer:
    """A controller through the door whose numbers, where there are any, are factors: `size` and `forgetting`."""
    return LoopOptimizer(
        lambda numbers, start: through_the_door(bench, controller, start, **numbers)
    )


def replay_with_factors(bench: Bench, controller: Controller) -> LoopOptimizer:
    """The controller's mean hyperparameters, step by step and layer by layer, under its direction.

    The mean is geometric, over tuning runs of the controller that are made here; numbers are as in `with_factors`.
    """
    table = _mean_hyperparameters(bench, controller)
    layers = bench.training.layers

    def made(numbers, start):
        size, forgetting = numbers.get("size", 1.0), numbers.get("forgetting", 1.0)

        def scaled(updates, count, params=None):
            now = jax.tree.map(lambda x: x[count], table)
            updates = apply_rates(updates, layers, size * now.rates)
            if now.forgetting is not None:
                forgotten = forget(params, layers, forgetting * now.forgetting, bench.total_steps)
                updates = jax.tree.map(jnp.add, updates, forgotten)
            return updates, count + 1

        replayed = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), scaled)
        return optax.chain(_direction_of(bench, controller), replayed)

    return LoopOptimizer(made)


def _mean_hyperparameters(bench: Bench, controller: Controller) -> LayerHyperparameters:
    """`[step, layer]`."""
    optimizer, numbers = as_settings(bench, controller, [controller.policy])
    runs = np.arange(min(RECORDED, bench.effort.tuning_seeds))
    recorded = bench.train(optimizer, numbers, np.zeros_like(runs), runs, report=False)
    kept = ~recorded.diverged if not recorded.diverged.all() else recorded.diverged
    return jax.tree.map(
        lambda x: mean_schedule(jnp.swapaxes(jnp.asarray(x), 0, 1), jnp.asarray(kept)),
        recorded.observed,
    )


def _direction_of(bench: Bench, controller: Controller) -> optax.GradientTransformationExtraArgs:
    """The controller's direction, or the problem's, with its weight decay."""
    optimizer = bench.training.optimizer
    if controller.direction is not None:
        optimizer = controller.direction.optimizer(Constant(1.0))
    return rivals.with_decay(optimizer, optimizer.sample(jax.random.key(0)))


def _hyperparameters(state: Any) -> LayerHyperparameters:
    return LayerHyperparameters(state.rates, state.forgetting)
