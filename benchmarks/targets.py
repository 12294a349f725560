"""The targets of the engine's speed, and how measured rows compare with them. Pure functions of rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Results = Mapping[str, Sequence[Row]]  # rows by the name of the benchmark


@dataclass(frozen=True)
class Target:
    """A question with the answer that is wanted."""

    question: str
    limit: float
    at_least: bool
    unit: str  # "x", "%" or "s"
    measure: Callable[[Results], float | None]  # None: not measured
    on_accelerator: bool | None = None  # None: everywhere

    def wanted(self) -> str:
        """The limit in words."""
        return f"{'>=' if self.at_least else '<='} {show(self.limit, self.unit)}"

    def is_met(self, value: float) -> bool:
        """Whether a measured value is what is wanted."""
        return value >= self.limit if self.at_least else value <= self.limit


def show(value: float, unit: str) -> str:
    """A number with its unit; ratios below ten with two decimals, since a limit of 2 can be missed by little."""
    if unit == "%":
        return f"{100 * value:.1f}%"
    if unit == "x":
        return f"{value:.2f}x" if value < 10 else f"{value:.1f}x"
    return f"{value:.1f} s"


def best_env_step(results: Results, network: str) -> Row | None:
    """Our fastest env step without a larger validation set."""
    rows = [
        row
        for row in results.get("inner_step", ())
        if row["network"] == network
        and row["variant"].startswith("env step")
        and "reward on" not in row["variant"]
    ]
    return min(rows, key=lambda row: row["ms_per_inner_step"], default=None)


def speedup(results: Results, network: str, variant: str) -> float | None:
    """How many times faster our env step is than the fastest variant whose name begins so.

    Args:
      results, network, variant: rows by benchmark, the network's name, how names of the others begin.
    """
    ours = best_env_step(results, network)
    theirs = [
        row["ms_per_inner_step"]
        for row in results.get("inner_step", ())
        if row["network"] == network and row["variant"].startswith(variant)
    ]
    if ours is None or not theirs:
        return None
    return min(theirs) / ours["ms_per_inner_step"]


def _field(name: str, network: str) -> Callable[[Results], float | None]:
    """A field of our fastest env step that has it."""

    def value(results: Results) -> float | None:
        rows = [row for row in results.get("inner_step", ()) if row.get(name) is not None]
        row = best_env_step({"inner_step": rows}, network)
        return None if row is None else row[name]

    return value


def _only(benchmark: str, field: str, **where: Any) -> Callable[[Results], float | None]:
    """The largest value of a field over the rows that match."""

    def value(results: Results) -> float | None:
        found = [
            row[field]
            for row in results.get(benchmark, ())
            if row.get(field) is not None
            and all(row.get(key) == wanted for key, wanted in where.items())
        ]
        return max(found, default=None)

    return value


def _growth_with_updates(results: Results) -> float | None:
    """Memory growth of the largest number of updates over that of the smallest, one network."""
    rows = [row for row in results.get("memory", ()) if row["network"] == "cnn"]
    if len(rows) < 2:
        return None
    rows = sorted(rows, key=lambda row: row["updates"])
    return rows[-1]["grown_mb"] / rows[0]["grown_mb"]


LARGE = "MLP 10M"
STEP_SIZE_CNN = "cnn 9-24-249"
EVERY_STEP, EVERY_TEN = "loop, every 1", "loop, every 10"
_FEWER = ", controlled, 8 examples"

TARGETS = (
    Target(
        "CNN env step against `vmap` over native convolutions in a scan",
        20.0,
        True,
        "x",
        lambda results: speedup(results, "cnn", "bare scan, native"),
        on_accelerator=False,
    ),
    Target(
        "CNN env step against eager PyTorch (channels-last, all cores)",
        2.0,
        True,
        "x",
        lambda results: speedup(results, "cnn", "PyTorch"),
        on_accelerator=False,
    ),
    Target(
        "CNN env step, share of the matrix-product rate",
        0.6,
        True,
        "%",
        _field("share_of_matmul_rate", "cnn"),
        on_accelerator=False,
    ),
    Target(
        "256 CNNs at once, env step against eager PyTorch, one after another",
        100.0,
        True,
        "x",
        lambda results: speedup(results, "cnn", "PyTorch"),
        on_accelerator=True,
    ),
    Target(
        "ResNet-18 env step, share of the matrix-product rate",
        0.4,
        True,
        "%",
        _field("share_of_matmul_rate", "resnet18"),
        on_accelerator=True,
    ),
    Target(
        "CNN env step over a bare scan of optimizer steps",
        1.05,
        False,
        "x",
        _field("over_bare_scan", "cnn"),
    ),
    Target(
        "learner's share of a MAPPO iteration, CNN",
        0.05,
        False,
        "%",
        _only("learner", "learner_share", network="cnn"),
    ),
    Target(
        "learner's share of a MAPPO iteration, digits MLP",
        0.15,
        False,
        "%",
        _only("learner", "learner_share", network="digits"),
    ),
    Target(
        "cost per training, 1 to 256 digits MLPs: largest rise",
        1.1,
        False,
        "x",
        _only("scaling", "relative_cost", network="digits"),
    ),
    Target(
        "cost per training, 1 to 256 CNNs: largest rise",
        1.1,
        False,
        "x",
        _only("scaling", "relative_cost", network="cnn"),
    ),
    Target(
        "memory over parameters + optimizer state + activations of a chunk, CNN",
        1.3,
        False,
        "x",
        _only("memory", "memory_ratio", network="cnn"),
    ),
    Target("memory of 8 updates over that of 1", 1.1, False, "x", _growth_with_updates),
    *(
        Target(
            f"`digits`, {start} to first update",
            limit,
            False,
            "s",
            _only("startup", "seconds_to_first_update", variant=start),
        )
        for start, limit in (("cold start", 20.0), ("second start", 6.0))
    ),
    *(
        Target(f"`{variant}`", 1.0, False, "s", _only("startup", "seconds", variant=variant))
        for variant in ("import ganno_jax", "--help")
    ),
    Target(
        "`control` on a CNN's step, one decision in 50",
        0.05,
        False,
        "%",
        _only("door", "overhead", network="cnn", variant="control"),
    ),
    Target(
        "`control` on a ResNet-18's step, 32x32, batch 128, one decision in 50",
        0.01,
        False,
        "%",
        _only("door", "overhead", network="resnet18 32x32", variant="control"),
    ),
    *(
        Target(
            f"whole optimizer over its bare direction, MLP of 10 million, batch {batch}, processor time",
            0.15,
            False,
            "%",
            _only("door_size", "cpu_overhead", network=LARGE, batch=batch, safety=True),
        )
        for batch in (32, 256)
    ),
    Target(
        "state of a whole optimizer over 10 million parameters",
        2.0,
        False,
        "x",
        _only("door_size", "state_over_parameters", network=LARGE, safety=True),
    ),
    Target(
        "`cifar_resnet18`, compile time",
        90.0,
        False,
        "s",
        _only("compile_time", "compile_seconds"),
    ),
    Target(
        "512 rules x 7 rates of the digits MLP by the interpreter, against compiling each rule",
        20.0,
        True,
        "x",
        _only("rules", "speedup"),
    ),
    Target(
        "interpreter over a hand-written update, digits MLP: the dearest of three rules",
        2.0,
        False,
        "x",
        _only("rules", "interpreter_cost", variant="interpreter, map"),
    ),
    Target(
        "step-size controller at every step of a random CNN, all 64 examples",
        0.1,
        False,
        "%",
        _only("step_size", "overhead", network=STEP_SIZE_CNN, variant=f"{EVERY_STEP}, controlled"),
    ),
    Target(
        "step-size controller at every step of a random CNN, 8 examples",
        0.1,
        False,
        "%",
        _only("step_size", "overhead", network=STEP_SIZE_CNN, variant=f"{EVERY_STEP}{_FEWER}"),
    ),
    Target(
        "step-size controller every ten steps of a random CNN, 8 examples",
        0.02,
        False,
        "%",
        _only("step_size", "overhead", network=STEP_SIZE_CNN, variant=f"{EVERY_TEN}{_FEWER}"),
    ),
)


def judge(results: Results) -> list[Row]:
    """One row per target that is meant for the platform of the rows: question, target, measured, met."""
    rows_of = [row for of in results.values() for row in of if "machine" in row]
    accelerated = bool(rows_of) and rows_of[0]["machine"]["platform"] != "cpu"
    rows = []
    for target in TARGETS:
        if target.on_accelerator not in (None, accelerated):
            continue
        value = target.measure(results)
        rows.append(
            {
                "question": target.question,
                "target": target.wanted(),
                "measured": "not measured" if value is None else show(value, target.unit),
                "met": "" if value is None else "yes" if target.is_met(value) else "no",
            }
        )
    return rows
