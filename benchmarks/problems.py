"""The inner problems that benchmarks run, and how many operations a step of theirs takes.

Images are random bytes where the question is speed only: no step depends on what they show.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from benchmarks import common
from ganno_jax.env import Env
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import Training, directions
from ganno_jax.tasks import Dataset, from_arrays, from_linen, sources
from ganno_jax.tasks.distributions import LogUniform
from ganno_jax.tasks.networks import CNN, MLP, resnet18

NUM_CLASSES = 10


@dataclass(frozen=True)
class Problem:
    """A network with the sizes at which it is measured."""

    name: str
    description: str
    make_module: Callable[[str, str], nn.Module]  # of a convolution route and a type
    image: tuple[int, int, int] | None  # None: scikit-learn's digits
    batch: int
    interval: int  # inner steps per decision
    num_reward: int  # reward examples per decision
    num_examples: int = 2048
    dtype: str = "float32"  # that the network computes in

    def dataset(self) -> Dataset:
        """On the host."""
        if self.image is None:
            return sources.load("digits")
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (self.num_examples, *self.image), np.uint8)
        labels = rng.integers(0, NUM_CLASSES, self.num_examples)
        return from_arrays(images, labels, num_classes=NUM_CLASSES)

    def env(self, route: str = "auto", num_decisions: int = 100) -> Env:
        """The env of one training, momentum 0.9."""
        family = from_linen(self.make_module(route, self.dtype), self.dataset(), name=self.name)
        optimizer = directions.named("momentum", LogUniform(1e-3, 1e-2))
        return Env.create(
            Training.create(family, optimizer, self.batch),
            LogLossDecrease(),
            num_decisions=num_decisions,
            interval=self.interval,
            num_reward=self.num_reward,
        )

    def smaller(self, **changes: Any) -> "Problem":
        """With other sizes."""
        return replace(self, **changes)


PROBLEMS = {
    "digits": Problem(
        "digits",
        "MLP 64-32-10 on 8x8 digits",
        lambda route, dtype: MLP((32,), dtype=dtype),
        image=None,
        batch=64,
        interval=20,
        num_reward=64,
    ),
    "cnn": Problem(
        "cnn",
        "two-layer CNN (3x3, 16 and 32 channels, max-pool) on 28x28x1",
        lambda route, dtype: CNN((16, 32), route=route, dtype=dtype),
        image=(28, 28, 1),
        batch=64,
        interval=50,
        num_reward=64,
    ),
    "resnet18": Problem(
        "resnet18",
        "ResNet-18 on 16x16x3",
        lambda route, dtype: resnet18(route=route, dtype=dtype),
        image=(16, 16, 3),
        batch=16,
        interval=4,
        num_reward=16,
        num_examples=512,
    ),
}


def problem_here(name: str, precision: str = "float32") -> Problem:
    """A problem at the size that suits the platform; products are compiled at this precision from here on."""
    problem = PROBLEMS[name].smaller(dtype=common.use_precision(precision))
    if name == "resnet18" and jax.default_backend() != "cpu":
        return problem.smaller(
            description="ResNet-18 on 32x32x3", image=(32, 32, 3), batch=128, num_reward=128
        )
    return problem


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which networks, at which precisions."""
    parser.add_argument("--networks", nargs="+", choices=list(PROBLEMS))
    parser.add_argument("--precisions", nargs="+", choices=list(common.PRECISIONS))


def asked(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Precision and network of `add_options`; by default what suits the platform."""
    usual = ("digits", "cnn") if jax.default_backend() == "cpu" else tuple(PROBLEMS)
    for precision in args.precisions or common.usual_precisions():
        for name in args.networks or usual:
            yield precision, name


def product_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiplications and additions in the matrix products of a function, from its trace.

    Elementwise work does not count, and neither does what a route adds around its products.

    Raises:
      ValueError: a native convolution or a loop, whose operations cannot be told from the shapes.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            out = math.prod(equation.outvars[0].aval.shape)
            total += 2 * out * math.prod(left[i] for i in contracted)
        elif name in ("conv_general_dilated", "scan", "while"):
            raise ValueError(f"cannot count the operations of `{name}`.")
        else:
            inner = [equation.params.get(key) for key in ("jaxpr", "call_jaxpr", "fun_jaxpr")]
            total += sum(_count(getattr(j, "jaxpr", j)) for j in inner if j is not None)
    return total


def step_flops(problem: Problem) -> int:
    """Of the loss and gradient of one batch: the operations every variant has to do."""
    training = problem.env("im2col").training
    state = jax.eval_shape(training.init, jax.random.key(0))
    indices = jax.ShapeDtypeStruct((problem.batch,), jnp.int32)

    def gradient(params: Any, state: Any, indices: Any) -> Any:
        batch = training.family.train_batch(state.task, indices)

        def loss(params: Any) -> Any:
            return state.task.loss(params, state.model_state, batch, state.key)[0]

        return jax.grad(loss)(params)

    return product_flops(gradient, state.params, state, indices)
