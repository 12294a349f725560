"""Everything that the held-out suite compares on one problem; all methods meet the same trainings.

A method gets a `Bench`, one problem on one device, and returns its curves and what it cost to tune.
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from experiments import problems
from experiments.broad_config import Effort
from experiments.config import Range
from experiments.problems import ADAM_PEAKS, Problem
from ganno_jax.baselines import (
    LEARNING_RATE_FREE,
    LearnedWeights,
    celo,
    celo_adam,
    hypergradient_adam,
    shipped_weights,
    velo,
)
from ganno_jax.baselines.hypergradient import multiplicative
from ganno_jax.controllers import Controller
from ganno_jax.env import Env
from ganno_jax.evaluation import evaluate
from ganno_jax.evaluation.evaluate import Curves
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tuning import tune_schedules
from ganno_jax.inner import InnerOptimizer, directions
from ganno_jax.inner.directions import Direction
from ganno_jax.policies import SCHEDULES, FixedRates, Policy, ReduceOnPlateau, ScheduleBank
from ganno_jax.policies.agents import untrained
from ganno_jax.tasks.distributions import Constant

REPORT_SEED, TUNING_SEED, SEARCH_SEED = 20_000, 10_000, 30_000
SAME_DIRECTION = "best schedule, same direction"  # for a controller that brings one
LIKE_ADAM = ("rmsprop", "adam", "adamw", "nadam", "nadamw", "lion")  # directions of elements near 1
Info = dict[str, Any]
Method = Callable[["Bench"], tuple[Curves | None, Info]]


@dataclasses.dataclass
class Bench:
    """One problem, ready to be trained on."""

    problem: Problem
    data_dir: str | None
    mesh: Mesh
    effort: Effort
    tuned: Info = dataclasses.field(default_factory=dict)  # what "schedules" found

    @cached_property
    def env(self) -> Env:
        """With the problem's own optimizer."""
        return problems.build(self.problem, self.data_dir)

    def grid(self, bounds: Range) -> list[float]:
        """The peak rates that a schedule is tried with."""
        return np.geomspace(*bounds, self.effort.num_peaks).tolist()

    def with_optimizer(self, optimizer: InnerOptimizer) -> Env:
        """The same trainings under another optimizer."""
        training = self.env.training.replace(optimizer=optimizer)
        return self.env.replace(training=training)

    def under(self, direction: Direction | None) -> Env:
        """The same trainings under a controller's direction, if it has one."""
        if direction is None:
            return self.env
        return self.with_optimizer(direction.optimizer(self.env.training.optimizer.initial_rate))

    def report(self, env: Env, policy: Policy) -> Curves:
        """The reported runs: seed by seed the initial rates cover the problem's range."""
        count = self.effort.num_seeds
        rates = jnp.geomspace(*self.problem.initial_rate, count)
        return self._run(env, policy, keys(REPORT_SEED, count), rates)

    def tune(self, env: Env, policy: Policy) -> float:
        """Mean final log selection loss in the tuning runs."""
        curves = self._run(env, policy, keys(TUNING_SEED, self.effort.tuning_seeds), None)
        return float(np.mean(selection_log_losses(curves)))

    def _run(
        self, env: Env, policy: Policy, run_keys: PRNGKeyArray, rates: jax.Array | None
    ) -> Curves:
        return evaluate(env, policy, run_keys, self.mesh, initial_rates=rates, chunk=1000)


def selection_log_losses(curves: Curves) -> np.ndarray:
    """Final log selection losses `[run]`; a diverged run, or one that got worse, costs its first training loss."""
    first = np.asarray(curves.train_loss)[:, 0].astype(float)
    return log_losses(curves.selection_loss, first, curves.diverged)


def methods(
    controller: Controller, velo_weights: LearnedWeights | None = None
) -> dict[str, Method]:
    """Every method by name; "schedules" tunes, and those that use what it found come after it.

    Args:
      controller: what is examined.
      velo_weights: adds VeLO, whose weights are not in the package.
    """
    before = untrained(controller.policy, jax.random.key(0))
    direction = controller.direction
    table: dict[str, Method] = {
        "schedules": lambda bench: (None, _tuned_schedules(bench, bench.env, bench.problem.peaks)),
        "controller": lambda bench: (bench.report(bench.under(direction), controller.policy), {}),
        "untrained agents": lambda bench: (bench.report(bench.under(direction), before), {}),
        "best tuned schedule": _best_schedule,
        "tuned constant": _tuned_constant,
        "tuned Adam": lambda bench: _tuned_rate(bench, directions.named("adam", Constant(1.0))),
        "hypergradient Adam": lambda bench: _tuned_rate(bench, as_direction(_hypergradient_adam())),
        "NAdamW, random search": _searched_nadamw,
    }
    if direction is not None:
        table[SAME_DIRECTION] = lambda bench: _best_schedule_over(bench, direction)
    for name, method in LEARNING_RATE_FREE.items():
        table[name] = _whole_method(
            lambda steps, method=method: method.make(steps), method.evaluation_params
        )
    table["celo_adam"] = _whole_method(lambda n: celo_adam(shipped_weights("celo_adam"), n))
    table["celo"] = _whole_method(lambda n: celo(shipped_weights("celo"), n))
    if velo_weights is not None:
        table["velo"] = _whole_method(lambda n: velo(velo_weights, n))
    return table


def _tuned_schedules(bench: Bench, env: Env, bounds: Range) -> Info:
    """The best peak of every schedule within these bounds, and what it reached."""
    run_keys = keys(TUNING_SEED, bench.effort.tuning_seeds)
    first = evaluate(env, FixedRates(jnp.zeros(env.num_layers)), run_keys, bench.mesh)
    worst = float(np.mean(first.train_loss[:, 0]))
    best, table = tune_schedules(env, run_keys, bench.mesh, worst, bench.grid(bounds))
    lowest = dict(zip(best, table.min(axis=1).tolist(), strict=True))
    return {"peaks": best, "log_loss": lowest, "tuning_runs": table.size * len(run_keys)}


def _best_schedule(bench: Bench) -> tuple[Curves, Info]:
    return _report_best(bench, bench.env, bench.tuned)


def _best_schedule_over(bench: Bench, direction: Direction) -> tuple[Curves, Info]:
    """What the schedules can do with the controller's direction, at the same price."""
    env = bench.under(direction)
    bounds = ADAM_PEAKS if direction.name in LIKE_ADAM else bench.problem.peaks
    return _report_best(bench, env, _tuned_schedules(bench, env, bounds))


def _report_best(bench: Bench, env: Env, tuned: Info) -> tuple[Curves, Info]:
    name = min(tuned["log_loss"], key=tuned["log_loss"].get)
    policy = _schedule(name, tuned["peaks"][name])
    found = {"schedule": name, "peak": tuned["peaks"][name], "tuning_runs": tuned["tuning_runs"]}
    return bench.report(env, policy), found


def _tuned_constant(bench: Bench) -> tuple[Curves, Info]:
    peak, share = bench.tuned["peaks"]["constant"], len(bench.tuned["peaks"])
    info = {"peak": peak, "tuning_runs": bench.tuned["tuning_runs"] // share}
    return bench.report(bench.env, _schedule("constant", peak)), info


def _schedule(name: str, peak: float) -> Policy:
    if name in SCHEDULES:
        return ScheduleBank(jnp.int32(list(SCHEDULES).index(name)), jnp.float32(peak))
    return ReduceOnPlateau(peak=jnp.float32(peak))


def _hypergradient_adam() -> optax.GradientTransformation:
    """Its rate changes by up to 2% per step and starts at 1, times the tuned constant rate."""
    return hypergradient_adam(1.0, 0.02, multiplicative)


def _tuned_rate(bench: Bench, optimizer: InnerOptimizer) -> tuple[Curves, Info]:
    """An optimizer at the best of the rates that are usual for Adam."""
    env = bench.with_optimizer(optimizer)
    peaks = bench.grid(ADAM_PEAKS)
    losses = [bench.tune(env, _schedule("constant", peak)) for peak in peaks]
    peak = peaks[int(np.argmin(losses))]
    runs = len(peaks) * bench.effort.tuning_seeds
    return bench.report(env, _schedule("constant", peak)), {"peak": peak, "tuning_runs": runs}


def _searched_nadamw(bench: Bench) -> tuple[Curves, Info]:
    """Rate, decays, epsilon and weight decay by random search, under a warm-up cosine.

    As in the comparison of Metz et al. 2022, arXiv:2211.09760, with other ranges and fewer trials.
    """
    rng = np.random.default_rng(SEARCH_SEED)
    trials = []
    for _ in range(bench.effort.num_trials):
        numbers = {
            "momentum": 1 - 10 ** rng.uniform(-2, -0.5),
            "second_decay": 1 - 10 ** rng.uniform(-3.5, -1),
            "epsilon": 10 ** rng.uniform(-10, -5),
            "weight_decay": 10 ** rng.uniform(-5, -1),
        }
        env = bench.under(Direction("nadamw", **numbers))
        policy = _schedule("warmup_cosine", float(10 ** rng.uniform(-4, -1)))
        trials.append((bench.tune(env, policy), env, policy, numbers))
    _, env, policy, numbers = min(trials, key=lambda trial: trial[0])
    runs = len(trials) * bench.effort.tuning_seeds
    return bench.report(env, policy), {**numbers, "peak": float(policy.peak), "tuning_runs": runs}


def _whole_method(
    make: Callable[[int], optax.GradientTransformation],
    evaluation_params_fn: Callable[[Any, Any], Any] | None = None,
) -> Method:
    def method(bench: Bench) -> tuple[Curves, Info]:
        optimizer = as_direction(make(bench.env.total_steps), evaluation_params_fn)
        one = FixedRates(jnp.ones(bench.env.num_layers))
        return bench.report(bench.with_optimizer(optimizer), one), {}

    return method


def as_direction(
    transformation: optax.GradientTransformation,
    evaluation_params_fn: Callable[[Any, Any], Any] | None = None,
) -> InnerOptimizer:
    """A whole optimizer, learning rate included, as a direction: it takes its own step at rate 1."""
    inner = optax.with_extra_args_support(transformation)

    def update(gradient, state, params=None, **extra):
        updates, state = inner.update(gradient, state, params, **extra)
        return jax.tree.map(jnp.negative, updates), state

    negated = optax.GradientTransformationExtraArgs(inner.init, update)
    return InnerOptimizer(
        direction_fn=lambda numbers: negated,
        initial_rate=Constant(1.0),
        evaluation_params_fn=evaluation_params_fn,
    )


def keys(seed: int, count: int) -> PRNGKeyArray:
    """One key per run."""
    return jax.random.split(jax.random.key(seed), count)
