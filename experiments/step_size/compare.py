"""A step-size controller beside what else one could do on the test network, a row of the table each."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runs.progress import say
from experiments.step_size.bench import Test
from experiments.step_size.build import environment
from ganno_jax import evaluation
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.evaluation.tuning import TUNABLE, rungs_of
from ganno_jax.policies import ReduceOnPlateau, SchedulePolicy
from ganno_jax.policies.bank import ScheduleBank
from ganno_jax.policies.schedules import SCHEDULES, named

NUM_PEAKS = 13  # over three powers of ten, a factor 1.78 apart


def compare(
    test: Test,
    static: evaluation.Curves,
    controlled: evaluation.Curves,
    references: Mapping[str, evaluation.Curves],
) -> list[dict[str, Any]]:
    """The controller beside what else one could do, a row each.

    Args:
      test: what every policy meets.
      static: runs at constant rates.
      controlled: runs under the controller.
      references: runs under published controllers, by name.
    """
    rates = test.rates
    rows = [_row(test, "controlled, from any rate", controlled)]
    best = best_static(test)
    alone = jax.tree.map(lambda x: x.reshape(len(rates), -1, *x.shape[1:])[best], static)
    rows += [
        _row(test, "static, from any rate", static),
        _row(test, "static, the best rate", alone) | {"peak": float(f"{rates[best]:.6g}")},
    ]
    rows += [_row(test, f"reference {name}", curves) for name, curves in references.items()]
    if test.config.step_size.compare:
        rows += _schedules(test)
    if test.config.step_size.agents is not None and test.optimizer == "momentum":
        rows.append(_agents(test, load(test.config.step_size.agents)))
    return rows


def best_static(test: Test) -> int:
    """Which initial rate is the best constant one: by the selection split, on tuning seeds."""
    tried = test.run(SchedulePolicy(named("constant")), seeds=test.tuning_seeds)
    return int(np.argmin(test.by_rate(test.selection_losses(tried)).mean(1)))


def _row(test: Test, policy: str, curves: evaluation.Curves) -> dict[str, Any]:
    losses = test.log_losses(curves)
    return {
        "policy": policy,
        "peak": None,
        "log_loss": float(losses.mean()),
        "worst_log_loss": float(losses.max()),
        "error": float(test.errors(curves).mean()),
        "worst_error": float(test.errors(curves).max()),
        "diverged": float(np.mean(curves.diverged)),
        "runs": int(losses.size),
    }


def _schedules(test: Test) -> list[dict[str, Any]]:
    """Every handcrafted schedule at the peak that was best by the selection split, on other seeds."""
    part = test.config.step_size
    env = environment(test.training, part.test_steps, part.interval)
    mapping = part.at_once or "auto"
    upper = 1.0 if test.optimizer == "momentum" else 0.1
    peaks = tuple(float(x) for x in upper * np.geomspace(1e-3, 1.0, NUM_PEAKS))
    tuned = evaluation.tune_schedules(
        env,
        test.tuning_seeds,
        test.mesh,
        math.log(test.num_classes),
        peaks,
        rungs=rungs_of(NUM_PEAKS * len(TUNABLE), part.tuning_runs, (20, 4)),
        mapping=mapping,
        chunk=part.chunk,
    )
    say(
        f"tuned: {tuned.best} at {tuned.chosen[tuned.best]:.2g}, of {len(TUNABLE)} schedules at {NUM_PEAKS} peaks, "
        f"{tuned.trainings} trainings; expected loss from a bad choice {tuned.choice_loss:.4f}"
    )
    best = tuned.chosen
    names = tuple(SCHEDULES)
    bank = ScheduleBank(
        jnp.arange(len(names)), jnp.asarray([best[name] for name in names], jnp.float32)
    )
    run = partial(
        evaluation.evaluate,
        env,
        keys=test.seeds,
        mesh=test.mesh,
        mapping=mapping,
        chunk=part.chunk,
    )
    curves = run(bank, num_policies=len(names))
    found = {name: jax.tree.map(lambda x, i=i: x[i], curves) for i, name in enumerate(names)}
    found["plateau"] = run(ReduceOnPlateau(peak=best["plateau"]))
    return [
        _row(test, f"{name}, tuned", curves) | {"peak": best[name]}
        for name, curves in found.items()
    ]


def _agents(test: Test, controller: Controller) -> dict[str, Any]:
    """Per-layer agents from every initial rate, with the decisions that they were trained with.

    What does not fill a whole decision at the end is not trained: less than one decision's steps.
    """
    interval = max(1, test.config.step_size.test_steps // controller.decisions)
    num_steps = test.config.step_size.test_steps // interval * interval
    env = environment(test.training, num_steps, interval, num_measured=min(2, interval))
    curves = test.run(controller.policy, env)
    return _row(test, f"agents per layer, {Path(test.config.step_size.agents or '').stem}", curves)
