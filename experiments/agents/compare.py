"""What trained agents are worth beside all baselines: tune, run everything, keep the arrays."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from experiments.agents import compared
from experiments.agents.build import Experiment, initial_rates, run_keys
from experiments.agents.compared import ComparedPolicy, Evaluator
from experiments.agents.tune import arrays_of, tune
from experiments.runs.progress import Bar, say
from ganno_jax.evaluation import Curves
from ganno_jax.evaluation.spikes import find_spike
from ganno_jax.inner.hyperparameters import LayerHyperparameters
from ganno_jax.policies import SCHEDULES, AgentPolicy
from ganno_jax.policies.schedules import DISPLAY_NAMES

NAMES = {**DISPLAY_NAMES, "plateau": "Reduce on plateau"}


@dataclasses.dataclass(frozen=True)
class ReportedPolicy:
    """A policy of the report."""

    key: str  # such as "one_cycle"
    name: str  # such as "One-cycle"
    kind: str  # agents, schedule, control
    peak: float | None
    policy: ComparedPolicy


def compare(
    experiment: Experiment,
    evaluator: Evaluator,
    trained: AgentPolicy,
    blind: tuple[AgentPolicy, int] | None,
) -> dict[str, np.ndarray]:
    """Everything that tables and figures are made from.

    Args:
      experiment: whose agents they are.
      evaluator: of its env.
      trained: the agents.
      blind: agents that see nothing, and the updates that they learned for.

    Returns:
      Arrays by name, for `np.savez`.
    """
    config, env = experiment.config, experiment.env
    shape = (env.num_decisions, env.num_layers)
    ours = compared.agents(trained, *shape)

    tuning = tune(experiment, evaluator, ours)
    table = _mean_schedule(experiment, evaluator, ours)

    critic = "MAPPO" if config.agent.critic == "central" else "IPPO"
    reported = [
        ReportedPolicy("agents", f"Agents ({critic})", "agents", None, ours),
        ReportedPolicy("base", "Their base, no agents", "control", None, compared.neutral(ours)),
        ReportedPolicy(
            "replay", "Replay of their mean settings", "control", None, compared.replay(ours, table)
        ),
    ]
    if blind is not None:
        sees_nothing, updates = blind
        name = f"State-blind agents ({updates} updates)"
        policy = compared.agents(sees_nothing, *shape)
        reported.append(ReportedPolicy("blind", name, "control", None, policy))
    reported += [
        ReportedPolicy(
            name, NAMES[name], "schedule", peak, compared.tuned(ours, name, peak, forgetting)
        )
        for name, (peak, forgetting) in tuning.chosen.items()
    ]
    reported += [
        ReportedPolicy(
            f"{name}_untuned",
            f"{NAMES[name]}, untuned",
            "control",
            None,
            compared.tuned(ours, name, 0.0),
        )
        for name in dict.fromkeys(("constant", tuning.best))
    ]
    reported.append(
        ReportedPolicy("random", "Random agents", "control", None, compared.at_random(ours))
    )

    runs = config.evaluate.num_runs
    say(f"evaluating {len(reported)} policies in the same {runs} runs on fresh seeds")
    keys, rates = run_keys(config, runs, report=True), initial_rates(config, runs)
    with Bar("evaluation runs", len(reported) * runs) as bar:
        curves = evaluator([one.policy for one in reported], keys, rates, bar.show)
    return {
        **_curve_arrays(curves),
        "keys": np.array([one.key for one in reported]),
        "names": np.array([one.name for one in reported]),
        "kinds": np.array([one.kind for one in reported]),
        "peaks": np.array([np.nan if one.peak is None else one.peak for one in reported]),
        "chance_loss": np.array(experiment.chance_loss),
        "steps": np.arange(env.num_decisions + 1) * env.interval,
        "layers": np.array(env.training.layers.names),
        "mean_schedule": np.asarray(table.rates),
        "mean_forgetting": np.asarray(table.forgetting),
        **arrays_of(tuning),
        "shapes": _shapes(env.total_steps),
        **_episodes(experiment, reported, curves, keys),
    }


def _mean_schedule(
    experiment: Experiment, evaluator: Evaluator, ours: ComparedPolicy
) -> LayerHyperparameters:
    """What remains of the agents when nobody looks at the training, from the tuning seeds."""
    config = experiment.config
    runs = max(config.evaluate.tuning_runs, config.evaluate.curve_runs)
    keys, rates = run_keys(config, runs, report=False), initial_rates(config, runs)
    curves = evaluator([ours], keys, rates)
    return jax.tree.map(lambda x: x[0], curves).mean_hyperparameters()


def _curve_arrays(curves: Curves) -> dict[str, np.ndarray]:
    return {
        field.name: getattr(curves, field.name)
        for field in dataclasses.fields(curves)  # pyright: ignore
    }


def _shapes(total_steps: int) -> np.ndarray:
    """Every schedule at peak 1, `[schedule, step]`."""
    steps = np.arange(total_steps)
    return np.stack([np.asarray(fn(steps, total_steps, 1.0)) for fn in SCHEDULES.values()])


def _episodes(
    experiment: Experiment, reported: Sequence[ReportedPolicy], curves: Curves, keys: jax.Array
) -> dict[str, np.ndarray]:
    """Single runs, with the training loss of every inner step, found by repeating them."""
    names = [one.key for one in reported]
    ours, before = names.index("agents"), names.index("base")
    middle = curves.initial_rate.shape[1] // 2
    spikes = [find_spike(losses) for losses in curves.train_loss[ours]]
    heights = [
        -1.0 if spike is None or broken else spike.height
        for spike, broken in zip(spikes, curves.diverged[ours], strict=True)
    ]
    chosen = {
        "base": (before, middle),
        "trained": (ours, middle),
        "spike": (ours, int(np.argmax(heights))),
    }
    arrays = {}
    for name, (policy, run) in chosen.items():
        table = LayerHyperparameters(curves.rates[policy, run], curves.forgetting[policy, run])
        rate = float(curves.initial_rate[policy, run])
        losses = compared.losses_by_step(experiment.env, keys[run], rate, table)
        arrays[f"{name}_rates"] = np.repeat(table.rates, experiment.env.interval, axis=0)
        arrays[f"{name}_forgetting"] = np.repeat(table.forgetting, experiment.env.interval, axis=0)
        arrays[f"{name}_loss"] = losses
    return arrays
