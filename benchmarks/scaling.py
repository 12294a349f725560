"""Does a training get dearer when more of them run at once?

    python -m benchmarks.scaling --json out.json --figure scaling.png

One env step of 1, 2, 4, ... 256 trainings, split over all devices, by the mapping `auto`.
`relative_cost` is the time per training and inner step, divided by the least of any smaller number
of trainings (1 for the smallest): below 1 it got cheaper. With fewer trainings than devices, devices
stand idle. On an accelerator: ResNet-18 too, every precision, and four times as many trainings again
and again until the memory is full.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks import common
from benchmarks.inner_step import env_step, start
from benchmarks.problems import Problem, add_options, asked, problem_here, step_flops
from ganno_jax.env import Mapping

COLUMNS = {
    "network": "",
    "variant": "",
    "precision": "",
    "trainings": "d",
    "ms_per_inner_step": ".4f",
    "inner_steps_per_second": ".0f",
    "share_of_matmul_rate": ".1%",
    "relative_cost": ".3f",
    "compile_seconds": ".1f",
}


def measure(
    problem: Problem, numbers: Sequence[int], mapping: Mapping, repeats: int
) -> list[common.Row]:
    """One row per number of trainings; they take turns.

    Args:
      problem: what is trained.
      numbers: of trainings, rising.
      mapping: over trainings.
      repeats: measured turns, >= 1.
    """
    env = problem.env()
    found = {}
    for number in numbers:
        try:
            found[str(number)] = env_step(env, start(env, number), mapping, None)
            jax.block_until_ready(found[str(number)].call())
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            found.pop(str(number), None)
            print(f"{problem.name}: the memory does not hold {number} trainings")
            break
    numbers = [int(name) for name in found]
    calls = {name: variant.call for name, variant in found.items()} | common.matmul_calls(
        problem.dtype
    )
    timings = common.take_turns(calls, repeats)
    matmul_rate, flops = common.matmul_rate(timings), step_flops(problem)
    costs = {n: timings[str(n)].median / found[str(n)].inner_steps for n in numbers}
    return [
        {
            "variant": f"env step, {mapping}",
            "network": problem.name,
            "trainings": number,
            "batch": problem.batch,
            "interval": problem.interval,
            "ms_per_inner_step": 1e3 * cost,
            "inner_steps_per_second": 1 / cost,
            "share_of_matmul_rate": flops / cost / matmul_rate,
            "relative_cost": cost / min([costs[n] for n in numbers if n < number] or [cost]),
            "compile_seconds": found[str(number)].compile_seconds,
        }
        for number, cost in costs.items()
    ]


def figure(rows: Sequence[common.Row], path: str) -> None:
    """Throughput against the number of trainings, one line per network."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    lines: dict[tuple[str, str], list[common.Row]] = {}
    for row in rows:
        lines.setdefault((row["network"], row["precision"]), []).append(row)
    for name, own in lines.items():
        x = [row["trainings"] for row in own]
        y = [row["inner_steps_per_second"] for row in own]
        axes.plot(x, y, marker="o", label=", ".join(name))
    axes.set(
        xscale="log", yscale="log", xlabel="trainings at once", ylabel="inner steps per second"
    )
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    fig.savefig(path, dpi=150)
    plt.close(fig)


def chosen(name: str, precision: str, args: argparse.Namespace) -> tuple[Problem, list[int]]:
    """A network at sizes of which 256 trainings take seconds, and the numbers of trainings.

    Args:
      name: of the network.
      precision: of products, in `common.PRECISIONS`.
      args: the command's.
    """
    problem = problem_here(name, precision)
    image: Any = problem.image
    if name == "cnn":
        problem = problem.smaller(interval=2)
    if args.quick:
        problem = problem.smaller(
            batch=4, interval=2, num_reward=4, image=image and (8, 8, image[2])
        )
    on_cpu = jax.default_backend() == "cpu"
    most = args.most or (4 if args.quick else 256 if on_cpu else 4**8)
    return problem, [n for n in (1, 2, *(4**k for k in range(1, 9))) if n <= most]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    add_options(parser)
    parser.add_argument("--most", type=int, help="trainings; 256 by default on a CPU")
    parser.add_argument("--mapping", default="auto", choices=["auto", "vmap", "map"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--figure", help="file for the figure")
    args = parser.parse_args(arguments)
    common.use_devices()
    rows: list[common.Row] = []
    for precision, name in asked(args):
        problem, numbers = chosen(name, precision, args)
        found = measure(problem, numbers, args.mapping, 1 if args.quick else args.repeats)
        rows += [row | {"precision": precision} for row in found]
    if args.figure:
        figure(rows, args.figure)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
