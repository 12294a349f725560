"""What would a TPU do? Its compiler's own estimates, on a machine without one. No measurement.

    pip install '.[tpu-plan]'; python -m benchmarks.tpu_plan --json out.json

`libtpu` compiles for chips that are not there. One table: env steps of several trainings, the learner's update,
both split over chips, and an update of `ganno_jax.optimizer`: seconds to compile on this machine, memory of the chip's,
and the collectives in the compiled program. The other: one inner step without loops, whose time the compiler
estimates, by route of the convolution: `share_of_peak` is its products over that time, of the chip's bf16 rate.
Inside loops the estimate counts a body once, so it is not given there. `left_out` operations, such as a gather, have
no estimate.
"""

import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no such server here

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import ganno_jax
from benchmarks import common
from benchmarks.problems import PROBLEMS, Problem, step_flops
from ganno_jax.env import advance_trainings, map_trainings
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.env.mesh import AXIS
from ganno_jax.learners import MAPPO, MAPPOConfig, train
from ganno_jax.platforms import made_for
from ganno_jax.tasks import from_arrays
from ganno_jax.tasks.networks import Transformer

COLUMNS = {
    "program": "",
    "chip": "",
    "chips": "d",
    "trainings": "d",
    "compile_seconds": ".1f",
    "memory_mb": ".0f",
    "share_of_memory": ".1%",
    "collectives": "",
}
STEP_COLUMNS = {
    "network": "",
    "route": "",
    "chip": "",
    "trainings": "d",
    "microseconds_per_inner_step": ".1f",
    "share_of_peak": ".1%",
    "left_out": "d",
    "compile_seconds": ".1f",
}
_COLLECTIVE = re.compile(
    r"= \S+ (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
)


@dataclass(frozen=True)
class Chip:
    """A kind of TPU, as https://cloud.google.com/tpu/docs/system-architecture-tpu-vm has them."""

    topologies: dict[int, str]  # by number of chips; one chip is the first of four
    peak_flops: float  # per second, bf16
    memory: float  # bytes


CHIPS = {
    "v5e": Chip({4: "v5e:2x2", 8: "v5e:2x4"}, 197e12, 16e9),
    "v5p": Chip({4: "v5p:2x2x1", 8: "v5p:2x2x2"}, 459e12, 95e9),
    "v6e": Chip({4: "v6e:2x2", 8: "v6e:2x4"}, 918e12, 32e9),
}


@dataclass(frozen=True)
class Characters(Problem):
    """Random tokens for a Transformer."""

    def dataset(self) -> Any:
        """On the host."""
        tokens = np.random.default_rng(0).integers(0, 64, (self.num_examples, 65))
        return from_arrays(tokens[:, :-1], tokens[:, 1:], num_classes=64)


def _transformer(route: str, dtype: str) -> nn.Module:
    return Transformer(vocab_size=64, features=128, num_blocks=4, max_length=64)


NETWORKS: dict[str, Problem] = {
    **PROBLEMS,
    "resnet18": PROBLEMS["resnet18"].smaller(
        image=(32, 32, 3), batch=128, description="ResNet-18 on 32x32x3"
    ),
    "transformer": Characters(
        "transformer", "four blocks, 128 wide, 64 tokens", _transformer, None, 32, 20, 32
    ),
}


def mesh_of(chip: str, count: int) -> Mesh:
    """So many chips that are not here."""
    kind = CHIPS[chip]
    whole = min(size for size in kind.topologies if size >= count)
    topology = topologies.get_topology_desc(platform="tpu", topology_name=kind.topologies[whole])
    return Mesh(np.asarray(topology.devices[:count]), (AXIS,))


def _shapes_on(mesh: Mesh, tree: Any, *axes: str) -> Any:
    """Shapes in the place of arrays, split over the mesh or whole on each chip."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=sharding), tree
    )


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The program, and the seconds to lower and compile it."""
    with common.Stopwatch() as clock:
        program = jax.jit(function).lower(*arguments).compile()
    return program, clock.seconds


def _row_of(program: Any, name: str, chip: str, chips: int, trainings: int, seconds: float) -> dict:
    """One row of the first table."""
    used = program.memory_analysis()
    held = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    memory = held + used.temp_size_in_bytes
    found = _COLLECTIVE.findall(program.as_text())
    counted = ", ".join(f"{found.count(kind)} {kind}" for kind in sorted({*found}))
    return {
        "program": name,
        "chip": chip,
        "chips": chips,
        "trainings": trainings,
        "compile_seconds": seconds,
        "memory_mb": memory / 1e6,
        "share_of_memory": memory / CHIPS[chip].memory,
        "collectives": counted or "none",
    }


def env_step(name: str, chip: str, chips: int, trainings: int) -> dict:
    """A decision of every training, split over the chips.

    Args:
      name, chip: in `NETWORKS` and `CHIPS`.
      chips, trainings: how many.
    """
    env, mesh = NETWORKS[name].env(), mesh_of(chip, chips)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), trainings))
    state = jax.eval_shape(lambda k: map_trainings(env.reset, "vmap", k)[0], keys)

    def step(state: Any, rates: Any, env: Any) -> Any:
        return advance_trainings(env.step, "auto", state, rates)

    rates = jax.ShapeDtypeStruct((trainings, env.num_layers), jnp.float32)
    program, seconds = compiled(
        common.sharded(step, mesh, 1),
        _shapes_on(mesh, state, AXIS), _shapes_on(mesh, rates, AXIS), _shapes_on(mesh, env),
    )  # fmt: skip
    return _row_of(program, f"env step, {name}", chip, chips, trainings, seconds)


def learner_update(name: str, chip: str, chips: int, trainings: int) -> dict:
    """Rollouts of every training and the update of MAPPO.

    Args:
      name, chip: in `NETWORKS` and `CHIPS`.
      chips, trainings: how many.
    """
    env, mesh = NETWORKS[name].env(num_decisions=20), mesh_of(chip, chips)
    config = MAPPOConfig(num_envs=trainings, rollout_decisions=20)
    learner = MAPPO.create((env,), RateMultipliers(), config)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    with common.Stopwatch() as clock:
        program = train.lower(_shapes_on(mesh, learner), _shapes_on(mesh, state), 1, mesh).compile()
    return _row_of(program, f"learner update, {name}", chip, chips, trainings, clock.seconds)


def door(chip: str) -> dict:
    """An update of the default controller over ten million parameters, on one chip."""
    mesh = mesh_of(chip, 1)
    optimizer = ganno_jax.optimizer(total_steps=1_000)
    params = {
        f"dense{i}": {"kernel": jnp.zeros((1024, 1024)), "bias": jnp.zeros(1024)} for i in range(10)
    }
    state = jax.eval_shape(optimizer.init, params)

    def update(gradient: Any, state: Any, params: Any) -> Any:
        return optimizer.update(gradient, state, params, value=1.0)

    arguments = (_shapes_on(mesh, x) for x in (params, state, params))
    program, seconds = compiled(update, *arguments)
    return _row_of(
        program, "update of the default controller, 10.5 million parameters", chip, 1, 1, seconds
    )


def known_seconds(estimate: float) -> tuple[float, int]:
    """The seconds of all operations that have an estimate, and how many have none: each of those counts as -1."""
    left_out = max(0, math.ceil(-estimate))
    return estimate + left_out, left_out


def inner_step(name: str, route: str, chip: str, trainings: int) -> dict:
    """Loss, gradient and an SGD step of every training on one chip, without a loop.

    Args:
      name, chip: in `NETWORKS` and `CHIPS`.
      route: of the convolutions.
      trainings: how many, side by side.
    """
    problem, mesh = NETWORKS[name], mesh_of(chip, 1)
    training = problem.env(route).training
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), trainings))
    state = jax.eval_shape(jax.vmap(training.init), keys)
    indices = jax.ShapeDtypeStruct((trainings, problem.batch), jnp.int32)
    batch = jax.eval_shape(jax.vmap(training.family.train_batch), state.task, indices)

    def step(state: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            return state.task.loss(params, state.model_state, batch, state.key)[0]

        value, gradient = jax.value_and_grad(loss)(state.params)
        return value, jax.tree.map(lambda w, g: w - 0.01 * g, state.params, gradient)

    program, seconds = compiled(jax.vmap(step), _shapes_on(mesh, state), _shapes_on(mesh, batch))
    estimate, left_out = known_seconds(program.cost_analysis()["optimal_seconds"])
    rate = step_flops(problem) * trainings / estimate
    return {
        "network": name,
        "route": route,
        "chip": chip,
        "trainings": trainings,
        "microseconds_per_inner_step": 1e6 * estimate / trainings,
        "share_of_peak": rate / CHIPS[chip].peak_flops,
        "left_out": left_out,
        "compile_seconds": seconds,
    }


def plan(quick: bool, chips: Sequence[str]) -> list[dict]:
    """The rows of the first table."""
    first = chips[0]
    if quick:
        return [env_step("digits", first, 4, 8), learner_update("digits", first, 4, 16)]
    rows = [
        env_step(name, chip, 4, 64) for chip in chips for name in ("digits", "cnn", "transformer")
    ]
    rows += [env_step("resnet18", chip, 4, 16) for chip in chips]
    rows += [learner_update("digits", first, count, 64) for count in (4, 8)]
    rows += [learner_update("cnn", first, 8, 64)]
    return [*rows, *(door(chip) for chip in chips)]


def steps(quick: bool, chips: Sequence[str]) -> list[dict]:
    """The rows of the second table."""
    if quick:
        return [inner_step("digits", "auto", chips[0], 2)]
    of_route = partial(inner_step, chip=chips[0])
    rows = [
        of_route("cnn", r, trainings=n) for r in ("native", "im2col", "shifted") for n in (16, 256)
    ]
    rows += [of_route("resnet18", r, trainings=8) for r in ("native", "im2col", "shifted")]
    return [*rows, *(of_route(n, "auto", trainings=256) for n in ("digits", "transformer"))]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--chips", nargs="+", choices=list(CHIPS), default=["v5e", "v6e"])
    args = parser.parse_args(arguments)
    common.use_devices(1)
    try:
        mesh_of(args.chips[0], 4)
    except RuntimeError as error:
        sys.exit(
            f"libtpu is not installed ({error}); pip install '.[tpu-plan]' in the checkout brings it."
        )
    with made_for("tpu"):
        rows = plan(args.quick, args.chips)
        one_step = steps(args.quick, args.chips)
    print(common.table(rows, COLUMNS))
    print(common.table(one_step, STEP_COLUMNS))
    common.store([*rows, *one_step], args.json)


if __name__ == "__main__":
    main()
