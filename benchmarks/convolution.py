"""Which convolution route is fastest for a training step of the two-layer CNN here, per mapping?

    python -m benchmarks.convolution --json out.json

Each row is one way to run the same SGD steps of independent trainings in one compiled program: a
route of `ops.conv`, and the trainings side by side (`vmap`), one after another (`map`), in chunks of
four (`chunks`), or, where there are several devices, one after another on each of them (two cores as
two devices: XLA_FLAGS=--xla_force_host_platform_device_count=2). The yardstick, a matrix product of
2048 in float32 on one device, runs between the repeats of every row; a row's `share_of_matmul_rate`
compares the convolutions' and the dense layer's multiplications with it. Times are medians.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from ganno_jax.tasks.networks import CNN

ROUTES = ("native", "im2col", "batch_last", "shifted", "direct", "auto")
MAPPINGS = ("vmap", "map", "chunks")
CHANNELS = (16, 32)
SIZE = 28
NUM_CLASSES = 10
YARDSTICK = 2048
RATE = 0.01


def flops_per_step(batch: int) -> float:
    """Multiplications and additions: forward, weight gradients, all input gradients but the first."""
    conv0 = 2 * batch * SIZE**2 * 9 * CHANNELS[0]
    conv1 = 2 * batch * (SIZE // 2) ** 2 * 9 * CHANNELS[0] * CHANNELS[1]
    dense = 2 * batch * (SIZE // 4) ** 2 * CHANNELS[1] * NUM_CLASSES
    return 2 * conv0 + 3 * conv1 + 3 * dense


def train(route: str, batch: int, num_steps: int, params: PyTree, key: jax.Array, data: Any):
    """`num_steps` SGD steps of one training; returns the last loss and the parameters."""
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
    """All trainings by one of the mappings."""
    if mapping == "vmap":
        return jax.vmap(one, (0, 0, None))(params, keys, data)
    batch_size = {"map": None, "chunks": 4}[mapping]
    return jax.lax.map(lambda a: one(*a, data), (params, keys), batch_size=batch_size)


def make_program(route: str, mapping: str, batch: int, num_steps: int) -> jax.stages.Wrapped:
    """The jitted program `(params, keys, data) -> (losses, params)` of one row."""
    one = partial(train, route, batch, num_steps)
    name, *devices = mapping.split(" on ")
    program = partial(run_mapped, name, one)
    if devices:
        mesh = Mesh(np.array(jax.devices()[: int(devices[0].split()[0])]), ("training",))
        specs = (P("training"), P("training"), P())
        program = jax.shard_map(
            program, mesh=mesh, in_specs=specs, out_specs=P("training"), check_vma=False
        )
    return jax.jit(program)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per route and mapping."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2048, SIZE, SIZE, 1)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, NUM_CLASSES, 2048))
    keys = jax.random.split(jax.random.key(0), args.trainings)
    module = CNN(CHANNELS, num_classes=NUM_CLASSES)
    params = jax.jit(jax.vmap(lambda key: module.init(key, images[:1])["params"]))(keys)
    matrix = jnp.asarray(rng.normal(size=(YARDSTICK, YARDSTICK)), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))

    programs, rows = {}, []
    mappings = list(args.mappings)
    if jax.device_count() > 1:
        mappings.append(f"map on {math.gcd(args.trainings, jax.device_count())} devices")
    for mapping in mappings:
        for route in args.routes:
            begin = time.perf_counter()
            compiled = make_program(route, mapping, args.batch, args.steps)
            compiled = compiled.lower(params, keys, (images, labels)).compile()
            seconds = time.perf_counter() - begin
            programs[route, mapping] = (compiled, seconds)

    times: dict[tuple[str, str], list[float]] = {name: [] for name in programs}
    yardsticks: dict[tuple[str, str], list[float]] = {name: [] for name in programs}
    for repeat in range(args.repeats + 1):
        for name, (compiled, _) in programs.items():
            if name[0] != "native" or repeat <= args.native_repeats:
                took = seconds_of(lambda c=compiled: c(params, keys, (images, labels)))
                yardstick = seconds_of(lambda: product(matrix, matrix))
                if repeat > 0:
                    times[name].append(took)
                    yardsticks[name].append(yardstick)

    inner_steps = args.trainings * args.steps
    for (route, mapping), (_, compile_seconds) in programs.items():
        seconds = float(np.median(times[route, mapping]))
        matmul_rate = 2 * YARDSTICK**3 / float(np.median(yardsticks[route, mapping]))
        rate = flops_per_step(args.batch) * inner_steps / seconds
        rows.append(
            {
                "variant": f"{route}, {mapping}",
                "network": f"cnn {CHANNELS[0]}-{CHANNELS[1]}, {SIZE}x{SIZE}x1",
                "trainings": args.trainings,
                "batch": args.batch,
                "ms_per_inner_step": 1e3 * seconds / inner_steps,
                "inner_steps_per_second": inner_steps / seconds,
                "share_of_matmul_rate": rate / matmul_rate,
                "matmul_gflops": matmul_rate / 1e9,
                "compile_seconds": compile_seconds,
                "device": jax.devices()[0].device_kind,
                "num_devices": jax.device_count(),
            }
        )
    return rows


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall time of one finished call."""
    begin = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", help="file for the rows")
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
    rows = sorted(measure(args), key=lambda row: row["ms_per_inner_step"])
    for row in rows:
        print(
            f"{row['variant']:28} {row['ms_per_inner_step']:9.3f} ms per inner step"
            f"{row['share_of_matmul_rate']:7.1%} of the matmul rate"
            f"{row['compile_seconds']:7.1f} s compile"
        )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
