"""What a step-size controller is worth on the test network.

Static rates, tuned schedules, the published re-implementation's controllers and per-layer agents
meet the same seeds; changed weights show how sharp the optimum is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from experiments.configs.step_size import StepSizeExperiment
from experiments.step_size.bench import Test
from experiments.step_size.build import initial_rates, optimizer_of, test_family
from experiments.step_size.compare import compare
from ganno_jax.evaluation.csv_tables import write_csv
from ganno_jax.inner import Training
from ganno_jax.plots import save
from ganno_jax.plots.step_size import perturbation, rate_trajectories, sensitivity_panels
from ganno_jax.policies import SchedulePolicy
from ganno_jax.policies.schedules import named
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


def evaluate(
    config: StepSizeExperiment, optimizer: str, theta: Float[np.ndarray, " weight"], mesh: Mesh
) -> EvaluateResult:
    """Measure a controller on the test network.

    Args:
      config: of the run.
      optimizer: that the controller was learned for.
      theta: weights of the controller.
      mesh: devices.

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
    off = test.run(ours, seeds=test.seeds[: part.perturbed_runs], num_policies=len(near))
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
        comparison=compare(test, static, controlled, dict(zip(references, others, strict=True))),
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
