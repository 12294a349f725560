"""What does `ganno_jax.control` add to a training step in somebody's own loop?

    python -m benchmarks.door --json out.json

A jitted step of one network with native convolutions, called from a Python loop, under
`optax.sgd(momentum=0.9)` and under `ganno_jax.control(optax.trace(0.9), ...)` with one decision per
50 steps, with and without its guard against bad steps. Each call is 50 steps, so that it holds
exactly one decision. An untrained controller decides as slowly as a trained one. `overhead` is the
median over the turns of the time over Optax's in the same turn, minus one.
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
    "overhead": ".1%",
    "cpu_overhead": ".1%",
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
    """So many steps in a Python loop, and the seconds to compile one."""
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
        executable = jax.jit(step).lower(*start, jnp.int32(0), dataset).compile()

    def run() -> Any:
        carry = start
        for number in range(num_steps):
            carry = executable(*carry, jnp.int32(number), dataset)
        return carry

    return run, clock.seconds


def measure(problem: Problem, repeats: int, every: int) -> list[common.Row]:
    """One row for Optax, two for the door."""
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
        rows.append(
            {
                "variant": name,
                "network": problem.name,
                "batch": problem.batch,
                "every": every,
                "ms_per_step": 1e3 * timings[name].median / every,
                "overhead": float(np.median([ours / theirs for ours, theirs in pairs])) - 1,
                "cpu_overhead": timings[name].least_cpu / timings[OPTAX].least_cpu - 1,
                "compile_seconds": seconds,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
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
        if name == "resnet18":
            problem, repeats = problem.smaller(image=(8, 8, 3)), min(repeats, 3)
        if args.quick:
            problem, repeats, every = problem.smaller(batch=2, num_validation=2), 1, 2
        rows += measure(problem, repeats, every)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
