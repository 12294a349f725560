"""What all benchmarks share: devices, timing in turns, the matrix-product yardstick, tables, JSON.

Nothing here knows what is measured. Import it, call `use_devices` before anything touches a device,
compile with `compiled`, time with `take_turns`, finish with `finish`.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ganno_jax.env.mesh import AXIS, make_mesh

Row = dict[str, Any]

MATMUL = "matrix product"


@dataclass(frozen=True)
class Timing:
    """Seconds of one call over all its repeats."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]  # of all threads of this process

    @property
    def median(self) -> float:
        """Wall time of the middle repeat."""
        return float(np.median(self.wall))

    @property
    def least(self) -> float:
        """Wall time of the fastest repeat."""
        return min(self.wall)

    @property
    def least_cpu(self) -> float:
        """Processor time of the repeat that took least of it."""
        return min(self.cpu)


def num_cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_devices(count: int | None = None) -> None:
    """On a CPU, one JAX device per core (or `count`); compile times are never read from a cache.

    Call it before anything asks for a device. A count in the user's XLA_FLAGS is kept, and on an
    accelerator nothing changes.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", count or num_cores())


PRECISIONS = {  # of products: JAX's name, and the type that networks compute in
    "float32": ("highest", "float32"),
    "tf32": ("tensorfloat32", "float32"),  # as float32 where there are no such units
    "bf16": ("default", "bfloat16"),
}


def usual_precisions() -> tuple[str, ...]:
    """What is measured where nothing else is asked for: everything on an accelerator."""
    return ("float32",) if jax.default_backend() == "cpu" else tuple(PRECISIONS)


def use_precision(name: str) -> str:
    """Compile products at a precision from here on; returns the type that networks compute in."""
    precision, dtype = PRECISIONS[name]
    jax.config.update("jax_default_matmul_precision", precision)
    return dtype


def mesh_for(num_trainings: int, most: int | None = None) -> Mesh:
    """As many devices as divide the trainings, at most `most`."""
    available = jax.devices()[:most]
    count = next(n for n in range(len(available), 0, -1) if num_trainings % n == 0)
    return make_mesh(available[:count])


def sharded(function: Callable[..., Any], mesh: Mesh, num_shared: int = 0) -> Callable[..., Any]:
    """`function` on each device's share of the trainings; the last arguments may be shared by all.

    Args:
      function: of arguments with a leading training axis, then `num_shared` without.
      mesh: from `mesh_for`.
      num_shared: arguments that every device gets whole.
    """

    def call(*arguments: Any) -> Any:
        split = len(arguments) - num_shared
        specs = (P(AXIS),) * split + (P(),) * num_shared
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False
        )
        return mapped(*arguments)

    return call


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], float]:
    """A call of the jitted function with these arguments, and the seconds to trace and compile it."""
    begin = time.perf_counter()
    executable = jax.jit(function).lower(*arguments).compile()
    return lambda: executable(*arguments), time.perf_counter() - begin


def take_turns(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    fewer: Mapping[str, int] | None = None,
) -> dict[str, Timing]:
    """Time calls in alternation, after one unmeasured turn each.

    So all of them meet the same machine, whatever else it does. A call may return a number, which
    is then its own measured seconds (of work in another process).

    Args:
      calls: what to time.
      repeats: measured turns of each call, >= 1.
      fewer: repeats of slow calls.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            if turn > (fewer or {}).get(name, repeats):
                continue
            begin, begin_cpu = time.perf_counter(), time.process_time()
            result = jax.block_until_ready(call())
            seconds = time.perf_counter() - begin
            if turn:
                wall[name].append(result if isinstance(result, float) else seconds)
                cpu[name].append(time.process_time() - begin_cpu)
    return {name: Timing(tuple(wall[name]), tuple(cpu[name])) for name in calls}


class Stopwatch:
    """Wall time and processor time of a `with` block, in `seconds` and `cpu_seconds` after it."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __enter__(self) -> "Stopwatch":
        self._begin, self._begin_cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begin
        self.cpu_seconds = time.process_time() - self._begin_cpu


def matmul_calls(dtype: str = "float32") -> dict[str, Callable[[], Any]]:
    """The yardstick: one large product on one device, and one on each device at once."""
    size = matmul_size()
    one = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    calls = {MATMUL: compiled(jnp.matmul, one, one)[0]}
    if jax.device_count() > 1:
        mesh = make_mesh()
        both = jax.device_put(
            jnp.broadcast_to(one, (mesh.size, size, size)), jax.NamedSharding(mesh, P(AXIS))
        )
        calls[f"{MATMUL}, all devices"] = compiled(sharded(jnp.matmul, mesh), both, both)[0]
    return calls


def matmul_size() -> int:
    """Rows of the yardstick's matrices: an accelerator needs larger ones to be busy."""
    return 2048 if jax.default_backend() == "cpu" else 8192


def matmul_rate(timings: Mapping[str, Timing]) -> float:
    """Floating-point operations per second of the faster form of `matmul_calls`, by its median."""
    size = matmul_size()
    rates = [2 * size**3 / timings[MATMUL].median]
    everywhere = f"{MATMUL}, all devices"
    if everywhere in timings:
        rates.append(jax.device_count() * 2 * size**3 / timings[everywhere].median)
    return max(rates)


def device_memory(key: str) -> int | None:
    """A figure of `Device.memory_stats` of the first device in bytes, such as "peak_bytes_in_use"; None on a CPU."""
    stats = jax.devices()[0].memory_stats()
    return None if not stats or key not in stats else int(stats[key])


def peak_memory() -> int:
    """Largest memory so far in bytes: of the first device where it says, else of this process."""
    on_device = device_memory("peak_bytes_in_use")
    if on_device is not None:
        return on_device
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def machine() -> Row:
    """Where and with what this was measured."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "platform": jax.default_backend(),
        "processor": _processor(),
        "cores": num_cores(),
        "devices": jax.device_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "commit": _commit(),
    }


def _processor() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Of the working tree, with a plus sign where it has changes; None outside a repository."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--json", help="file for the rows")
    made.add_argument("--quick", action="store_true", help="tiny settings: shows that it runs")
    return made


def table(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """Rows as aligned text; `columns` maps keys to format specifications such as ".2f"."""
    cells = [[key.replace("_", " ") for key in columns]]
    for row in rows:
        values = [(row.get(key), spec) for key, spec in columns.items()]
        cells.append(["-" if value is None else format(value, spec) for value, spec in values])
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    numeric = [bool(spec) for spec in columns.values()]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    )


def finish(rows: Sequence[Row], columns: Mapping[str, str], path: str | None) -> None:
    """Print the rows, and `store` them where asked.

    Args:
      rows, columns, path: what was measured, how `table` shows it, and the JSON file where one is wanted.
    """
    print(table(rows, columns))
    store(rows, path)


def store(rows: Sequence[Row], path: str | None) -> None:
    """Write rows as JSON where asked, each with the machine it came from."""
    if path:
        described = machine()
        whole = [{**row, "device": described["processor"], "machine": described} for row in rows]
        Path(path).write_text(json.dumps(whole, indent=1) + "\n")
