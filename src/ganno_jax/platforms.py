"""For which platform a program is traced: some choices, such as the route of a convolution, differ by platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import jax

Platform = Literal["cpu", "gpu", "tpu"]
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
