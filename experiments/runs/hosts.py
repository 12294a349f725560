"""Several processes, on one machine or many, that run one program together. Imports JAX only where it is used.

Every process runs the same Python and the same compiled programs on its share of the trainings. What depends on the
clock or on signals is agreed on first (`largest`), so that all of them take the same way.
"""

from collections.abc import Callable
from typing import Any

from experiments.configs.place import PlaceConfig
from experiments.runs.errors import UserError


def join(place: PlaceConfig) -> None:
    """Meet the other processes; must come before JAX is used otherwise.

    Raises:
      UserError: the options do not fit each other, or the others cannot be met.
    """
    if place.coordinator is None:
        if place.num_processes is not None or place.process_id is not None:
            raise UserError(
                "`run.num_processes` and `run.process_id` need `run.coordinator`, the address of the first process"
            )
        return
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        if place.coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(place.coordinator, *_counted(place))
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the processes cannot meet at {place.coordinator!r}: {reason}") from error


def index() -> int:
    """Of this process, from 0."""
    import jax

    return jax.process_index() if jax.distributed.is_initialized() else 0


def count() -> int:
    """Of the processes."""
    import jax

    return jax.process_count() if jax.distributed.is_initialized() else 1


def leads() -> bool:
    """Whether this is the process that tells the user and writes what there is one of."""
    return index() == 0


def devices(each: int) -> list[Any]:
    """The first so many devices of every process."""
    import jax

    return [device for p in range(count()) for device in jax.local_devices(process_index=p)[:each]]


def largest(number: int) -> int:
    """The largest over all processes, which must all call this; below 2**31."""
    if count() == 1:
        return number
    import numpy as np
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def first(act: Callable[[], None], otherwise: str) -> None:
    """Let the first process do something; where that fails there, all processes stop.

    Raises:
      UserError, OSError: what `act` raised in the first process.
      UserError: `otherwise`, in the others.
    """
    refusal: Exception | None = None
    if leads():
        try:
            act()
        except (UserError, OSError) as error:
            refusal = error
    if largest(refusal is not None):
        raise refusal or UserError(otherwise)


def mesh_of(place: PlaceConfig) -> Any:
    """The devices that a run uses.

    Raises:
      UserError: there are not so many.
    """
    import jax

    from ganno_jax.learners import make_mesh

    there = jax.local_device_count()
    if place.devices is not None and not 1 <= place.devices <= there:
        raise UserError(
            f"`run.devices` must be between 1 and the {there} there are; got {place.devices}"
        )
    return make_mesh(devices(place.devices or there))


def _counted(place: PlaceConfig) -> tuple[int, int]:
    processes, number = place.num_processes, place.process_id
    if place.coordinator is not None and ":" not in place.coordinator:
        raise UserError(f"`run.coordinator` must be host:port or auto; got {place.coordinator!r}")
    if processes is None or number is None:
        raise UserError("`run.coordinator` needs `run.num_processes` and `run.process_id`")
    if not 0 <= number < processes:
        raise UserError(
            f"`run.process_id` must be from 0 to `run.num_processes` - 1 = {processes - 1}; got {number}"
        )
    return processes, number
