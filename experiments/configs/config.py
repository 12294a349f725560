"""What an experiment consists of, as frozen dataclasses: the command line is generated from them.

Imports nothing heavy, so that a wrong argument is answered at once. `experiments.agents.build` turns a
`Config` into objects and checks the numbers that need the data; bounds of the others stand beside them.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.configs.agents import AgentConfig, LearnerConfig
from experiments.configs.bounds import (
    HIGHEST_PEAK,
    HIGHEST_RATE,
    MANY,
    Ascending,
    BelowOne,
    Count,
    Each,
    Positive,
    Rising,
    SeedNumber,
    SomeCount,
    Within,
)
from experiments.configs.place import RunConfig

# As it was started: by its console entry, or from a checkout.
PROGRAM = "ganno-jax" if Path(sys.argv[0]).stem == "ganno-jax" else "python -m experiments.run"
Scale = Literal["small", "paper"]
AnyScale = Literal["small", "medium", "paper"]
Range = tuple[float, float]


@dataclass(frozen=True)
class DataConfig:
    """The data that the inner networks learn from."""

    name: str = "digits"
    """Data set: digits, fashion_mnist, mnist, cifar10, or any prepared TFDS image set."""
    dir: str | None = None
    """Folder to search; by default TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    path: str | None = None
    """An .npz file with x, y (and x_test, y_test), instead of a named set."""
    image_size: int | None = None
    """Shrink images to this many pixels a side."""
    max_examples: int | None = None
    """At most so many examples before the validation split is cut, and as many for testing."""


@dataclass(frozen=True)
class NetworkConfig:
    """The inner network. What a network does not take must stay at its default."""

    name: str = "mlp"
    """Network: softmax, mlp, cnn, deep_cnn, resnet8, resnet18, wide_resnet, vit, ..."""
    features: Annotated[tuple[int, ...] | None, Each(Within(1))] = None
    """Units of each hidden layer (mlp); by default the network's own."""
    channels: Annotated[tuple[int, ...] | None, Each(Within(1))] = None
    """Filters of each convolution (cnn), or of the first stage (one number, resnet)."""
    activation: str | None = None
    """Activation: relu, tanh, gelu, silu, elu, linear (mlp, cnn)."""
    norm: Literal["batch", "group"] | None = None
    """Normalization (resnet)."""
    route: str | None = None
    """How convolutions are computed; by default chosen for the platform."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of the computation (mlp, cnn, resnet): parameters, logits and what the agents see stay float32."""
    remat: bool | None = None
    """Compute activations again in the backward pass (resnet): less memory, about a third more time."""


@dataclass(frozen=True)
class TaskConfig:
    """How one inner training differs from the next. Ranges are drawn from anew for each training."""

    batch_size: Count = 64
    """Examples per inner step."""
    data_fraction: Annotated[Range, Rising(above=0.0, highest=1.0)] = (1.0, 1.0)
    """Share of the training examples in use, log-uniform, in (0, 1]."""
    label_noise: Annotated[Range, Rising(lowest=0.0, highest=1.0)] = (0.0, 0.0)
    """Probability of a wrong training label, uniform, in [0, 1]."""
    weight_scale: Annotated[Range, Rising(lowest=1e-3, highest=1e3)] = (1.0, 1.0)
    """Factor on the initial kernels, log-uniform, > 0."""
    width: Annotated[Range, Rising(above=0.0, highest=1.0)] = (1.0, 1.0)
    """Share of hidden units in use, uniform, in (0, 1]."""
    crop_padding: Annotated[int, Within(0, 64)] = 0
    """Pixels by which training images are moved at most, anew in each step, >= 0."""
    flip: bool = False
    """Half of the training images are mirrored, anew in each step."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The inner optimizer. Its learning rates are what the agents set."""

    name: str = "momentum"
    """Optimizer: sgd, momentum, nesterov, rmsprop, adam, adamw, nadam, nadamw, lion, muon."""
    initial_rate: Annotated[Range, Rising(lowest=1e-12, highest=HIGHEST_RATE)] = (1e-5, 3.0)
    """Learning rate before the first decision, log-uniform, > 0."""
    momentum: Annotated[float, BelowOne()] = 0.9
    """First-moment decay, in [0, 1)."""
    weight_decay: Annotated[Range, Rising(lowest=0.0, highest=100.0)] = (0.0, 0.0)
    """Weight decay, uniform, >= 0 (decoupled for adamw and lion, else L2)."""
    clip_norm: Annotated[float | None, Positive(MANY)] = None
    """Largest global gradient norm, > 0; None for no clipping."""


@dataclass(frozen=True)
class EnvConfig:
    """A training as an episode."""

    num_decisions: Annotated[int, Within(1, MANY)] = 30
    """Decisions per training."""
    interval: Count = 20
    """Inner steps per decision."""
    episode_decisions: int | None = None
    """Cut episodes after so many decisions (truncation); None trains to the end."""
    num_measured: Annotated[int, Within(1)] = 2
    """Inner steps per window over which the per-layer statistics are taken; at most `interval`."""
    num_reward: Annotated[int, Within(1, MANY)] = 512
    """Training examples that each training sets aside for its rewards (at most a quarter of them)."""
    reward: Literal[
        "log_loss", "train_log_loss", "terminal_accuracy", "terminal_log_loss", "difference"
    ] = "log_loss"
    """Reward: decrease of the log loss (of reward or of training examples), terminal, or per-agent difference."""
    stability: Annotated[float, Within(0, 1000)] = 0.0
    """Weight of the penalty on loss spikes, >= 0 (log_loss, train_log_loss, terminal_accuracy)."""
    penalty: Annotated[float | None, Within(0, 1000)] = None
    """A diverged training is paid at most minus this; by default the reward's own."""


@dataclass(frozen=True)
class EvaluateConfig:
    """What the trained agents are compared with, on seeds that the training never used."""

    after_training: bool = True
    """Evaluate once the training is done; the command `evaluate` does it at any time."""
    num_runs: Annotated[int, Within(2)] = 256
    """Reported runs of every policy; their initial rates cover the whole range evenly."""
    tuning_runs: Count = 32
    """Seeds of the finalists among schedules and peaks; other seeds than the reported ones."""
    peaks: Annotated[tuple[float, ...], Each(Positive(HIGHEST_PEAK)), Ascending()] = (
        0.01,
        0.018,
        0.032,
        0.056,
        0.1,
        0.18,
        0.32,
        0.56,
        1.0,
    )
    """Peak rates tried for every schedule, rising."""
    forgettings: Annotated[tuple[float, ...], Each(Within(0, 100))] = ()
    """Forgetting over the whole training tried at every peak; none by default."""
    blind_updates: Annotated[int | None, Within(0)] = None
    """Updates of the state-blind agents, which see no features; None: as many as of the agents, 0 for none."""
    curve_every: Annotated[int, Within(0)] = 20
    """Evaluate the agents every so many updates, for the learning curve; 0 for never."""
    curve_runs: Count = 64
    """Runs of each point of the learning curve (tuning seeds)."""
    block: Count = 64
    """Trainings at a time: all evaluations share one compiled program of this size."""
    chunk: SomeCount = None
    """Examples at a time in the final losses, to bound the memory."""
    seed: SeedNumber = 0
    """Of the tuned and the reported runs; they share no random numbers with the training."""


@dataclass(frozen=True)
class Config:
    """An experiment."""

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    scale: AnyScale = "small"
    """small: minutes on two CPU cores; medium: hours, of real sizes; paper: for an accelerator."""
    seed: SeedNumber = 0
    """Of the agents' training."""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def run_name(self) -> str:
        """Of the run's folder."""
        return self.run.name or self.preset

    @property
    def num_blind_updates(self) -> int:
        """Of the state-blind agents; 0: there are none."""
        given = self.evaluate.blind_updates
        return self.learner.num_updates if given is None else given
