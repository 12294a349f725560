"""The rivals of a controller: what a user of Optax would tune, and what one would take without tuning.

Each rival is a `LoopOptimizer` and the settings that its tuning may choose from.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.configs.broad import Effort
from experiments.configs.config import Range
from experiments.problems.problem import ADAM_PEAKS
from ganno_jax.baselines import hypergradient_adam
from ganno_jax.baselines.free import schedule_free_average, uniform
from ganno_jax.baselines.hypergradient import multiplicative
from ganno_jax.evaluation.halving import Rung, grid_neighbours
from ganno_jax.evaluation.optax_loop import LoopOptimizer
from ganno_jax.inner import InnerOptimizer, Training
from ganno_jax.inner.directions import DIRECTIONS, Hyperparameters
from ganno_jax.policies import SCHEDULES
from ganno_jax.policies.schedule_formulas import warmup_cosine
from ganno_jax.tasks.distributions import Constant

SEARCH_SEED = 30_000
# Weight decays per unit of rate: of a decoupled decay, and of one that is added to the gradient.
DECOUPLED_DECAYS = (0.0, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
ADDED_DECAYS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a method can be tuned over: `numbers` have a leading setting axis."""

    numbers: dict[str, np.ndarray]
    rungs: tuple[Rung, ...]
    start: Int[np.ndarray, " setting"] | None = None
    neighbours: Int[np.ndarray, "setting neighbour"] | None = None

    @property
    def count(self) -> int:
        """Of the settings."""
        return len(next(iter(self.numbers.values())))

    def cost(self) -> int:
        """Trainings, about: which neighbours join a rung, and how often the last one grows, depends on what is good."""
        joining = 0.0  # neighbours that join for each setting that goes on from the first rung
        if self.neighbours is not None:
            moved = (self.neighbours != np.arange(self.count)[:, None]).any(0)
            joining = 0.75 * moved.sum()
        trainings = (self.count if self.start is None else self.start.size) * self.rungs[0].seeds
        for before, rung in itertools.pairwise(self.rungs):
            trainings += before.kept * (rung.seeds - before.seeds + joining * rung.seeds)
            joining /= 3
        return round(trainings + joining * self.rungs[-1].seeds)

    def describe(self, setting: int) -> dict[str, Any]:
        """One setting by name."""
        found = {name: values[setting].item() for name, values in self.numbers.items()}
        if "schedule" in found:
            found["schedule"] = list(SCHEDULES)[found["schedule"]]
        return found


def rungs(effort: Effort, *kept: int) -> tuple[Rung, ...]:
    """Two seeds for all settings, four for those kept, all tuning seeds for those kept of them."""
    seeds = [min(n, effort.tuning_seeds) for n in (2, 4, effort.tuning_seeds)]
    return tuple(Rung(n, k) for n, k in zip(seeds, (*kept, 1), strict=True))


def grid(
    effort: Effort,
    kept: tuple[int, int],
    peaks: Range,
    decays: tuple[float, ...],
    starts: tuple[int, ...],
) -> Settings:
    """Peaks and weight decays: every other peak first, with some decays, then finer around what is good.

    Peaks are a factor `effort.peak_factor` apart. The first ones cover `peaks`; three more on either side can be
    reached, so that the range cuts nothing off.

    Args:
      effort: how fine, with how many seeds.
      kept: settings that go on from the first and from the second rung.
      peaks: what the first peaks cover.
      decays: all of them.
      starts: places of those that are tried first.
    """
    axis, first = _peaks(effort, peaks)
    shape = (axis.size, len(decays))
    places = np.arange(axis.size * len(decays)).reshape(shape)
    peak, decay = np.meshgrid(axis, np.asarray(decays), indexing="ij")
    return Settings(
        {"peak": _float(peak), "decay": _float(decay)},
        rungs(effort, *kept),
        places[np.ix_(first, np.asarray(starts))].ravel(),
        grid_neighbours(shape),
    )


def schedules_grid(effort: Effort, peaks: Range, decays: tuple[float, ...], start: int) -> Settings:
    """Every schedule with every peak and weight decay; neighbours keep the schedule."""
    one = grid(effort, (5, 2), peaks, decays, (start,))
    assert one.start is not None
    assert one.neighbours is not None
    offsets = np.arange(len(SCHEDULES)) * one.count
    numbers = {name: np.tile(values, len(SCHEDULES)) for name, values in one.numbers.items()}
    return Settings(
        {"schedule": np.repeat(np.arange(len(SCHEDULES)), one.count), **numbers},
        one.rungs,
        (offsets[:, None] + one.start).ravel(),
        (offsets[:, None, None] + one.neighbours).reshape(-1, one.neighbours.shape[1]),
    )


def decays_of(optimizer: str, own: float) -> tuple[tuple[float, ...], int]:
    """Weight decays to try over one of `directions.DIRECTIONS`, and the place of its own."""
    usual = DECOUPLED_DECAYS if DIRECTIONS[optimizer][1] else ADDED_DECAYS
    decays = tuple(sorted({*usual, own}))
    return decays, decays.index(own)


def with_decay(
    optimizer: InnerOptimizer,
    hyperparameters: Hyperparameters,
    decay: Float[Array, ""] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A direction with its weight decay, or with another one: as Optax takes it, without a learning rate.

    A decoupled decay is of matrices only.
    """
    number = hyperparameters.weight_decay if decay is None else decay
    if decay is None and optimizer.weight_decay is None:
        return optimizer.transformation(hyperparameters)
    if not optimizer.decoupled_decay:
        optimizer = optimizer.replace(weight_decay=Constant(0.0))  # so that the program has one
        return optimizer.transformation(hyperparameters.replace(weight_decay=number))
    bare = optimizer.replace(weight_decay=None).transformation(hyperparameters)

    def matrices(params):
        return jax.tree.map(lambda w: w.ndim > 1, params)

    return optax.chain(bare, optax.add_decayed_weights(number, matrices))


def over_direction(optimizer: InnerOptimizer, total_steps: int, tunes_decay: bool) -> LoopOptimizer:
    """Any of `SCHEDULES` over a direction; its weight decay is a number too if that is tuned.

    `ReduceOnPlateau` is left out: it follows no schedule but the loss.
    """
    branches = [
        lambda peak, f=f: f(jnp.arange(total_steps), total_steps, peak) for f in SCHEDULES.values()
    ]

    def make(numbers, start):
        decay = numbers["decay"] if tunes_decay else None
        direction = with_decay(optimizer, start.hyperparameters, decay)
        rates = jax.lax.switch(numbers["schedule"], branches, numbers["peak"])
        return optax.chain(direction, _following(rates))

    return LoopOptimizer(make)


def adamw(total_steps: int) -> LoopOptimizer:
    """AdamW with a peak and a weight decay, under a warm-up cosine."""
    return LoopOptimizer(
        lambda numbers, start: optax.adamw(
            _warmup_cosine(total_steps, numbers["peak"]), weight_decay=numbers["decay"]
        )
    )


def muon(training: Training, total_steps: int) -> LoopOptimizer:
    """Muon with a peak and a weight decay, under a warm-up cosine.

    Its updates are scaled to Adam's size (Liu et al. 2025, arXiv:2502.16982), so that one rate serves both. What is no
    matrix, embeddings and the output layer are Adam's.
    """

    def make(numbers, start):
        return optax.contrib.muon(
            _warmup_cosine(total_steps, numbers["peak"]),
            weight_decay=numbers["decay"],
            adam_weight_decay=numbers["decay"],
            muon_weight_dimension_numbers=muon_matrices(training, start.params),
            consistent_rms=0.2,
        )

    return LoopOptimizer(make)


def muon_matrices(training: Training, params: Any) -> Any:
    """Which axes of a leaf are the rows and columns of a matrix: the last are outputs, all others inputs.

    Query, key and value kernels with an axis of heads have two axes of outputs. None for Adam's leaves.
    """
    last = set(training.layers.leaves[-1])
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    numbers = []
    for place, (path, leaf) in enumerate(leaves):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if leaf.ndim < 2 or place in last or re.search(r"embed(ding)?[^/]*$|pos_emb", name):
            numbers.append(None)
            continue
        outputs = 2 if leaf.ndim == 3 and re.search(r"(query|key|value|qkv)/kernel$", name) else 1
        axes = tuple(range(leaf.ndim))
        numbers.append(optax.contrib.MuonDimensionNumbers(axes[:-outputs], axes[-outputs:]))
    return jax.tree.unflatten(structure, numbers)


def nadamw(total_steps: int) -> LoopOptimizer:
    """NAdamW with all its numbers, under a warm-up cosine."""
    return LoopOptimizer(
        lambda numbers, start: optax.nadamw(
            _warmup_cosine(total_steps, numbers["peak"]),
            b1=numbers["momentum"],
            b2=numbers["second_decay"],
            eps=numbers["epsilon"],
            weight_decay=numbers["decay"],
        )
    )


def nadamw_trials(effort: Effort) -> Settings:
    """Settings of `nadamw` drawn at random.

    As in the comparison of Metz et al. 2022, arXiv:2211.09760, with other ranges and fewer trials.
    """
    rng = np.random.default_rng(SEARCH_SEED)
    draw = {
        "momentum": lambda: 1 - 10 ** rng.uniform(-2, -0.5),
        "second_decay": lambda: 1 - 10 ** rng.uniform(-3.5, -1),
        "epsilon": lambda: 10 ** rng.uniform(-10, -5),
        "decay": lambda: 10 ** rng.uniform(-5, 0.5),
        "peak": lambda: 10 ** rng.uniform(-4, -1),
    }
    trials = [[number() for number in draw.values()] for _ in range(effort.num_trials)]
    numbers = {
        name: _float(column) for name, column in zip(draw, np.transpose(trials), strict=True)
    }
    return Settings(numbers, rungs(effort, 8, 3))


def one_rate(make: Callable[[Any], optax.GradientTransformation]) -> LoopOptimizer:
    """A method with a peak as its only number."""
    return LoopOptimizer(lambda numbers, start: make(numbers["peak"]))


def rates_grid(effort: Effort) -> Settings:
    """Peaks for `one_rate`."""
    found = grid(effort, (3, 2), ADAM_PEAKS, (0.0,), (0,))
    return dataclasses.replace(found, numbers={"peak": found.numbers["peak"]})


def hypergradient(peak: Any) -> optax.GradientTransformation:
    """Its rate changes by up to 2% per step."""
    return hypergradient_adam(peak, 0.02, multiplicative)


def careful_adamw(total_steps: int) -> optax.GradientTransformation:
    """AdamW as a careful user takes it: 1e-3 with decay 0.1 under a warm-up cosine."""
    return optax.adamw(_warmup_cosine(total_steps, 1e-3), weight_decay=0.1)


def algoperf_nadamw(total_steps: int) -> optax.GradientTransformation:
    """NAdamW with the constants of AlgoPerf's self-tuning baseline."""
    rates = _warmup_cosine(total_steps, 1.9e-3)
    return optax.nadamw(rates, b1=1 - 0.091, b2=0.9989, weight_decay=0.081)


def algoperf_schedule_free(total_steps: int) -> optax.GradientTransformation:
    """Schedule-Free AdamW with the constants that came first in AlgoPerf's self-tuning track."""
    method = optax.contrib.schedule_free_adamw(
        0.0025,
        warmup_steps=max(1, round(0.02 * total_steps)),
        b1=0.9,
        b2=0.9955,
        weight_decay=0.081,
    )
    return uniform(method, "schedule_free", needs_value=False)


UNTUNED: dict[
    str, tuple[Callable[[int], optax.GradientTransformation], Callable[..., Any] | None]
] = {
    "AdamW 1e-3": (careful_adamw, None),
    "NAdamW, AlgoPerf": (algoperf_nadamw, None),
    "Schedule-Free AdamW, AlgoPerf": (algoperf_schedule_free, schedule_free_average),
}
"""What a careful user takes without any tuning: the method of so many steps, and which parameters are evaluated."""


def _peaks(
    effort: Effort, bounds: Range
) -> tuple[Float[np.ndarray, " peak"], Int[np.ndarray, " first"]]:
    """All peaks, and the places of those that are tried first."""
    low, high = bounds
    count = int(np.ceil(np.log(high / low) / np.log(effort.peak_factor) / 2 - 1e-9))
    steps = np.arange(-3, 2 * count + 4)
    factor = (high / low) ** (1 / max(2 * count, 1))
    return low * factor**steps, 3 + 2 * np.arange(count + 1)


def _following(rates: Float[Array, " step"]) -> optax.GradientTransformation:
    return optax.scale_by_learning_rate(lambda count: rates[count])


def _warmup_cosine(total_steps: int, peak: Any) -> optax.Schedule:
    rates = warmup_cosine(jnp.arange(total_steps), total_steps, peak)
    return lambda count: rates[count]


def _float(values: Any) -> Float[np.ndarray, " setting"]:
    return np.asarray(values, np.float32).ravel()
