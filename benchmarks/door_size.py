"""What does a whole optimizer of `ganno_jax` cost where the network is large: time, state, temporaries?

    python -m benchmarks.door_size --json out.json [--millions 10 100]

A jitted step of an MLP with donated state, called from a Python loop: under `optax.adamw`, `optax.contrib.muon` and
`optax.nadamw`, under the shipped controllers `muon` (the default) and `nadamw` with and without their guards, and under
the bare direction of each at a constant rate. Each call is one interval of steps, with one decision and its measured
steps. Times are medians over the turns of the ratio to AdamW's step in the same turn; `overhead` and `cpu_overhead` are
what a controller adds to the step under its own bare direction, in wall time and in processor time of all threads.
`state_over_parameters` counts bytes. `temporaries_mb` is what the compiler plans beside arguments and results of a
whole step. 100 million parameters take about 13 GB, and are left out where there is less. With `--keep_memory` freed
memory is kept (`ganno_jax.platforms.keep_freed_memory`): no step maps temporaries above 32 MiB anew.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ganno_jax
from benchmarks import common
from benchmarks.memory import MB, num_bytes
from experiments.runs.memory import in_words, of_devices
from ganno_jax.platforms import keep_freed_memory
from ganno_jax.tasks.networks import MLP

COLUMNS = {
    "variant": "",
    "network": "",
    "batch": "d",
    "ms_per_step": ".1f",
    "cpu_ms_per_step": ".1f",
    "over_adamw": ".2f",
    "cpu_over_adamw": ".2f",
    "overhead": ".1%",
    "cpu_overhead": ".1%",
    "state_over_parameters": ".2f",
    "temporaries_mb": ".0f",
    "compile_seconds": ".1f",
}
ADAMW = "optax.adamw"
CONTROLLERS = ("muon", "nadamw")
RATE = 1e-3
EVERY = 20
INPUTS, CLASSES, EXAMPLES = 1024, 10, 4096
HIDDEN = {"10M": (2048, 2048, 1600), "100M": (6800, 6800, 6800), "tiny": (16, 16)}


@dataclass(frozen=True)
class Variant:
    """An optimizer, and whose cost is subtracted from its own."""

    optimizer: optax.GradientTransformation
    bare: str | None = None  # name of the variant with its direction alone
    safety: bool | None = None  # of a controller


@dataclass(frozen=True)
class Step:
    """A compiled step with the state that its calls carry on."""

    call: Callable[[], Any]
    state_over_parameters: float
    temporaries: int  # bytes
    compile_seconds: float


def variants(
    total_steps: int, every: int, controllers: Sequence[str] = CONTROLLERS
) -> dict[str, Variant]:
    """Optimizers by name.

    Args:
      total_steps: of the training.
      every: steps per decision.
      controllers: shipped ones, and what they are compared with.
    """
    found = {ADAMW: Variant(optax.adamw(RATE))}
    if "muon" in controllers:
        found["optax.contrib.muon"] = Variant(optax.contrib.muon(RATE))
    if "nadamw" in controllers:
        found["optax.nadamw"] = Variant(optax.nadamw(RATE))
    for name in controllers:
        controller = ganno_jax.load(name)
        bare = f"{name}, bare direction"
        assert controller.direction is not None
        direction = controller.direction.transformation()
        found[bare] = Variant(optax.chain(direction, optax.scale(-RATE)))
        for safety in (True, False):
            ours = ganno_jax.optimizer(total_steps, controller, every=every, safety=safety)
            words = f"control, {name}" + ("" if safety else ", safety=False")
            found[words] = Variant(ours, bare, safety)
    return found


def training(hidden: Sequence[int], batch: int) -> tuple[Any, Any, Callable[..., Any]]:
    """First parameters, data, and the function from both and the number of a batch to its loss and gradient."""
    network = MLP(tuple(hidden))
    generator = np.random.default_rng(0)
    inputs = jnp.asarray(generator.normal(size=(EXAMPLES, INPUTS)), jnp.float32)
    labels = jnp.asarray(generator.integers(0, CLASSES, EXAMPLES))
    params = jax.jit(network.init)(jax.random.key(0), inputs[:1])["params"]

    def gradient(params: Any, data: Any, number: Any) -> Any:
        inputs, labels = data
        rows = (number * batch + jnp.arange(batch)) % EXAMPLES

        def loss(params: Any) -> Any:
            logits = network.apply({"params": params}, inputs[rows])
            losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels[rows])
            return jnp.mean(losses)

        return jax.value_and_grad(loss)(params)

    return params, (inputs, labels), gradient


def compiled_step(
    optimizer: optax.GradientTransformation,
    params: Any,
    data: Any,
    gradient: Callable[..., Any],
    num_steps: int,
) -> Step:
    """A step whose call takes so many of them, on from where the last call ended.

    Args:
      optimizer: what makes updates.
      params: to start from; they are copied.
      data: that gradients are of.
      gradient: from parameters, data and the number of a step to loss and gradient.
      num_steps: of a call.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Any, state: Any, number: Any, data: Any) -> Any:
        loss, grads = gradient(params, data, number)
        updates, state = optimizer.update(grads, state, params, value=loss)
        return optax.apply_updates(params, updates), state, number + 1

    carry = (jax.tree.map(jnp.copy, params), jax.jit(optimizer.init)(params), jnp.int32(0))
    with common.Stopwatch() as clock:
        executable = jax.jit(step, donate_argnums=(0, 1)).lower(*carry, data).compile()
    share = num_bytes(carry[1]) / num_bytes(params)

    def call() -> Any:
        nonlocal carry
        for _ in range(num_steps):
            carry = executable(*carry, data)
        return carry

    temporaries = executable.memory_analysis().temp_size_in_bytes
    return Step(call, share, temporaries, clock.seconds)


def measure(
    name: str,
    batch: int,
    repeats: int,
    every: int,
    controllers: Sequence[str] = CONTROLLERS,
) -> list[common.Row]:
    """One row per optimizer.

    Args:
      name: of the network, in `HIDDEN`.
      batch: examples of a step.
      repeats: measured turns; two at most of what orthogonalizes, which takes a hundred times as long.
      every: steps of a turn, and per decision.
      controllers: shipped ones.
    """
    params, data, gradient = training(HIDDEN[name], batch)
    # One turn is not measured, and in the last interval of a training no statistics are taken.
    found = variants((repeats + 2) * every, every, controllers)
    fewer = {key: min(repeats, 2) for key in found if "muon" in key}
    steps = {
        key: compiled_step(variant.optimizer, params, data, gradient, every)
        for key, variant in found.items()
    }
    timings = common.take_turns({key: step.call for key, step in steps.items()}, repeats, fewer)
    rows = []
    for key, variant in found.items():
        timing, step = timings[key], steps[key]
        wall, cpu = (ratio(timings, key, ADAMW, clock) for clock in ("wall", "cpu"))
        over_bare = {
            clock: None if variant.bare is None else ratio(timings, key, variant.bare, clock) - 1
            for clock in ("wall", "cpu")
        }
        rows.append(
            {
                "variant": key,
                "network": f"MLP {name}",
                "batch": batch,
                "every": every,
                "safety": variant.safety,
                "ms_per_step": 1e3 * timing.median / every,
                "cpu_ms_per_step": 1e3 * float(np.median(timing.cpu)) / every,
                "over_adamw": wall,
                "cpu_over_adamw": cpu,
                "overhead": over_bare["wall"],
                "cpu_overhead": over_bare["cpu"],
                "state_over_parameters": step.state_over_parameters,
                "temporaries_mb": step.temporaries / MB,
                "compile_seconds": step.compile_seconds,
            }
        )
    return rows


def ratio(timings: Mapping[str, common.Timing], ours: str, theirs: str, clock: str) -> float:
    """Median over the turns that both had of one variant's time over another's in the same turn.

    Args:
      timings: from `take_turns`.
      ours: name of the variant.
      theirs: name of what it is compared with.
      clock: "wall" or "cpu".
    """
    pairs = zip(getattr(timings[ours], clock), getattr(timings[theirs], clock), strict=False)
    return float(np.median([a / b for a, b in pairs]))


def bytes_needed(name: str, controllers: Sequence[str]) -> int:
    """Parameters and two momenta of every variant, and a step's gradients, updates and copies."""
    widths = (INPUTS, *HIDDEN[name], CLASSES)
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    return 4 * parameters * (3 * len(variants(2, 1, controllers)) + 6)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--controllers", nargs="+", default=CONTROLLERS, choices=CONTROLLERS)
    parser.add_argument(
        "--millions", nargs="+", type=int, default=[10], choices=[10, 100], help="of parameters"
    )
    parser.add_argument("--keep_memory", action="store_true", help="`keep_freed_memory` first")
    args = parser.parse_args(arguments)
    if args.keep_memory and not keep_freed_memory():
        parser.error("the C library is not glibc")
    common.use_devices(1)  # one network, as a user trains it: all cores to each operation
    names, repeats, every = [f"{count}M" for count in args.millions], args.repeats, EVERY
    if args.quick:
        names, repeats, every = ["tiny"], 1, 3
    rows: list[common.Row] = []
    for name in names:
        needed, there = bytes_needed(name, args.controllers), of_devices()
        if needed > there:
            print(f"left out: MLP {name} needs {in_words(needed)}; {in_words(there)} are there")
            continue
        for batch in args.batches:
            rows += measure(name, batch, repeats, every, args.controllers)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
