"""Training problems as plain values: those that the broad controller learns on, those that the suites ask."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from flax import linen as nn

from experiments.configs.config import Range
from ganno_jax.env import Env
from ganno_jax.env.rewards import LogLossDecrease, Reward
from ganno_jax.inner import InnerOptimizer, Training, directions
from ganno_jax.tasks import (
    CropsAndFlips,
    Dataset,
    episode_loss,
    from_linen,
    networks,
    reconstruction_error,
    sources,
)
from ganno_jax.tasks.distributions import Constant, Distribution, LogUniform, Uniform

INITIAL_RATES: Range = (1e-5, 1.0)
ADAM_PEAKS: Range = (1e-4, 0.1)  # where peak rates of Adam and its kin are tuned
OF_GRADIENT_SIZE = ("sgd", "momentum", "nesterov")  # directions; elements of the others are near 1
# Held-out examples of networks that take more time for them than for a training.
FEW_HELD_OUT: Mapping[str, Any] = MappingProxyType({"max_held_out": 1_000})
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_KINDS: dict[str, type[Distribution]] = {
    "data_fraction": LogUniform,
    "label_noise": Uniform,
    "width": Uniform,
    "weight_scale": LogUniform,
    "rescaling": LogUniform,
}
# How many outputs a network is told to have, where it is not by `num_classes`.
OUTPUTS = {
    "autoencoder": None,
    "cart_pole": None,
    **dict.fromkeys(("gru", "lstm", "transformer"), "vocab_size"),
}


@dataclass(frozen=True)
class Problem:
    """What is trained, with which optimizer, for how long."""

    name: str
    data: Mapping[str, Any]  # arguments of `sources.load`
    network: Mapping[str, Any]  # arguments of `networks.build`
    optimizer: str = "momentum"  # one of `directions.DIRECTIONS`
    weight_decay: Range = (0.0, 0.0)  # drawn log-uniformly for each training
    initial_rate: Range = INITIAL_RATES
    batch_size: int = 64
    num_decisions: int = 30
    interval: int = 20  # inner steps per decision
    num_reward: int = 256
    augmentation: Mapping[str, Any] | None = None  # arguments of `CropsAndFlips`
    varied: Mapping[str, Range] = field(default_factory=lambda: _NOTHING)  # fields of `TaskFamily`
    peaks: Range = (1e-3, 1.0)  # range in which a schedule's peak rate is tuned

    def of_steps(self, steps: int) -> "Problem":
        """The same problem, trained for so many steps with as near to 30 decisions as divides them.

        Raises:
          ValueError: no number of decisions in [20, 60] does; the message names the nearest steps that work.
        """
        num_decisions = _decisions(steps)
        if num_decisions is None:
            nearest = min((n for n in range(steps, 2 * steps + 60) if _decisions(n)), default=20)
            raise ValueError(
                f"the steps must divide into 20 to 60 equal windows; {steps} do not, {nearest} do."
            )
        return replace(self, num_decisions=num_decisions, interval=steps // num_decisions)

    def is_named(self, words: Sequence[str]) -> bool:
        """Whether one of the words stands in its name; without words it is meant too."""
        return not words or any(word in self.name for word in words)

    @property
    def total_steps(self) -> int:
        """Inner steps of a whole training."""
        return self.num_decisions * self.interval


def build(
    problem: Problem,
    data_dir: str | None,
    *,
    reward: Reward | None = None,
    optimizer: InnerOptimizer | None = None,
    hidden_loss: float = 0.0,
) -> Env:
    """The env of a problem.

    Args:
      problem: what is trained.
      data_dir: folder with the data sets.
      reward: of a transition; the decrease of the log loss on reward examples by default.
      optimizer: in the place of the problem's own.
      hidden_loss: share of the trainings in which agents do not see the loss, [0, 1].

    Raises:
      ValueError: an unknown name, or values that do not fit.
      FileNotFoundError: the data set is not there; the message says how to get it.
    """
    dataset = sources.load(data_dir=data_dir, **problem.data)
    loss: Callable[..., Any] | None = None  # by the targets: cross-entropy or squared error
    if problem.network["name"] == "autoencoder" and dataset.num_classes:
        loss = reconstruction_error
    if problem.network["name"] == "cart_pole":
        loss = episode_loss
    varied = {key: _KINDS[key](*bounds) for key, bounds in problem.varied.items()}
    augmentation = problem.augmentation and CropsAndFlips(**problem.augmentation)
    family = from_linen(
        make_network(problem, dataset),
        dataset,
        loss,
        name=problem.name,
        augmentation=augmentation,
        **varied,
    )
    training = Training.create(family, optimizer or _optimizer(problem), problem.batch_size)
    return Env.create(
        training,
        reward or LogLossDecrease(),
        num_decisions=problem.num_decisions,
        interval=problem.interval,
        num_reward=problem.num_reward,
        hidden_loss=hidden_loss,
    )


def make_network(problem: Problem, dataset: Dataset) -> nn.Module:
    """The network of a problem, with as many outputs as the data set has classes, or numbers to predict.

    Raises:
      ValueError: an unknown name, settings that do not fit, or a network for tokens where there are none.
    """
    settings = dict(problem.network)
    name = settings.pop("name")
    outputs = OUTPUTS.get(name, "num_classes")
    if outputs == "vocab_size" and dataset.scale is not None:
        raise ValueError(f"network {name!r} reads token ids; {dataset.name} has none.")
    if outputs is not None:
        settings[outputs] = dataset.num_classes or math.prod(dataset.target_shape)
    return networks.build(name, **settings)


def _decisions(steps: int) -> int | None:
    """Of 20 to 60 the number nearest to 30 that divides `steps`; None if there is none."""
    return min(
        (n for n in range(20, 61) if steps % n == 0), key=lambda n: abs(n - 30), default=None
    )


def _optimizer(problem: Problem) -> InnerOptimizer:
    low, high = problem.weight_decay
    numbers: dict[str, Distribution] = {}
    if high > 0:
        numbers["weight_decay"] = Constant(low) if low == high else LogUniform(low, high)
    return directions.named(problem.optimizer, LogUniform(*problem.initial_rate), **numbers)
