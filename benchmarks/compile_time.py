"""How long does the largest preset take to compile?

    python -m benchmarks.compile_time --json out.json

The learner update of `cifar_resnet18` at paper scale (16 ResNet-18 of 32x32x3, reset, env steps,
MAPPO update) on one device, traced, lowered and compiled, not run;
`compile_seconds` is all of that. Random images stand for CIFAR-10,
because the program depends on shapes only.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from benchmarks import common
from experiments.agents.build import build
from experiments.configs import presets
from experiments.configs.config import Config, DataConfig
from ganno_jax.learners import train

COLUMNS = {
    "network": "",
    "variant": "",
    "trainings": "d",
    "batch": "d",
    "lower_seconds": ".1f",
    "compile_seconds": ".1f",
    "cpu_seconds": ".1f",
    "peak_memory_mb": ".0f",
}
NUM_EXAMPLES = 4096


def with_random_images(config: Config, folder: Path, size: int) -> Config:
    """The same configuration on random images of CIFAR-10's shape.

    Args:
      config: whose data are replaced.
      folder: for the file of images.
      size: pixels a side.
    """
    rng = np.random.default_rng(0)
    path = folder / "images.npz"
    x = rng.integers(0, 256, (NUM_EXAMPLES, size, size, 3), np.uint8)
    y = np.arange(NUM_EXAMPLES) % 10
    np.savez(path, x=x, y=y, x_test=x[:100], y_test=y[:100])
    return dataclasses.replace(config, data=DataConfig(path=str(path)))


def measure(scale: str) -> list[common.Row]:
    """One row."""
    config = presets.cifar_resnet18("small" if scale == "small" else "paper")
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, devices=1))
    with tempfile.TemporaryDirectory() as folder:
        size = config.data.image_size or 32
        experiment = build(with_random_images(config, Path(folder), size))
    learner = experiment.learner
    state = learner.init(jax.random.key(0))
    with common.Stopwatch() as tracing:
        lowered = train.lower(learner, state, 1, experiment.mesh)
    with common.Stopwatch() as compiling:
        lowered.compile()
    return [
        {
            "network": f"cifar_resnet18 ({scale})",
            "variant": "learner update",
            "trainings": config.learner.num_envs,
            "batch": config.task.batch_size,
            "lower_seconds": tracing.seconds,
            "compile_seconds": tracing.seconds + compiling.seconds,
            "cpu_seconds": tracing.cpu_seconds + compiling.cpu_seconds,
            "peak_memory_mb": common.peak_memory() / 2**20,
        }
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    args = parser.parse_args(arguments)
    common.use_devices(1)
    common.finish(measure("small" if args.quick else "paper"), COLUMNS, args.json)


if __name__ == "__main__":
    main()
