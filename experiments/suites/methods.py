"""Everything that a suite compares on one problem; all methods meet the same trainings, in a plain Optax loop.

A method is made on a `Bench`, one problem on one device. What can be tuned is tuned on the selection split in runs of
its own; the report split of other runs is reported.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ganno_jax
from experiments.configs.broad import Effort
from experiments.problems.problem import ADAM_PEAKS, Problem
from experiments.suites import rivals
from experiments.suites.settings import (
    DECOUPLED_DECAYS,
    Settings,
    decays_of,
    factors_grid,
    grid,
    nadamw_trials,
    rates_grid,
    schedules_grid,
)
from experiments.suites.train import Bench, Method
from ganno_jax.baselines import (
    LEARNING_RATE_FREE,
    LearnedWeights,
    celo,
    celo_adam,
    shipped_weights,
    velo,
)
from ganno_jax.controllers import Controller
from ganno_jax.env.whole_update import WholeUpdate
from ganno_jax.evaluation.optax_loop import LoopOptimizer, Numbers
from ganno_jax.inner.directions import Direction
from ganno_jax.inner.hyperparameters import LayerHyperparameters, forget
from ganno_jax.inner.layers import apply_rates
from ganno_jax.policies.agents import at_rest, teams_of
from ganno_jax.policies.simple import mean_schedule
from ganno_jax.tasks.distributions import Constant

RECORDED = 8  # tuning runs whose rates are averaged for the replay
OURS, BASE = "controller", "its base, no training"
REPLAY, BLIND = "replay of its mean settings", "state-blind agents"
TUNED = "controller, size and forgetting tuned"
REFERENCE, SAME_DIRECTION = "best tuned schedule", "best schedule, same direction"
ADAMW, MUON = "AdamW, tuned", "Muon, tuned"
NADAMW, ADAM, HYPERGRADIENT = "NAdamW, random search", "tuned Adam", "hypergradient Adam"


def methods(
    controller: Controller,
    blind: Controller | None = None,
    more: tuple[Controller, ...] = (),
    velo_weights: LearnedWeights | None = None,
) -> dict[str, Method]:
    """Every method by name, in the order of the tables.

    Args:
      controller: what is examined.
      blind: agents that see nothing, with as many updates.
      more: controllers of the same recipe with other seeds.
      velo_weights: adds VeLO, whose weights are not in the package.
    """
    table = {
        OURS: _through_the_door(controller),
        BASE: _through_the_door(controller.replace(policy=at_rest(controller.policy))),
        REPLAY: Method(lambda bench: _replay(bench, controller), recorded=RECORDED),
    }
    if blind is not None:
        table[BLIND] = _through_the_door(blind)
    for number, other in enumerate(more, 2):
        table[learner_seed(number)] = _through_the_door(other)
    table[REFERENCE] = Method(
        lambda bench: (
            rivals.over_direction(
                bench.training.optimizer, bench.total_steps, controller.direction is not None
            ),
            {},
        ),
        lambda problem, effort: _schedules_of(problem, effort, controller.direction is not None),
    )
    if controller.direction is not None:
        table[SAME_DIRECTION] = _over(controller.direction)
    if sets_whole_updates(controller):
        table[TUNED] = _tuned_door(controller)
    table |= _tuned()
    for name, (make, evaluated) in rivals.UNTUNED.items():
        table[name] = _whole(make, evaluated)
    for name, method in LEARNING_RATE_FREE.items():
        table[name] = _whole(method.make, method.evaluation_params)
    table["celo_adam"] = _whole(lambda steps: celo_adam(shipped_weights("celo_adam"), steps))
    table["celo"] = _whole(lambda steps: celo(shipped_weights("celo"), steps))
    if velo_weights is not None:
        table["velo"] = _whole(lambda steps: velo(velo_weights, steps))
    return table


def learner_seed(number: int) -> str:
    """Name of the controller of another learner seed."""
    return f"{OURS}, learner seed {number}"


def sets_whole_updates(controller: Controller) -> bool:
    """Whether it is a whole optimizer whose agents set size and forgetting."""
    spaces = [team.actions for team in teams_of(controller.policy)]
    whole = bool(spaces) and all(isinstance(space, WholeUpdate) for space in spaces)
    return whole and controller.direction is not None


def through_the_door(
    bench: Bench, controller: Controller, **factors: Any
) -> optax.GradientTransformationExtraArgs:
    """A controller as users get it: default arguments, over its own direction or the problem's.

    It is told how long an epoch is, which whoever trains knows.

    Args:
      bench: where it is used.
      controller: which one.
      **factors: on the size and the forgetting of its base.
    """
    steps_per_epoch = bench.training.family.num_trainable / bench.training.batch_size
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


def _direction_of(bench: Bench, controller: Controller) -> optax.GradientTransformationExtraArgs:
    """The controller's direction, or the problem's, with its weight decay."""
    optimizer = bench.training.optimizer
    if controller.direction is not None:
        optimizer = controller.direction.optimizer(Constant(1.0))
    return rivals.with_decay(optimizer, optimizer.sample(jax.random.key(0)))


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
        return through_the_door(bench, controller.replace(policy=numbers["policy"]))

    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *policies)
    return LoopOptimizer(made, observe_fn=_hyperparameters), {"policy": stacked}


def _through_the_door(controller: Controller) -> Method:
    return Method(lambda bench: as_settings(bench, controller, [controller.policy]))


def _hyperparameters(state: Any) -> LayerHyperparameters:
    return LayerHyperparameters(state.rates, state.forgetting)


def _replay(bench: Bench, controller: Controller) -> tuple[LoopOptimizer, Numbers]:
    """The geometric mean of the controller's hyperparameters, step by step and layer by layer, over tuning runs."""
    optimizer, numbers = _through_the_door(controller).make_fn(bench)
    runs = np.arange(min(RECORDED, bench.effort.tuning_seeds))
    recorded = bench.train(optimizer, numbers, np.zeros_like(runs), runs, report=False)
    kept = ~recorded.diverged if not recorded.diverged.all() else recorded.diverged
    table = jax.tree.map(
        lambda x: mean_schedule(jnp.swapaxes(jnp.asarray(x), 0, 1), jnp.asarray(kept)),
        recorded.observed,
    )
    layers = bench.training.layers

    def make(numbers, start):
        def scaled(updates, count, params=None):
            now = jax.tree.map(lambda x: x[count], numbers["table"])
            updates = apply_rates(updates, layers, now.rates)
            if now.forgetting is not None:
                forgotten = forget(params, layers, now.forgetting, bench.total_steps)
                updates = jax.tree.map(jnp.add, updates, forgotten)
            return updates, count + 1

        replayed = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), scaled)
        return optax.chain(_direction_of(bench, controller), replayed)

    return LoopOptimizer(make), {"table": jax.tree.map(lambda x: x[None], table)}


def _schedules_of(problem: Problem, effort: Effort, tunes_decay: bool) -> Settings:
    own = float(np.sqrt(np.prod(problem.weight_decay)))
    decays, start = decays_of(problem.optimizer, own) if tunes_decay else ((own,), 0)
    return schedules_grid(effort, problem.peaks, decays, start)


def _over(direction: Direction) -> Method:
    """What the schedules can do with the controller's direction, at the same price."""
    optimizer = direction.optimizer(Constant(1.0))

    def settings(problem: Problem, effort: Effort) -> Settings:
        of_gradients = direction.name in ("sgd", "momentum", "nesterov")
        peaks = problem.peaks if of_gradients else ADAM_PEAKS  # elements of a direction are near 1
        decays, start = decays_of(direction.name, direction.weight_decay)
        return schedules_grid(effort, peaks, decays, start)

    return Method(
        lambda bench: (rivals.over_direction(optimizer, bench.total_steps, True), {}), settings
    )


def _tuned_door(controller: Controller) -> Method:
    """The controller with the factors on its base's size and forgetting tuned."""
    return Method(
        lambda bench: (
            LoopOptimizer(lambda numbers, start: through_the_door(bench, controller, **numbers)),
            {},
        ),
        lambda problem, effort: factors_grid(effort),
    )


def _tuned() -> dict[str, Method]:
    def peaks_and_decays(problem: Problem, effort: Effort) -> Settings:
        return grid(effort, (4, 2), ADAM_PEAKS, DECOUPLED_DECAYS, (2, 4, 6))

    def rates(problem: Problem, effort: Effort) -> Settings:
        return rates_grid(effort)

    return {
        ADAMW: Method(lambda bench: (rivals.adamw(bench.total_steps), {}), peaks_and_decays),
        MUON: Method(
            lambda bench: (rivals.muon(bench.training, bench.total_steps), {}), peaks_and_decays
        ),
        NADAMW: Method(
            lambda bench: (rivals.nadamw(bench.total_steps), {}),
            lambda problem, effort: nadamw_trials(effort),
        ),
        ADAM: Method(lambda bench: (rivals.one_rate(optax.adam), {}), rates),
        HYPERGRADIENT: Method(lambda bench: (rivals.one_rate(rivals.hypergradient), {}), rates),
    }


def _whole(
    make: Callable[[int], optax.GradientTransformation],
    evaluation_params_fn: Callable[[Any, Any], Any] | None = None,
) -> Method:
    """A method without settings, of so many steps."""
    return Method(
        lambda bench: (
            LoopOptimizer(lambda numbers, start: make(bench.total_steps), evaluation_params_fn),
            {},
        )
    )


def chosen(
    names: Mapping[str, Method], words: tuple[str, ...], reference: str = REFERENCE
) -> tuple[str, ...]:
    """The methods whose names contain one of the words, the controller and what it is compared with.

    Args:
      names: all methods.
      words: parts of names; none for all methods.
      reference: what the controller is compared with. Others do without the schedules.

    Raises:
      ValueError: a word that no name contains.
    """
    for word in words:
        if not any(word.lower() in name.lower() for name in names):
            raise ValueError(f"no method is named like {word!r}; there are: {'; '.join(names)}")
    always = (OURS, reference)
    return tuple(
        name
        for name in names
        if not words or name in always or any(word.lower() in name.lower() for word in words)
    )
