"""What does `ganno_jax.control` add to a training step in somebody's own loop?

    python -m benchmarks.door --json out.json

A jitted step of one network with native convolutions and donated state, called from a Python loop, under
`optax.sgd(momentum=0.9)` and under `ganno_jax.control(optax.trace(0.9), ...)` with one decision per
50 steps, with and without its guard against bad steps. Each call is 50 steps, so that it holds
exactly one decision. An untrained controller decides as slowly as a trained one. `added_ms` is the
median over the turns of the time per step minus Optax's in the same turn, `overhead` is that over
Optax's step.

What `control` adds to a ResNet-18 does not depend on its images, since it reads the parameters only.
So it is measured where the step is short, on 8x8 pixels, and compared there and with a step on
32x32 pixels at batch 128.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ganno_jax
from benchmarks import common
from benchmarks.problems import PROBLEMS, Problem
from ganno_jax.controllers import Controller
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.learners import MAPPO

COLUMNS = {
    "variant": "",
    "network": "",
    "batch": "d",
    "every": "d",
    "ms_per_step": ".3f",
    "added_ms": ".3f",
    "overhead": ".1%",
    "compile_seconds": ".1f",
}
EVERY = 50
OPTAX = "optax.sgd"


def untrained(problem: Problem) -> Controller:
    """Agents of the usual size as they are initialized."""
    learner = MAPPO.create((problem.env(num_decisions=30),), RateMultipliers())
    return Controller(learner.policy(learner.init(jax.random.key(0))), decisions=50)


def training_loop(
    problem: Problem, optimizer: optax.GradientTransformation, num_steps: int
) -> tuple[Callable[[], Any], float]:
    """So many steps in a Python loop, and the seconds to compile one.

    Args:
      problem: what is trained.
      optimizer: learning rate included.
      num_steps: of a call.
    """
    optimizer = optax.with_extra_args_support(optimizer)
    training = problem.env("native").training
    state = jax.jit(training.init)(jax.random.key(0))
    dataset = training.family.dataset

    def step(params: Any, model_state: Any, optimizer_state: Any, number: Any, dataset: Any) -> Any:
        indices = (number * problem.batch + jnp.arange(problem.batch)) % dataset.train.num_examples
        batch = dataset.gather(dataset.train, indices)
        (loss, (model_state, _)), gradient = jax.value_and_grad(state.task.loss, has_aux=True)(
            params, model_state, batch, state.key
        )
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params, value=loss)
        return optax.apply_updates(params, updates), model_state, optimizer_state

    start = (state.params, state.model_state, optimizer.init(state.params))
    with common.Stopwatch() as clock:
        jitted = jax.jit(step, donate_argnums=(0, 1, 2))
        executable = jitted.lower(*start, jnp.int32(0), dataset).compile()

    def run() -> Any:
        carry = jax.tree.map(jnp.copy, start)
        for number in range(num_steps):
            carry = executable(*carry, jnp.int32(number), dataset)
        return carry

    return run, clock.seconds


def measure(problem: Problem, repeats: int, every: int) -> list[common.Row]:
    """One row for Optax, two for the door.

    Args:
      problem: what is trained.
      repeats: measured turns, >= 1.
      every: steps of a turn, and per decision.
    """
    controller = untrained(problem)

    def door(safety: bool) -> optax.GradientTransformation:
        return ganno_jax.control(
            optax.trace(0.9), controller, 10 * every, initial_rate=0.01, every=every, safety=safety
        )

    made = {
        OPTAX: training_loop(problem, optax.sgd(0.01, momentum=0.9), every),
        "control": training_loop(problem, door(True), every),
        "control, safety=False": training_loop(problem, door(False), every),
    }
    timings = common.take_turns({name: call for name, (call, _) in made.items()}, repeats)
    rows = []
    for name, (_, seconds) in made.items():
        pairs = zip(timings[name].wall, timings[OPTAX].wall, strict=True)
        added = 1e3 * float(np.median([ours - theirs for ours, theirs in pairs])) / every
        rows.append(
            {
                "variant": name,
                "network": problem.name,
                "batch": problem.batch,
                "every": every,
                "ms_per_step": 1e3 * timings[name].median / every,
                "added_ms": added,
                "overhead": added * every / (1e3 * timings[OPTAX].median),
                "compile_seconds": seconds,
            }
        )
    return rows


def compare_with_usual_step(rows: list[common.Row], problem: Problem) -> list[common.Row]:
    """What `control` adds in `rows`, over the step of the same network on the images of `problem`."""
    step, seconds = training_loop(problem, optax.sgd(0.01, momentum=0.9), 1)
    whole = 1e3 * common.take_turns({OPTAX: step}, 2)[OPTAX].median
    shared = {"network": f"{problem.name} {problem.image[0]}x{problem.image[1]}"}
    shared |= {"batch": problem.batch, "compile_seconds": seconds}
    return [
        row | shared | {"ms_per_step": whole + row["added_ms"], "overhead": row["added_ms"] / whole}
        for row in rows
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--networks", nargs="+", default=["cnn", "resnet18"], choices=list(PROBLEMS)
    )
    args = parser.parse_args(arguments)
    common.use_devices(1)  # one network, as a user trains it: all cores to each operation
    rows: list[common.Row] = []
    for name in args.networks:
        problem, repeats, every = PROBLEMS[name], args.repeats, EVERY
        usual = problem.smaller(image=(32, 32, 3), batch=128) if name == "resnet18" else None
        if usual is not None:
            problem, repeats = problem.smaller(image=(8, 8, 3)), min(repeats, 3)
        if args.quick:
            problem, repeats, every = problem.smaller(batch=2, num_reward=2), 1, 2
            usual = usual and usual.smaller(batch=2)
        measured = measure(problem, repeats, every)
        rows += measured
        if usual is not None:
            rows += compare_with_usual_step(measured, usual)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
