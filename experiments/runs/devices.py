"""What must be set before JAX starts. Imports neither JAX nor anything that does."""

import os
import sys
import warnings
from pathlib import Path

from experiments.runs.errors import UserError

FORCED = "--xla_force_host_platform_device_count"


def prepare(devices: int | None) -> None:
    """One CPU device per core, and compiled programs kept between runs.

    Trainings are split over devices; on a CPU XLA uses one core per device for programs of many
    small steps, so as many devices as cores double the throughput on two cores. On other platforms
    the setting has no effect. A count in the user's own XLA_FLAGS, and a folder in the user's
    JAX_COMPILATION_CACHE_DIR, are kept. Programs that cannot be kept (a full disk) or read are
    compiled again without a word.

    Args:
      devices: how many instead of one per core.

    Raises:
      UserError: the environment asks for numbers of 64 bits.
    """
    if os.environ.get("JAX_ENABLE_X64", "").lower() in ("1", "true", "yes", "on", "y", "t"):
        raise UserError("experiments are made in float32: unset JAX_ENABLE_X64")
    if "jax" in sys.modules:  # in a process that uses JAX already, its settings stand
        return
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    flags = os.environ.get("XLA_FLAGS", "")
    if FORCED not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FORCED}={devices or num_cores()}".strip()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = cache_folder() / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # without a cache every run compiles anew, which is all that is lost
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)


def num_cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """`ganno_jax` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ganno_jax"
