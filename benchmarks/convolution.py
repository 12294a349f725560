"""Which convolution route is fastest for a training step of the two-layer CNN here, per mapping?

    python -m benchmarks.convolution --json out.json

Each row is one way to run the same SGD steps of independent trainings in one compiled program: a
route of `ops.conv`, and the trainings side by side (`vmap`), one after another (`map`), in chunks of
four (`chunks`), or, where there are several devices, one after another on each of them. All rows take
turns with a large matrix product; a row's `share_of_matmul_rate` compares the convolutions' and the
dense layer's multiplications with it. Times are medians.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks import common
from ganno_jax.tasks.networks import CNN

COLUMNS = {
    "variant": "",
    "network": "",
    "trainings": "d",
    "batch": "d",
    "ms_per_inner_step": ".3f",
    "share_of_matmul_rate": ".1%",
    "compile_seconds": ".1f",
}
ROUTES = ("native", "im2col", "batch_last", "shifted", "direct", "auto")
MAPPINGS = ("vmap", "map", "chunks")
CHANNELS = (16, 32)
SIZE = 28
NUM_CLASSES = 10
RATE = 0.01


def flops_per_step(batch: int) -> float:
    """Multiplications and additions: forward, weight gradients, all input gradients but the first."""
    conv0 = 2 * batch * SIZE**2 * 9 * CHANNELS[0]
    conv1 = 2 * batch * (SIZE // 2) ** 2 * 9 * CHANNELS[0] * CHANNELS[1]
    dense = 2 * batch * (SIZE // 4) ** 2 * CHANNELS[1] * NUM_CLASSES
    return 2 * conv0 + 3 * conv1 + 3 * dense


def train(route: str, batch: int, num_steps: int, params: PyTree, key: jax.Array, data: Any):
    """`num_steps` SGD steps of one training; returns the last loss and the parameters.

    Args:
      route: of the convolutions.
      batch: examples of a step.
      num_steps: SGD steps.
      params: to start from.
      key: of the batches.
      data: images and their labels.
    """
    images, labels = data
    module = CNN(CHANNELS, num_classes=NUM_CLASSES, route=route)

    def loss_fn(params, x, y):
        log_probabilities = jax.nn.log_softmax(module.apply({"params": params}, x))
        return -jnp.mean(jnp.take_along_axis(log_probabilities, y[:, None], 1))

    def step(params, key):
        index = jax.random.randint(key, (batch,), 0, images.shape[0])
        loss, gradients = jax.value_and_grad(loss_fn)(params, images[index], labels[index])
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradients), loss

    params, losses = jax.lax.scan(step, params, jax.random.split(key, num_steps))
    return losses[-1], params


def run_mapped(mapping: str, one: Callable, params: PyTree, keys: jax.Array, data: Any):
    """All trainings by one of the mappings.

    Args:
      mapping: in `MAPPINGS`.
      one: a training, of parameters, key and data.
      params: of all trainings.
      keys: one per training.
      data: of all trainings, the same.
    """
    if mapping == "vmap":
        return jax.vmap(one, (0, 0, None))(params, keys, data)
    batch_size = {"map": None, "chunks": 4}[mapping]
    return jax.lax.map(lambda a: one(*a, data), (params, keys), batch_size=batch_size)


def on_devices(one: Callable, params: PyTree, keys: jax.Array, data: Any):
    """One after another on each of as many devices as divide the trainings.

    Args:
      one: a training, of parameters, key and data.
      params: of all trainings.
      keys: one per training.
      data: of all trainings, the same.
    """
    mapped = partial(run_mapped, "map", one)
    return common.sharded(mapped, common.mesh_for(len(keys)), 1)(params, keys, data)


def measure(args: argparse.Namespace) -> list[common.Row]:
    """One row per route and mapping, fastest first."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2048, SIZE, SIZE, 1)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, NUM_CLASSES, 2048))
    keys = jax.random.split(jax.random.key(0), args.trainings)
    module = CNN(CHANNELS, num_classes=NUM_CLASSES)
    params = jax.jit(jax.vmap(lambda key: module.init(key, images[:1])["params"]))(keys)
    mappings = {name: partial(run_mapped, name) for name in args.mappings}
    num_devices = common.mesh_for(args.trainings).size
    if num_devices > 1:
        mappings[f"map, {num_devices} devices"] = on_devices
    made = {}
    for mapping, run in mappings.items():
        for route in args.routes:
            program = partial(run, partial(train, route, args.batch, args.steps))
            made[f"{route}, {mapping}"] = common.compiled(program, params, keys, (images, labels))
    calls = {name: call for name, (call, _) in made.items()}
    fewer = {name: args.native_repeats for name in calls if name.startswith("native")}
    timings = common.take_turns(calls | common.matmul_calls(), args.repeats, fewer)
    matmul_rate = common.matmul_rate(timings)
    inner_steps = args.trainings * args.steps
    cost = {name: timings[name].median / inner_steps for name in calls}
    rows = [
        {
            "variant": name,
            "network": f"cnn {CHANNELS[0]}-{CHANNELS[1]}, {SIZE}x{SIZE}x1",
            "trainings": args.trainings,
            "batch": args.batch,
            "ms_per_inner_step": 1e3 * seconds,
            "inner_steps_per_second": 1 / seconds,
            "share_of_matmul_rate": flops_per_step(args.batch) / seconds / matmul_rate,
            "matmul_gflops": matmul_rate / 1e9,
            "compile_seconds": made[name][1],
        }
        for name, seconds in cost.items()
    ]
    return sorted(rows, key=lambda row: row["ms_per_inner_step"])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--trainings", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="SGD steps per training and call")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--native-repeats", type=int, default=2, help="native is slow on a CPU")
    parser.add_argument("--routes", nargs="+", default=ROUTES, choices=ROUTES)
    parser.add_argument("--mappings", nargs="+", default=MAPPINGS, choices=MAPPINGS)
    args = parser.parse_args(arguments)
    if min(args.trainings, args.batch, args.steps, args.repeats, args.native_repeats) < 1:
        parser.error("trainings, batch, steps and repeats must be at least 1")
    if args.quick:
        args.trainings, args.batch, args.steps, args.repeats = 4, 2, 1, 1
        args.routes, args.mappings = args.routes[1:2], args.mappings[:1]
    common.use_devices()
    common.finish(measure(args), COLUMNS, args.json)


if __name__ == "__main__":
    main()
