"""Memory that a run needs at least, against what there is, before anything is compiled.

Only what must be there at one time is counted, such as the states of trainings that run side by side: a run that is
refused could not have worked, one that is not may still need more.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from experiments.runs.errors import UserError

_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


@dataclass(frozen=True)
class Need:
    """Memory for one thing."""

    what: str  # such as "64 trainings side by side (learner.num_envs)"
    size: float  # bytes, of all processes
    on_host: bool = False  # even where devices have a memory of their own


def size_of(tree: Any) -> int:
    """Bytes of the arrays of a pytree, or of their shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def require(*needs: Need) -> None:
    """Raise a `UserError` for the largest need that is more than there is; not all are there at one time."""
    for need in sorted(needs, key=lambda need: -need.size):
        there = of_host() if need.on_host else of_devices()
        if need.size / jax.process_count() > there:
            raise UserError(
                f"{need.what} need at least {in_words(need.size)} of memory; {in_words(there)} are available"
            )


def of_devices() -> float:
    """Bytes that are free on this process's devices; those without a memory of their own use the host's."""
    free = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            free.append(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return sum(free) if free else of_host()


def of_host() -> float:
    """Bytes that the system can still give, swap included; no more than a container may use."""
    free = _free_of_system()
    try:
        return min(free, float(_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return free


def in_words(size: float) -> str:
    """Such as "17.9 GiB"."""
    unit = "bytes"
    for larger in _UNITS:
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit != "bytes" else f"{size:.0f} bytes"


def _free_of_system() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = {
            name: 1024 * int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)
        }
        return found["MemAvailable"] + found.get("SwapFree", 0)
    except (OSError, ValueError, KeyError, IndexError):  # not Linux: all there is, used or not
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
