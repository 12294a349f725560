"""What a step-size controller is worth on the test network.

Static rates, tuned schedules, the published re-implementation's controllers and per-layer agents
meet the same seeds; changed weights show how sharp the optimum is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from experiments.configs.systems import StepSizeExperiment
from experiments.runs.streams import stream
from experiments.step_size.search import environment, initial_rates, optimizer_of, test_family
from ganno_jax import evaluation
from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.env import Env
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.inner import Training
from ganno_jax.plots import save
from ganno_jax.plots.step_size import perturbation, rate_trajectories, sensitivity_panels
from ganno_jax.policies import ReduceOnPlateau, SchedulePolicy
from ganno_jax.policies.bank import ScheduleBank
from ganno_jax.policies.schedules import SCHEDULES, named
from ganno_jax.policies.step_size import REFERENCE, StepSizePolicy, batched, perturbed

SHARE = 0.2  # by which weights are changed

Panel = dict[str, tuple[Float[np.ndarray, " rate"], Float[np.ndarray, "rate seed"]]]


@dataclass(frozen=True)
class EvaluateResult:
    """A controller on the test network, on the test split; a diverged run costs as much as guessing."""

    theta: Float[np.ndarray, " weight"]
    losses: Panel  # by policy: initial rates, losses
    errors: Panel  # the same runs: share of wrong classes
    steps: Float[np.ndarray, " decision"]
    rates: dict[str, Float[np.ndarray, "seed decision"]]  # the controller's, by initial rate
    comparison: list[dict[str, Any]]
    perturbed_losses: Float[np.ndarray, " controller"]  # mean final log test loss
    unperturbed_loss: float


@dataclass(frozen=True)
class Test:
    """The runs that every policy meets: each seed from each initial rate."""

    config: StepSizeExperiment
    optimizer: str
    training: Training
    mesh: Mesh

    @property
    def num_classes(self) -> int:
        return self.training.family.dataset.num_classes

    @property
    def env(self) -> Env:
        """As the controller sees it."""
        return self._env(self.config.step_size.by_layer)

    @property
    def env_of_references(self) -> Env:
        """For controllers with one rate."""
        return self._env(False)

    def _env(self, by_layer: bool) -> Env:
        part = self.config.step_size
        training = self.training.with_example_features(by_layer=by_layer, limit=part.limit)
        return environment(training, part.test_steps, part.interval)

    @property
    def rates(self) -> Float[np.ndarray, " rate"]:
        """Initial rates; RMSprop's useful rates are about a tenth of momentum's."""
        factor = 1.0 if self.optimizer == "momentum" else 0.1
        return factor * np.asarray(self.config.step_size.rates, np.float32)

    @property
    def seeds(self) -> PRNGKeyArray:
        part = self.config.step_size
        return jax.random.split(stream(part.seed, "test"), part.num_runs)

    @property
    def tuning_seeds(self) -> PRNGKeyArray:
        """Of the runs on which peaks are chosen."""
        part = self.config.step_size
        return jax.random.split(stream(part.seed, "tuning"), part.tuning_runs)

    def run(
        self, policy: Any, env: Env | None = None, num_seeds: int | None = None, **settings: Any
    ) -> evaluation.Curves:
        """Every seed (or the first few) from every initial rate, `[rate * seed]`."""
        seeds = self.seeds[:num_seeds]
        return evaluation.evaluate(
            self.env if env is None else env,
            policy,
            jnp.tile(seeds, len(self.rates)),
            self.mesh,
            initial_rates=jnp.repeat(jnp.asarray(self.rates), len(seeds)),
            mapping=self.config.step_size.at_once or "auto",
            chunk=self.config.step_size.chunk,
            **settings,
        )

    def log_losses(self, curves: evaluation.Curves) -> np.ndarray:
        return log_losses(curves.final_loss, math.log(self.num_classes), curves.diverged)

    def by_rate(self, values: np.ndarray) -> np.ndarray:
        """`[rate * seed]` to `[rate, seed]`."""
        return np.asarray(values).reshape(len(self.rates), -1)

    def errors(self, curves: evaluation.Curves) -> np.ndarray:
        broken = curves.diverged | ~np.isfinite(curves.final_loss)
        return np.where(broken, 1 - 1 / self.num_classes, 1 - curves.final_accuracy)


def evaluate(
    config: StepSizeExperiment, optimizer: str, theta: Float[np.ndarray, " weight"], mesh: Mesh
) -> EvaluateResult:
    """Measure a controller on the test network.

    Raises:
      ValueError, FileNotFoundError: `step_size.agents` is no controller.
    """
    part = config.step_size
    training = Training.create(
        test_family(config),
        optimizer_of(optimizer, initial_rates(part, optimizer)),
        part.test_batch_size,
    )
    test = Test(config, optimizer, training, mesh)
    static = test.run(SchedulePolicy(named("constant")))
    changed = perturbed(theta, SHARE, part.num_perturbed, part.seed)
    references = {k: v for k, v in REFERENCE.items() if k.startswith(optimizer)}
    controlled = test.run(StepSizePolicy(jnp.asarray(theta), by_layer=part.by_layer))
    theirs = batched(jnp.asarray([*references.values()]))
    several = test.run(theirs, test.env_of_references, num_policies=len(references))
    others = [jax.tree.map(lambda x, i=i: x[i], several) for i in range(len(references))]
    near = np.concatenate([np.asarray(theta)[None], changed])
    ours = batched(near, part.by_layer)
    off = test.run(ours, num_seeds=part.perturbed_runs, num_policies=len(near))
    by_controller = test.log_losses(off).reshape(len(near), -1).mean(1)
    rates = test.rates
    both = {"static": static, "controlled": controlled}
    together = np.exp(np.log(controlled.rates).mean(-1))  # of the layers, where they differ
    trajectories = together.reshape(len(rates), part.num_runs, -1)
    return EvaluateResult(
        theta=np.asarray(theta),
        losses={k: (rates, np.exp(test.by_rate(test.log_losses(c)))) for k, c in both.items()},
        errors={k: (rates, test.by_rate(test.errors(c))) for k, c in both.items()},
        steps=part.interval * np.arange(1, test.env.num_decisions + 1),
        rates={f"from {rate:g}": trajectories[i] for i, rate in enumerate(rates)},
        comparison=_compare(test, static, controlled, dict(zip(references, others, strict=True))),
        perturbed_losses=by_controller[1:],
        unperturbed_loss=float(by_controller[0]),
    )


def write(
    results: Mapping[str, EvaluateResult],
    beside: Mapping[str, EvaluateResult],
    folder: Path,
    tables: Path,
) -> list[Path]:
    """Tables and figures of evaluations, by title such as "momentum, mnist".

    Args:
      results: by title.
      beside: of another run; they get panels in the figures of sensitivity, and nothing else.
      folder: of the figures.
      tables: folder of the tables.

    Returns:
      The files, figures first.
    """
    panels = {**beside, **results}
    figures = {
        "sensitivity_error": sensitivity_panels(
            {title: result.errors for title, result in panels.items()}, "final test error", "linear"
        ),
        "sensitivity_loss": sensitivity_panels(
            {title: result.losses for title, result in panels.items()}, "final test loss"
        ),
    }
    for title, result in results.items():
        stem = "_".join(title.replace(",", "").lower().split())
        figures[f"rates_{stem}"] = rate_trajectories(result.steps, result.rates)
        figures[f"perturbation_{stem}"] = perturbation(
            result.perturbed_losses, result.unperturbed_loss, SHARE
        )
    files = [save(figure, folder / f"{name}.png") for name, figure in figures.items()]
    written = {
        "sensitivity": [row for title, result in results.items() for row in _rows(title, result)],
        "comparison": [
            {"panel": title} | row for title, result in results.items() for row in result.comparison
        ],
    }
    for name, rows in written.items():
        write_csv(rows, tables / f"{name}.csv")
        files.append(tables / f"{name}.csv")
    return files


def _rows(title: str, result: EvaluateResult) -> list[dict[str, Any]]:
    """One row per policy and initial rate."""
    rows = []
    for policy, (rates, losses) in result.losses.items():
        errors = result.errors[policy][1]
        for rate, of_loss, of_error in zip(rates, losses, errors, strict=True):
            low, middle, high = map(float, np.quantile(of_loss, [0.25, 0.5, 0.75]))
            rows.append(
                {
                    "panel": title,
                    "policy": policy,
                    "initial_rate": float(f"{rate:.6g}"),
                    "low_quarter": low,
                    "median_loss": middle,
                    "high_quarter": high,
                    "median_error": float(np.median(of_error)),
                }
            )
    return rows


def _compare(
    test: Test,
    static: evaluation.Curves,
    controlled: evaluation.Curves,
    references: Mapping[str, evaluation.Curves],
) -> list[dict[str, Any]]:
    """The controller beside what else one could do, a row each."""
    rates = test.rates
    rows = [_row(test, "controlled, from any rate", controlled)]
    best = int(np.argmin(test.by_rate(test.log_losses(static)).mean(1)))
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
    """Every handcrafted schedule at the peak that was best on other seeds."""
    part = test.config.step_size
    env = environment(test.training, part.test_steps, part.interval)
    mapping = part.at_once or "auto"
    upper = 1.0 if test.optimizer == "momentum" else 0.1
    peaks = tuple(float(x) for x in upper * np.geomspace(1e-3, 1.0, 7))
    best, _ = evaluation.tune_schedules(
        env, test.tuning_seeds, test.mesh, math.log(test.num_classes), peaks, mapping, part.chunk
    )
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
