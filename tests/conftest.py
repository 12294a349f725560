"""Four forced CPU devices for every test, so that sharding is tested without an accelerator.

Compiling is most of the tests' time, so programs are kept in `.jax_cache` (`make clean` removes it): a second run takes
a third of it, and the subprocesses of tests share them.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
)

import jax
import pytest

from ganno_jax.learners.memory_maps import maps_taken

MANY_MAPS = 20_000


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def _quick_compilation():
    """Unoptimized machine code: compiling is nearly all of a small program's time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True, scope="module")
def _programs_are_let_go():
    """Of the modules that are done, before a process has the 65,530 memory maps that end it."""
    yield
    if maps_taken() > MANY_MAPS:
        jax.clear_caches()
