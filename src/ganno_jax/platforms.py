"""For which platform a program is traced, and a setting for training on a CPU."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import jax

Platform = Literal["cpu", "gpu", "tpu"]
"""What programs are made for."""
_CHOSEN: ContextVar[Platform | None] = ContextVar("platform", default=None)


def platform() -> str:
    """The platform of `made_for`, else that of JAX's default devices."""
    return _CHOSEN.get() or jax.default_backend()


@contextmanager
def made_for(name: Platform) -> Iterator[None]:
    """Programs that are traced inside are for this platform, whichever one Python runs on.

    For `jax.export` and for compilers without a device: `jax.experimental.topologies`. What was traced before is
    forgotten at the beginning and at the end, since JAX keeps traces by shapes alone.

    Args:
      name: "gpu" stands for CUDA and ROCm.

    Raises:
      ValueError: no such platform.
    """
    if name not in get_args(Platform):
        raise ValueError(f"no platform {name!r}; there are: {', '.join(get_args(Platform))}.")
    jax.clear_caches()
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)
        jax.clear_caches()


def keep_freed_memory() -> bool:
    """Have the C library keep what programs on a CPU free, and hand it out again, instead of giving it back.

    By default glibc maps pieces above 32 MiB anew each time, and the kernel clears every page of them: a jitted step
    with so much of temporaries can spend more time on that than on its work (docs/performance.md). All threads then
    share one pool, so leave it alone where several CPU devices of one process run small programs side by side. For the
    whole process, from here on; the same as `MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647`.

    Returns:
      Whether the C library took the settings; False where it is not glibc, and nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    arenas, most_mapped, trim_threshold = -8, -4, -1  # M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD
    settings = ((arenas, 1), (most_mapped, 0), (trim_threshold, 2**31 - 1))
    return all([mallopt(name, number) == 1 for name, number in settings])
