"""Learned step-size controllers: learn one on small random networks, use it on a larger one.

`train` searches the five numbers of a controller; `evaluate` measures it against static rates, tuned schedules and
changed weights on the test network; `write` leaves tables and figures. docs/step_size_controllers.md has the method.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from experiments.systems import StepSizeConfig
from ganno_jax import evaluation
from ganno_jax.env import Env
from ganno_jax.env import Mapping as EnvMapping
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tables import write_csv
from ganno_jax.inner import InnerOptimizer, Training, directions
from ganno_jax.learners import make_mesh
from ganno_jax.learners.black_box import CMAES, RandomSearch
from ganno_jax.learners.parameter_search import ParameterSearch, SearchState, search
from ganno_jax.learners.reps import REPS
from ganno_jax.plots import save
from ganno_jax.plots.step_size import perturbation, rate_trajectories, sensitivity_panels
from ganno_jax.policies import ReduceOnPlateau, SchedulePolicy, schedules
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy, batched, perturbed
from ganno_jax.tasks import TaskFamily, from_linen, networks, sources
from ganno_jax.tasks.distributions import Constant, Distribution, LogUniform, Uniform, WholeShares

STRATEGIES = {"reps": REPS, "cmaes": CMAES, "random": RandomSearch}
START = (0.0, 0.0, 0.0, 0.0, math.log(0.01))
DEVIATIONS = (0.1, 0.3, 0.3, 0.3, 1.0)  # ours: the features are of the order of 10, 3, 1, 1 and 1


def small(optimizer: Literal["momentum", "rmsprop"] = "momentum", **changes: Any) -> StepSizeConfig:
    """`step_size_digits`: minutes on two cores."""
    return dataclasses.replace(StepSizeConfig(optimizer=optimizer), **changes)


def paper(
    optimizer: Literal["momentum", "rmsprop"] = "momentum",
    test_data: Literal["mnist", "cifar10"] = "mnist",
    **changes: Any,
) -> StepSizeConfig:
    """The published tasks, for an accelerator; every-step control. Sample counts are ours."""
    cifar_steps = 12_000 if optimizer == "momentum" else 6_000
    config = StepSizeConfig(
        family="random_cnn",
        test_data=test_data,
        optimizer=optimizer,
        num_steps=1000,
        interval=1,
        num_samples=64,
        num_tasks=8,
        num_iterations=50,
        num_judged=2048,
        test_steps=2000 if test_data == "mnist" else cifar_steps,
        test_batch_size=512,
        num_runs=10,
        tuning_runs=4,
    )
    return dataclasses.replace(config, **changes)


@dataclass(frozen=True)
class TrainResult:
    """What a search found."""

    config: StepSizeConfig
    theta: Float[np.ndarray, " weight"]  # in the order of policies.step_size.WEIGHTS
    history: list[dict[str, float]]  # one row per iteration
    seconds: float  # without the first iteration, which compiles
    state: SearchState  # goes on with `train(..., state=state)`


@dataclass(frozen=True)
class EvaluateResult:
    """A controller on the test network. Losses are on the test split, diverged runs at the cost of guessing."""

    config: StepSizeConfig
    theta: Float[np.ndarray, " weight"]
    panel: dict[str, tuple[np.ndarray, np.ndarray]]  # by policy: initial rates, losses [rate, seed]
    steps: Float[np.ndarray, " decision"]
    rates: dict[str, Float[np.ndarray, "seed decision"]]  # the controller's, by initial rate
    comparison: list[dict[str, Any]]
    perturbed_losses: Float[np.ndarray, " controller"]  # mean final log test loss
    unperturbed_loss: float


def optimizer_of(config: StepSizeConfig, initial_rate: Distribution) -> InnerOptimizer:
    """The inner optimizers as in the re-implementation in DACBench."""
    if config.optimizer == "momentum":
        return directions.named("momentum", initial_rate)

    def clipped_rmsprop(h: directions.Hyperparameters) -> optax.GradientTransformation:
        scale = optax.scale_by_rms(decay=h.second_decay, eps=h.epsilon, eps_in_sqrt=False)
        return optax.chain(optax.clip(1.0), scale)

    return InnerOptimizer(
        clipped_rmsprop,
        initial_rate,
        second_decay=Constant(0.9),
        epsilon=Constant(1e-6),
        name="clipped_rmsprop",
    )


def training_family(config: StepSizeConfig) -> TaskFamily:
    """Small random networks on 10-50% of the data."""
    fraction = Uniform(0.1, 0.5)
    if config.family == "digits_mlp":
        width = WholeShares((8,), (32,))
        module = networks.build("mlp", features=(32,))
        return from_linen(module, sources.load("digits"), data_fraction=fraction, width=width)
    width = WholeShares((2, 5, 50), (9, 24, 249))
    dataset = sources.load("mnist", data_dir=config.data_dir)
    return from_linen(networks.random_cnn(), dataset, data_fraction=fraction, width=width)


def test_family(config: StepSizeConfig) -> TaskFamily:
    """The larger network that no controller was learned on."""
    dataset = sources.load(config.test_data, data_dir=config.data_dir)
    module = {
        "digits": lambda: networks.build("mlp", features=(64, 32)),
        "mnist": lambda: networks.random_cnn((20, 50, 500)),
        "cifar10": lambda: networks.build("deep_cnn"),
    }[config.test_data]()
    return from_linen(module, dataset)


def environment(config: StepSizeConfig, *, test: bool) -> Env:
    """The trainings as episodes; a validation example per decision keeps the env's own outcome cheap."""
    default = (1e-4, 0.1) if config.optimizer == "momentum" else (1e-5, 0.01)
    low, high = config.initial_rate or default
    training = Training.create(
        test_family(config) if test else training_family(config),
        optimizer_of(config, LogUniform(low, high)),
        config.test_batch_size if test else config.batch_size,
    ).with_example_features(limit=config.limit)
    num_steps = config.test_steps if test else config.num_steps
    return Env.create(
        training,
        LogLossDecrease(on="train"),
        num_decisions=num_steps // config.interval,
        interval=config.interval,
        num_measured=1,
        num_validation=1,
    )


def problem(config: StepSizeConfig, mapping: EnvMapping = "auto") -> ParameterSearch:
    """The search problem of a configuration.

    Raises:
      ValueError: steps that are not whole decisions, or a strategy that does not exist.
    """
    for name in ("num_steps", "fewest_steps", "test_steps"):
        if getattr(config, name) % config.interval:
            raise ValueError(
                f"`{name}` must be whole decisions of {config.interval} steps; "
                f"got {getattr(config, name)}."
            )
    if config.strategy not in STRATEGIES:
        raise ValueError(f"no strategy {config.strategy!r}; there are: {', '.join(STRATEGIES)}")
    strategy = STRATEGIES[config.strategy](
        mean=jnp.asarray(START), deviations=jnp.asarray(DEVIATIONS)
    )
    return ParameterSearch.create(
        environment(config, test=False),
        strategy,
        StepSizePolicy,
        num_samples=config.num_samples,
        num_tasks=config.num_tasks,
        fewest_decisions=config.fewest_steps // config.interval,
        num_judged=config.num_judged,
        mapping=mapping,
    )


def train(
    config: StepSizeConfig,
    *,
    mesh: Mesh | None = None,
    state: SearchState | None = None,
    report: Callable[[dict[str, float], SearchState], None] | None = None,
    mapping: EnvMapping = "auto",
) -> TrainResult:
    """Search a controller.

    Args:
      config: what to do.
      mesh: devices, all by default.
      state: of an earlier search to go on with.
      report: called after every iteration with its row and the state, for progress bars and checkpoints.
      mapping: over trainings.
    """
    mesh = mesh or make_mesh()
    what = problem(config, mapping)
    state = what.init(jax.random.key(config.seed)) if state is None else state
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))  # as it comes back
    history, begin = [], time.perf_counter()
    first = int(state.iteration)
    for iteration in range(first, config.num_iterations):
        state, metrics = search(what, state, 1, mesh)
        row = _row(iteration, jax.device_get(metrics))
        if iteration == first:
            begin = time.perf_counter()
        history.append(row)
        if report is not None:
            report(row, state)
    theta = np.asarray(what.strategy.best(state.strategy))
    return TrainResult(config, theta, history, time.perf_counter() - begin, state)


def evaluate(
    config: StepSizeConfig,
    theta: Float[np.ndarray, " weight"],
    *,
    mesh: Mesh | None = None,
    mapping: EnvMapping = "auto",
    compare: bool = True,
) -> EvaluateResult:
    """Measure a controller on the test network.

    Args:
      config: as it was learned.
      theta: the controller.
      mesh: devices, all by default.
      mapping: over trainings.
      compare: also tune and run the handcrafted schedules, which costs most of the time.
    """
    mesh = mesh or make_mesh()
    env = environment(config, test=True)
    chance = math.log(env.training.family.dataset.num_classes)
    seeds = jax.random.split(jax.random.key(config.seed + 1), config.num_runs)
    rates = np.asarray(config.rates, np.float32)
    keys = jnp.tile(seeds, len(rates))
    initial = jnp.repeat(jnp.asarray(rates), config.num_runs)
    shape = (len(rates), config.num_runs)

    def losses(curves: evaluation.Curves) -> np.ndarray:
        return log_losses(curves.test_loss, chance, curves.diverged)

    def run(policy: Any, **settings: Any) -> evaluation.Curves:
        return evaluation.evaluate(
            env, policy, keys, mesh, initial_rates=initial, mapping=mapping, **settings
        )

    static = run(SchedulePolicy(schedules.named("constant")))
    changed = perturbed(theta, 0.2, config.num_perturbed, config.seed)
    ours = run(
        batched(np.concatenate([np.asarray(theta)[None], changed])), num_policies=len(changed) + 1
    )
    controlled = jax.tree.map(lambda x: x[0], ours)
    by_controller = losses(ours).reshape(len(changed) + 1, -1).mean(1)
    panel = {
        "static": (rates, np.exp(losses(static)).reshape(shape)),
        "controlled": (rates, np.exp(losses(controlled)).reshape(shape)),
    }
    trajectories = controlled.rates[..., 0].reshape(*shape, -1)
    comparison = []
    if compare:
        best_static = int(np.argmin(losses(static).reshape(shape).mean(1)))
        comparison = [
            _compared("controlled, any initial rate", losses(controlled)),
            _compared(
                f"static {rates[best_static]:g}, the best",
                losses(static).reshape(shape)[best_static],
            ),
            *_schedules(config, env, seeds, chance, mesh, mapping),
        ]
    return EvaluateResult(
        config=config,
        theta=np.asarray(theta),
        panel=panel,
        steps=config.interval * np.arange(1, env.num_decisions + 1),
        rates={f"from {rate:g}": trajectories[i] for i, rate in enumerate(rates)},
        comparison=comparison,
        perturbed_losses=by_controller[1:],
        unperturbed_loss=float(by_controller[0]),
    )


def write(
    results: Mapping[str, EvaluateResult], folder: Path, tables: Path | None = None
) -> list[Path]:
    """Tables and figures of several evaluations, by title such as "momentum, MNIST": one panel each.

    Args:
      results: by title.
      folder: of the figures.
      tables: folder of the tables, by default the same.
    """
    tables = folder if tables is None else tables
    tables.mkdir(parents=True, exist_ok=True)
    sensitivity, comparison, files = [], [], []
    for title, result in results.items():
        for policy, (rates, losses) in result.panel.items():
            for rate, row in zip(rates, losses, strict=True):
                quarters = np.quantile(row, [0.25, 0.5, 0.75])
                names = ("low_quarter", "median_loss", "high_quarter")
                values = dict(zip(names, map(float, quarters), strict=True))
                sensitivity.append(
                    {"panel": title, "policy": policy, "initial_rate": float(rate)} | values
                )
        comparison += [{"panel": title} | row for row in result.comparison]
        stem = "_".join(title.replace(",", "").lower().split())
        files.append(
            save(rate_trajectories(result.steps, result.rates), folder / f"rates_{stem}.png")
        )
        figure = perturbation(result.perturbed_losses, result.unperturbed_loss, 0.2)
        files.append(save(figure, folder / f"perturbation_{stem}.png"))
    panels = {title: result.panel for title, result in results.items()}
    files.append(save(sensitivity_panels(panels, "final test loss"), folder / "sensitivity.png"))
    for name, rows in (("sensitivity", sensitivity), ("comparison", comparison)):
        if rows:
            keys = dict.fromkeys(key for row in rows for key in row)  # a static rate has no peak
            write_csv([{key: row.get(key) for key in keys} for row in rows], tables / f"{name}.csv")
            files.append(tables / f"{name}.csv")
    return files


def _row(iteration: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of one iteration as plain numbers, the controller's weights by name."""
    row: dict[str, float] = {"iteration": iteration}
    row |= {name: float(value[0]) for name, value in metrics.items() if name != "best"}
    return row | {name: float(x) for name, x in zip(WEIGHTS, metrics["best"][0], strict=True)}


def _compared(policy: str, losses: np.ndarray) -> dict[str, Any]:
    return {
        "policy": policy,
        "mean_final_log_loss": float(np.mean(losses)),
        "worst_final_log_loss": float(np.max(losses)),
    }


def _schedules(
    config: StepSizeConfig, env: Env, seeds: Any, chance: float, mesh: Mesh, mapping: EnvMapping
) -> list[dict[str, Any]]:
    """Every handcrafted schedule at the peak that was best on other seeds."""
    tuning = jax.random.split(jax.random.key(config.seed + 2), config.tuning_runs)
    upper = 1.0 if config.optimizer == "momentum" else 0.1
    peaks = tuple(float(x) for x in upper * np.geomspace(1e-3, 1.0, 7))
    best, _ = evaluation.tune_schedules(env, tuning, mesh, chance, peaks, mapping)
    rows = []
    for name, peak in best.items():
        policy = (
            ReduceOnPlateau(peak=peak)
            if name == "plateau"
            else SchedulePolicy(schedules.named(name), peak)
        )
        curves = evaluation.evaluate(env, policy, seeds, mesh, mapping=mapping)
        row = _compared(f"{name}, tuned", log_losses(curves.test_loss, chance, curves.diverged))
        rows.append(row | {"peak": peak})
    return rows
