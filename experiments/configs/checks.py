"""Values that cannot work, each said with its option's name before anything is made."""

import math

from experiments.configs.config import Config, NetworkConfig, OptimizerConfig, Range
from ganno_jax.policies.schedules import SCHEDULES

HIGHEST_RATE = 10.0  # of a training: agents' rates end there too
HIGHEST_PEAK = 1000.0  # of a schedule that is tuned
HIGHEST_LEARNING_RATE = 1.0  # of the agents' own Adam
WIDEST_ALPHA = 50.0  # whose exponential is finite, as controller files have it
WIDEST, MOST_MEMBERS = 16_384, 1_000  # networks and teams, likewise
LARGEST_SIZE = 1000.0  # of an update against its weights
MOST = 10**9  # of anything that is counted: below what a counter of 32 bits holds
_MANY = 1e6
_WITHOUT_MOMENTUM = ("sgd", "rmsprop")


def check(config: Config) -> None:
    """Raise a `ValueError` for what can be said of the per-layer agents' settings without the data."""
    task, optimizer, learner = config.task, config.optimizer, config.learner
    env, agent, evaluate = config.env, config.agent, config.evaluate
    require_seeds({"seed": config.seed, "evaluate.seed": evaluate.seed})
    _check_range("task.data_fraction", task.data_fraction, above=0.0, highest=1.0)
    _check_range("task.label_noise", task.label_noise, lowest=0.0, highest=1.0)
    _check_range("task.weight_scale", task.weight_scale, lowest=1e-3, highest=1e3)
    _check_range("task.width", task.width, above=0.0, highest=1.0)
    _check_range(
        "optimizer.initial_rate", optimizer.initial_rate, lowest=1e-12, highest=HIGHEST_RATE
    )
    _check_range("optimizer.weight_decay", optimizer.weight_decay, lowest=0.0, highest=100.0)
    numbers: dict[str, tuple[float | None, float, float]] = {  # value, lowest, highest
        "task.batch_size": (task.batch_size, 1, math.inf),
        "env.num_decisions": (env.num_decisions, 1, _MANY),
        "env.interval": (env.interval, 1, math.inf),
        "env.stability": (env.stability, 0, 1000),
        "env.penalty": (env.penalty, 0, 1000),
        "agent.hidden": (agent.hidden, 1, WIDEST),
        "learner.num_updates": (learner.num_updates, 1, math.inf),
        "learner.num_envs": (learner.num_envs, 1, math.inf),
        "learner.num_minibatches": (learner.num_minibatches, 1, math.inf),
        "learner.group_size": (learner.group_size, 1, math.inf),
        "learner.discount": (learner.discount, 0, 1),
        "learner.trace_decay": (learner.trace_decay, 0, 1),
        "learner.entropy_coefficient": (learner.entropy_coefficient, 0, 100),
        "learner.target_kl": (learner.target_kl, 0, _MANY),
        "learner.noise_correlation": (learner.noise_correlation, 0, 0.999),
        "learner.noise_fall": (learner.noise_fall, 0, 25),
        "agent.sharing": (agent.sharing, 0, 1),
        "agent.horizon_exponent": (agent.horizon_exponent, 0, 2),
        "agent.forgetting": (agent.forgetting, 0, 100),
        "agent.epoch_exponent": (agent.epoch_exponent, 0, 2),
        "agent.coupling": (agent.coupling, 0, 2),
        "evaluate.num_runs": (evaluate.num_runs, 2, math.inf),
        "evaluate.tuning_runs": (evaluate.tuning_runs, 1, math.inf),
        "evaluate.blind_updates": (config.num_blind_updates, 0, math.inf),
        "evaluate.curve_every": (evaluate.curve_every, 0, math.inf),
        "evaluate.curve_runs": (evaluate.curve_runs, 1, math.inf),
        "evaluate.block": (evaluate.block, 1, math.inf),
        "evaluate.chunk": (evaluate.chunk, 1, math.inf),
        "learner.num_epochs": (learner.num_epochs, 1, math.inf),
        "env.num_reward": (env.num_reward, 1, math.inf),
        "run.updates_per_call": (config.run.updates_per_call, 1, math.inf),
        "run.devices": (config.run.devices, 1, math.inf),
    }
    steps = env.num_decisions * env.interval
    numbers["env.num_decisions times env.interval"] = (steps, 1, math.inf)
    numbers |= network_sizes("network", config.network)
    for i, value in enumerate(evaluate.forgettings):
        numbers[f"evaluate.forgettings[{i}]"] = (value, 0, 100)
    require_within(numbers)
    require_below_one({"optimizer.momentum": optimizer.momentum})
    if optimizer.name in _WITHOUT_MOMENTUM and optimizer.momentum != OptimizerConfig().momentum:
        raise ValueError(
            f"optimizer {optimizer.name!r} takes no `optimizer.momentum`; got {optimizer.momentum}."
        )
    require_positive({"learner.learning_rate": learner.learning_rate}, HIGHEST_LEARNING_RATE)
    require_positive({"learner.clip": learner.clip}, 100)
    require_positive({"learner.max_gradient_norm": learner.max_gradient_norm}, _MANY)
    require_positive({"optimizer.clip_norm": optimizer.clip_norm}, _MANY)
    require_positive({"agent.alpha": agent.alpha}, WIDEST_ALPHA)
    require_positive({"agent.peak": agent.peak}, HIGHEST_RATE)
    require_positive({"agent.relative_size": agent.relative_size}, LARGEST_SIZE)
    peaks = {f"evaluate.peaks[{i}]": peak for i, peak in enumerate(evaluate.peaks)}
    require_positive(peaks, HIGHEST_PEAK)
    if not evaluate.peaks:
        raise ValueError(f"`evaluate.peaks` needs a rate for the {len(SCHEDULES)} schedules.")


def network_sizes(
    group: str, network: NetworkConfig
) -> dict[str, tuple[float | None, float, float]]:
    """The sizes of a network with their bounds, for `require_within`."""
    return {
        f"{group}.{name}[{i}]": (size, 1, math.inf)
        for name in ("features", "channels")
        for i, size in enumerate(getattr(network, name) or ())
    }


def require_within(numbers: dict[str, tuple[float | None, float, float]]) -> None:
    """Raise a `ValueError` where a named value, if there is one, is not from its lowest to its highest, or `MOST`."""
    for name, (value, lowest, highest) in numbers.items():
        if value is not None and not lowest <= value <= min(highest, MOST):
            upper = _at_most(highest, value)
            raise ValueError(f"`{name}` must be at least {lowest:g}{upper}; got {value}.")


def _at_most(highest: float, value: float) -> str:
    """The upper bound in words; `MOST`, which is there against senseless numbers, only where it is passed."""
    return "" if highest > MOST and value <= MOST else f" and at most {min(highest, MOST):g}"


def require_below_one(values: dict[str, float]) -> None:
    """Raise a `ValueError` where a named value is not at least 0 and below 1."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"`{name}` must be at least 0 and below 1; got {value}.")


def require_seeds(seeds: dict[str, int]) -> None:
    """Raise a `ValueError` where a named seed is not one of the 2**32 that differ."""
    for name, seed in seeds.items():
        if not 0 <= seed < 2**32:
            raise ValueError(f"`{name}` must be from 0 to 2**32 - 1; got {seed}.")


def require_positive(values: dict[str, float | None], highest: float) -> None:
    """Raise a `ValueError` where a named value, if there is one, is not above 0 and at most `highest`."""
    for name, value in values.items():
        if value is not None and not 0 < value <= highest:
            raise ValueError(f"`{name}` must be above 0 and at most {highest:g}; got {value}.")


def _check_range(
    name: str,
    bounds: Range,
    *,
    lowest: float = -math.inf,
    above: float = -math.inf,
    highest: float = math.inf,
) -> None:
    low, high = bounds
    if not (above < low <= high <= highest and lowest <= low and math.isfinite(high)):
        needs = f"above {above:g}" if above > -math.inf else f"at least {lowest:g}"
        upper = "" if highest == math.inf else f", at most {highest:g}"
        raise ValueError(
            f"`{name}` must be a range low to high, {needs}{upper}; got {low:g} {high:g}."
        )
