"""How long does an inner step take inside an env step, against the same training by other means?

    python -m benchmarks.inner_step --json out.json [--torch-python PATH]

Rows: our env step (statistics and observation included) by each mapping over trainings, on one
device and on all; a bare scan of optimizer steps by the same mapping; the same scan over native
convolutions, vmapped; a Python loop over jitted Optax steps; eager PyTorch, channels-last, all
cores. All variants of a network take turns with a large matrix product; times are medians.
ResNet-18, whose variants take minutes each to compile on a CPU, is measured there on request
(`--networks resnet18`). `over_bare_scan` compares an env step with the bare scan in the same turn,
`times_native` and `times_torch` say how many times as fast it is as the fastest of those. An
accelerator gets 256 trainings and every precision: float32, tf32, and networks that compute in bf16;
the matrix product is then of that precision too.
`cpu_ms_per_inner_step` is processor time (least of all turns), which other work disturbs less.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, yardsticks
from benchmarks.problems import Problem, add_options, asked, problem_here, step_flops
from ganno_jax.env import Env, EnvState, Mapping, advance_trainings, map_trainings

COLUMNS = {
    "variant": "",
    "network": "",
    "precision": "",
    "trainings": "d",
    "batch": "d",
    "ms_per_inner_step": ".4f",
    "cpu_ms_per_inner_step": ".4f",
    "inner_steps_per_second": ".0f",
    "share_of_matmul_rate": ".1%",
    "over_bare_scan": ".3f",
    "compile_seconds": ".1f",
}
ENV_STEP = "env step"
BARE = "bare scan"
NATIVE = "bare scan, native convolution, vmap"
LOOP = "Optax loop, one after another"
TORCH = "PyTorch eager, one after another"
SLOW = ("native", "Optax", "PyTorch")


@dataclass(frozen=True)
class Variant:
    """One way to train, ready to be timed."""

    call: Callable[[], Any]
    inner_steps: int  # of all trainings together, per call
    trainings: int
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Settings:
    """How many of everything."""

    trainings: int = 16
    repeats: int = 5
    slow_repeats: int = 2
    native_steps: int = 2
    mappings: tuple[Mapping, ...] = ("vmap", "map", 4)
    torch_python: str | None = None


def start(env: Env, num_trainings: int) -> EnvState:
    """Trainings at their first decision."""
    keys = jax.random.split(jax.random.key(0), num_trainings)
    return jax.jit(lambda keys: map_trainings(env.reset, "map", keys)[0])(keys)


def env_step(env: Env, state: EnvState, mapping: Mapping, most: int | None) -> Variant:
    """One decision of every training, on at most so many devices.

    Args:
      env: of the trainings.
      state: of all of them.
      mapping: over trainings.
      most: devices; None for all.
    """
    num_trainings = state.decision.shape[0]
    rates = jnp.full((num_trainings, env.num_layers), yardsticks.RATE)

    def step(state: EnvState, rates: jax.Array, env: Env) -> Any:
        return advance_trainings(env.step, mapping, state, rates)

    mesh = common.mesh_for(num_trainings, most)
    arguments = place((state, rates), mesh)
    call, seconds = common.compiled(common.sharded(step, mesh, 1), *arguments, env)
    return Variant(call, num_trainings * env.interval, num_trainings, seconds)


def bare_scan(
    env: Env, state: EnvState, mapping: Mapping, most: int | None, num_steps: int
) -> Variant:
    """As many optimizer steps of every training.

    Args:
      env: of the trainings.
      state: of all of them.
      mapping: over trainings.
      most: devices; None for all.
      num_steps: of each training.
    """
    num_trainings = state.decision.shape[0]

    def run(inner: Any, training: Any) -> Any:
        return map_trainings(yardsticks.bare_scan(training, num_steps), mapping, inner)

    mesh = common.mesh_for(num_trainings, most)
    inner = place(state.inner, mesh)
    call, seconds = common.compiled(common.sharded(run, mesh, 1), inner, env.training)
    return Variant(call, num_trainings * num_steps, num_trainings, seconds)


def place(tree: Any, mesh: Any) -> Any:
    """Split the trainings over the mesh before the clock starts."""
    sharding = jax.NamedSharding(mesh, jax.sharding.PartitionSpec(common.AXIS))
    return jax.device_put(tree, sharding)


def variants(problem: Problem, settings: Settings) -> tuple[dict[str, Variant], list[Any]]:
    """All ways to train this network, and the workers to close afterwards."""
    env = problem.env()
    state = start(env, settings.trainings)
    several = jax.device_count() > 1
    found: dict[str, Variant] = {}
    for mapping in settings.mappings:
        name = f"chunks of {mapping}" if isinstance(mapping, int) else mapping
        on_all = f", {jax.device_count()} devices" if several else ""
        found[f"{ENV_STEP}, {name}{on_all}"] = env_step(env, state, mapping, None)
        found[f"{BARE}, {name}{on_all}"] = bare_scan(env, state, mapping, None, env.interval)
    if several:
        found[f"{ENV_STEP}, auto, 1 device"] = env_step(env, state, "auto", 1)
    if problem.num_reward < 512 <= problem.num_examples and problem.image is not None:
        whole = problem.smaller(num_reward=512, num_examples=4096).env()
        found[f"{ENV_STEP}, auto, reward on 512 examples"] = env_step(whole, state, "auto", None)
    if problem.image is not None:
        native = problem.env("native")
        found[NATIVE] = bare_scan(native, state, "vmap", 1, settings.native_steps)
        if several:
            found[f"{NATIVE}, {jax.device_count()} devices"] = bare_scan(
                native, state, "vmap", None, settings.native_steps
            )
    first = jax.tree.map(lambda x: x[0], state.inner)
    steps = 5 if problem.name == "resnet18" else 20
    steps = min(steps, problem.interval)
    loop = yardsticks.optax_loop(problem.env("native").training, first, steps)
    found[LOOP] = Variant(loop, steps, 1)
    workers = []
    python = yardsticks.torch_python(settings.torch_python)
    if python is not None:
        worker = yardsticks.TorchWorker(python, problem.name, problem.batch, problem.image)
        workers.append(worker)
        found[TORCH] = Variant(lambda: worker.run(steps), steps, 1)
    return found, workers


def measure(problem: Problem, settings: Settings) -> list[common.Row]:
    """One row per variant, fastest first."""
    found, workers = variants(problem, settings)
    yardstick = common.matmul_calls(problem.dtype)
    calls = {name: variant.call for name, variant in found.items()} | yardstick
    fewer = {name: settings.slow_repeats for name in found if any(s in name for s in SLOW)}
    timings = common.take_turns(calls, settings.repeats, fewer)
    for worker in workers:
        worker.close()
    matmul_rate, flops = common.matmul_rate(timings), step_flops(problem)
    cost = {name: timings[name].median / variant.inner_steps for name, variant in found.items()}
    rows = []
    for name, variant in found.items():
        seconds = cost[name]
        in_worker = name == TORCH
        rows.append(
            {
                "variant": name,
                "network": problem.name,
                "description": problem.description,
                "trainings": variant.trainings,
                "batch": problem.batch,
                "interval": problem.interval,
                "ms_per_inner_step": 1e3 * seconds,
                "least_ms_per_inner_step": 1e3 * timings[name].least / variant.inner_steps,
                "cpu_ms_per_inner_step": None
                if in_worker
                else 1e3 * timings[name].least_cpu / variant.inner_steps,
                "inner_steps_per_second": 1 / seconds,
                "share_of_matmul_rate": flops / seconds / matmul_rate,
                "over_bare_scan": over_bare(name, found, timings),
                "times_native": times_faster(name, NATIVE, cost),
                "times_torch": times_faster(name, TORCH, cost),
                "matmul_gflops": matmul_rate / 1e9,
                "compile_seconds": variant.compile_seconds,
                "torch": workers[0].version if in_worker else None,
            }
        )
    return sorted(rows, key=lambda row: row["ms_per_inner_step"])


def times_faster(name: str, other: str, cost: dict[str, float]) -> float | None:
    """Of an env step: the least time of the variants that begin as `other`, over its own.

    Args:
      name: of the variant.
      other: how the names of the others begin.
      cost: seconds of an inner step, by variant.
    """
    theirs = [seconds for variant, seconds in cost.items() if variant.startswith(other)]
    return min(theirs) / cost[name] if name.startswith(ENV_STEP) and theirs else None


def over_bare(name: str, found: dict[str, Variant], timings: Any) -> float | None:
    """Median over the turns of an env step's time over that of the same mapping's bare scan.

    Args:
      name: of the variant.
      found: all variants.
      timings: from `take_turns`.
    """
    bare = name.replace(ENV_STEP, BARE)
    if not name.startswith(ENV_STEP) or bare not in found:
        return None
    pairs = zip(timings[name].wall, timings[bare].wall, strict=True)
    return float(np.median([ours / theirs for ours, theirs in pairs]))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    add_options(parser)
    parser.add_argument("--trainings", type=int, help="at once, instead of the platform's usual")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch-python", help="a Python that has PyTorch; by default this one")
    args = parser.parse_args(arguments)
    common.use_devices()
    rows: list[common.Row] = []
    for precision, name in asked(args):
        problem, settings = chosen(name, precision, args)
        rows += [row | {"precision": precision} for row in measure(problem, settings)]
    common.finish(rows, COLUMNS, args.json)


def chosen(name: str, precision: str, args: argparse.Namespace) -> tuple[Problem, Settings]:
    """A network's problem and settings for these options.

    Args:
      name: of the network.
      precision: of products, in `common.PRECISIONS`.
      args: the command's.
    """
    problem = problem_here(name, precision)
    large, on_cpu = name == "resnet18", jax.default_backend() == "cpu"
    usual = (4, 16) if on_cpu else (32, 256)
    trainings = args.trainings or (usual[0] if large else usual[1])
    mappings: tuple[Mapping, ...] = ("map",) if large and on_cpu else ("vmap", "map")
    settings = Settings(
        trainings=trainings,
        repeats=args.repeats,
        mappings=(*mappings, 8) if name == "digits" else mappings,
        native_steps=1 if large else 2,
        torch_python=args.torch_python,
    )
    if not args.quick:
        return problem, settings
    problem = problem.smaller(
        batch=4, interval=2, num_reward=4, image=problem.image and (8, 8, problem.image[2])
    )
    trainings = args.trainings or math.lcm(2, jax.device_count())
    quick = Settings(trainings, 1, 1, 1, settings.mappings[:1], args.torch_python)
    return problem, quick


if __name__ == "__main__":
    main()
