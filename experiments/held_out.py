"""The held-out suite: a controller, zero-shot, on trainings that it never saw, against tuned and tuning-free methods.

python -m experiments.held_out CONTROLLER [--data-dir FOLDER] [--folder runs/held-out] [--seeds 10]

Every task's cost is stated before it starts; finished tasks are kept in the folder and not repeated.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ganno_jax.baselines import LEARNING_RATE_FREE, celo, celo_adam, shipped_weights
from ganno_jax.controllers import Controller
from ganno_jax.env import Env
from ganno_jax.env.batching import make_mesh
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.evaluation import evaluate
from ganno_jax.evaluation.evaluate import Curves
from ganno_jax.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    log_losses,
    probability_of_improvement,
)
from ganno_jax.evaluation.tables import write_csv
from ganno_jax.evaluation.tuning import tune_schedules
from ganno_jax.inner import InnerOptimizer, Training, directions
from ganno_jax.policies import SCHEDULES, FixedRates, ReduceOnPlateau, ScheduleBank
from ganno_jax.tasks import from_linen, networks, reconstruction_error, sources
from ganno_jax.tasks.distributions import Constant, LogUniform

REPORT_SEED, TUNING_SEED = 20_000, 10_000
INITIAL_RATES = (1e-5, 1.0)
NUM_DECISIONS = 30


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """One task of the suite: what is trained, with which optimizer, for how long."""

    name: str
    data: dict[str, Any]
    network: dict[str, Any]
    optimizer: str = "momentum"
    weight_decay: float = 0.0
    batch_size: int = 64
    interval: int = 20
    peaks: tuple[float, float] = (1e-3, 1.0)
    loss: Callable[..., Any] | None = None


SMALL = (
    HeldOut("digits, MLP, momentum", {"name": "digits"}, {"name": "mlp", "features": (32,)}),
    HeldOut(
        "digits, deep tanh MLP, Adam",
        {"name": "digits"},
        {"name": "mlp", "features": (48, 48, 48), "activation": "tanh"},
        optimizer="adam",
        peaks=(1e-4, 0.1),
    ),
    HeldOut(
        "digits, wide MLP, SGD, weight decay 1e-3",
        {"name": "digits"},
        {"name": "mlp", "features": (128,)},
        optimizer="sgd",
        weight_decay=1e-3,
        batch_size=32,
        peaks=(1e-2, 3.0),
    ),
    HeldOut(
        "digits, autoencoder, AdamW",
        {"name": "digits"},
        {"name": "autoencoder"},
        optimizer="adamw",
        weight_decay=1e-4,
        peaks=(1e-4, 0.1),
        loss=reconstruction_error,
    ),
    HeldOut(
        "MNIST 8x8, MLP, AdamW, weight decay 1e-2",
        {"name": "mnist", "image_size": 8, "max_examples": 12_000},
        {"name": "mlp", "features": (64, 64), "activation": "gelu"},
        optimizer="adamw",
        weight_decay=1e-2,
        peaks=(1e-4, 0.1),
    ),
    HeldOut(
        "CIFAR-10 8x8, MLP, momentum",
        {"name": "cifar10", "image_size": 8, "max_examples": 12_000},
        {"name": "mlp", "features": (64,)},
        peaks=(1e-4, 0.3),
    ),
    HeldOut(
        "Fashion-MNIST 14x14, CNN, momentum",
        {"name": "fashion_mnist", "image_size": 14, "max_examples": 12_000},
        {"name": "cnn", "channels": (8, 16)},
        batch_size=32,
        interval=10,
        peaks=(1e-3, 0.3),
    ),
)


def build(task: HeldOut, data_dir: str | None, optimizer: InnerOptimizer | None = None) -> Env:
    """The env of a task; `optimizer` takes the place of the task's own (whole methods as baselines)."""
    dataset = sources.load(data_dir=data_dir, **task.data)
    settings = dict(task.network)
    name = settings.pop("name")
    if name == "autoencoder":
        network = networks.build(name)
    else:
        network = networks.build(name, num_classes=dataset.num_classes, **settings)
    family = from_linen(network, dataset, task.loss, name=task.name)
    if optimizer is None:
        numbers = {"weight_decay": Constant(task.weight_decay)} if task.weight_decay else {}
        optimizer = directions.named(task.optimizer, LogUniform(*INITIAL_RATES), **numbers)
    training = Training.create(family, optimizer, task.batch_size)
    return Env.create(
        training,
        LogLossDecrease(),
        num_decisions=NUM_DECISIONS,
        interval=task.interval,
        num_validation=256,
    )


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


def tuning_free(total_steps: int) -> dict[str, InnerOptimizer]:
    """Every baseline that needs no tuning: learning-rate-free methods and learned optimizers."""
    methods = {
        name: as_direction(method.make(total_steps), method.evaluation_params)
        for name, method in LEARNING_RATE_FREE.items()
    }
    methods["celo_adam"] = as_direction(celo_adam(shipped_weights("celo_adam"), total_steps))
    methods["celo"] = as_direction(celo(shipped_weights("celo"), total_steps))
    return methods


def run_task(
    task: HeldOut,
    controller: Controller,
    data_dir: str | None,
    num_seeds: int = 10,
    tuning_seeds: int = 3,
    num_peaks: int = 7,
) -> dict[str, Any]:
    """All methods on one task.

    Returns:
      Plain values: `final` maps a method to its final log validation losses `[seed]`, a diverged or worse run
      counted as the loss before training; `accuracy` likewise; `tuned` is the best schedule with its peak and the
      number of tuning runs that it took.
    """
    env, mesh = build(task, data_dir), make_mesh()
    keys = _keys(REPORT_SEED, num_seeds)
    rates = jnp.geomspace(*INITIAL_RATES, num_seeds)
    ours = evaluate(env, controller.policy, keys, mesh, initial_rates=rates, mapping="auto")
    ceiling = ours.validation_loss[:, 0].astype(float)
    peaks = tuple(float(p) for p in np.geomspace(*task.peaks, num_peaks))
    best, table = tune_schedules(
        env, _keys(TUNING_SEED, tuning_seeds), mesh, float(ceiling.mean()), peaks, "auto"
    )
    names = list(best)
    winner = names[int(np.argmin(table.min(axis=1)))]
    if winner in SCHEDULES:
        policy = ScheduleBank(jnp.int32(list(SCHEDULES).index(winner)), jnp.float32(best[winner]))
    else:
        policy = ReduceOnPlateau(peak=jnp.float32(best[winner]))
    curves: dict[str, Curves] = {
        "controller": ours,
        "best tuned schedule": evaluate(env, policy, keys, mesh, mapping="auto"),
        "tuned constant": evaluate(
            env,
            ScheduleBank(jnp.int32(0), jnp.float32(best["constant"])),
            keys,
            mesh,
            mapping="auto",
        ),
    }
    for name, optimizer in tuning_free(env.total_steps).items():
        other = build(task, data_dir, optimizer)
        one = FixedRates(jnp.ones(other.num_layers))
        curves[name] = evaluate(other, one, keys, mesh, mapping="auto")
    return {
        "final": {
            n: log_losses(c.final_loss, ceiling, c.diverged).tolist() for n, c in curves.items()
        },
        "accuracy": {n: np.asarray(c.final_accuracy, float).tolist() for n, c in curves.items()},
        "tuned": {
            "schedule": winner,
            "peak": best[winner],
            "runs": tuning_seeds * num_peaks * len(names),
        },
        "layers": env.num_layers,
        "steps": env.total_steps,
    }


def summarize(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per task and method: interquartile mean with interval, and improvement over the tuned schedule."""
    rows = []
    for task, result in results.items():
        reference = np.asarray(result["final"]["best tuned schedule"])
        for method, values in result["final"].items():
            final = np.asarray(values)
            interval = bootstrap_interval(final, interquartile_mean)
            accuracy = np.asarray(result["accuracy"][method])
            rows.append(
                {
                    "task": task,
                    "method": method,
                    "log_loss_iqm": interval.estimate,
                    "log_loss_iqm_lower": interval.lower,
                    "log_loss_iqm_upper": interval.upper,
                    "difference": float(interquartile_mean(final) - interquartile_mean(reference)),
                    "improvement": probability_of_improvement(final, reference).estimate,
                    "accuracy_median": float(np.median(accuracy)),
                    "accuracy_worst": float(np.min(accuracy)),
                    "schedule": result["tuned"]["schedule"]
                    if method == "best tuned schedule"
                    else "",
                    "tuning_runs": result["tuned"]["runs"]
                    if method == "best tuned schedule"
                    else 0,
                }
            )
    return rows


def overall(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Mean over tasks of the interquartile-mean final log loss minus that of the best tuned schedule."""
    totals: dict[str, list[float]] = {}
    for result in results.values():
        reference = float(interquartile_mean(np.asarray(result["final"]["best tuned schedule"])))
        for method, values in result["final"].items():
            own = float(interquartile_mean(np.asarray(values)))
            totals.setdefault(method, []).append(own - reference)
    means = {method: float(np.mean(values)) for method, values in totals.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def run(
    controller: Controller,
    folder: Path,
    data_dir: str | None,
    tasks: tuple[HeldOut, ...] = SMALL,
    say: Callable[[str], None] = print,
    **settings: Any,
) -> dict[str, dict[str, Any]]:
    """The suite, task after task; a finished one is read from `folder` instead. Writes `results.csv`.

    A task whose data are missing is left out, and said so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {}
    for number, task in enumerate(tasks, 1):
        cell = folder / f"{number:02d}.json"
        if cell.is_file():
            stored = json.loads(cell.read_text(encoding="utf-8"))
            if stored["task"] == task.name:
                results[task.name] = stored["result"]
                continue
        say(
            f"[{number}/{len(tasks)}] {task.name}: {NUM_DECISIONS * task.interval} steps per training"
        )
        begin = time.perf_counter()
        try:
            result = run_task(task, controller, data_dir, **settings)
        except FileNotFoundError as error:
            say(f"  left out: {error}")
            continue
        partial = cell.with_suffix(".partial")
        partial.write_text(json.dumps({"task": task.name, "result": result}), encoding="utf-8")
        partial.replace(cell)
        results[task.name] = result
        own = interquartile_mean(np.asarray(result["final"]["controller"]))
        reference = interquartile_mean(np.asarray(result["final"]["best tuned schedule"]))
        say(
            f"  controller {own:.3f}, {result['tuned']['schedule']} at its best of "
            f"{result['tuned']['runs']} tuning runs {reference:.3f}; {time.perf_counter() - begin:.0f} s"
        )
    if results:
        write_csv(summarize(results), folder / "results.csv")
    for method, difference in overall(results).items():
        say(f"{method:22s} {difference:+.3f}")
    return results


def _keys(seed: int, count: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


if __name__ == "__main__":
    import argparse

    from ganno_jax.controllers import load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("controller")
    parser.add_argument("--data-dir")
    parser.add_argument("--folder", type=Path, default=Path("runs/held-out"))
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    run(
        load(arguments.controller),
        arguments.folder,
        arguments.data_dir,
        num_seeds=arguments.seeds,
    )
