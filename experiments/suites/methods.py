"""Everything that a suite compares on one problem; all methods meet the same trainings, in a plain Optax loop.

A method is made on a `Bench`, one problem on one device. What can be tuned is tuned on the selection split in runs of
its own; the report split of other runs is reported.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optax

from experiments.configs.broad import Effort
from experiments.problems.problem import ADAM_PEAKS, OF_GRADIENT_SIZE, Problem
from experiments.suites import rivals
from experiments.suites.doors import (
    RECORDED,
    as_settings,
    replay_with_factors,
    sets_whole_updates,
    with_factors,
)
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
from experiments.suites.train import Method
from ganno_jax.baselines import (
    LEARNING_RATE_FREE,
    LearnedWeights,
    celo,
    celo_adam,
    shipped_weights,
    velo,
)
from ganno_jax.controllers import Controller
from ganno_jax.evaluation.optax_loop import LoopOptimizer
from ganno_jax.inner.directions import Direction
from ganno_jax.policies.agents import at_rest
from ganno_jax.tasks.distributions import Constant

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
        REPLAY: Method(
            lambda bench: (replay_with_factors(bench, controller), {}), recorded=RECORDED
        ),
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


def _through_the_door(controller: Controller) -> Method:
    return Method(lambda bench: as_settings(bench, controller, [controller.policy]))


def _schedules_of(problem: Problem, effort: Effort, tunes_decay: bool) -> Settings:
    own = float(np.sqrt(np.prod(problem.weight_decay)))
    decays, start = decays_of(problem.optimizer, own) if tunes_decay else ((own,), 0)
    return schedules_grid(effort, problem.peaks, decays, start)


def _over(direction: Direction) -> Method:
    """What the schedules can do with the controller's direction, at the same price."""
    optimizer = direction.optimizer(Constant(1.0))

    def settings(problem: Problem, effort: Effort) -> Settings:
        peaks = problem.peaks if direction.name in OF_GRADIENT_SIZE else ADAM_PEAKS
        decays, start = decays_of(direction.name, direction.weight_decay)
        return schedules_grid(effort, peaks, decays, start)

    return Method(
        lambda bench: (rivals.over_direction(optimizer, bench.total_steps, True), {}), settings
    )


def _tuned_door(controller: Controller) -> Method:
    """The controller with the factors on its base's size and forgetting tuned."""
    return Method(
        lambda bench: (with_factors(bench, controller), {}),
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
