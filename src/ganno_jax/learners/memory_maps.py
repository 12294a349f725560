"""Memory maps of this process, of which compiled programs take hundreds each and Linux allows 65,530 by default."""

from pathlib import Path

_LIMIT, _MAPS = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
SPARE = 1_000  # maps that the program which is compiled next takes at least


def maps_taken(maps: Path = _MAPS) -> int:
    """Memory maps of this process; 0 where the system does not say (it is no Linux).

    Args:
      maps: a line for each of them.
    """
    try:
        with maps.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0


def require_maps(what: str, maps: Path = _MAPS, limit: Path = _LIMIT) -> None:
    """Refuse to compile further where the system would end the process for it.

    Args:
      what: is compiled, for the message.
      maps: a line for each map of the process.
      limit: how many there may be.

    Raises:
      MemoryError: nearly all are taken. Where the system does not say (it is no Linux), nothing happens.
    """
    try:
        allowed = int(limit.read_text())
    except (OSError, ValueError):
        return
    taken = maps_taken(maps)
    if taken + SPARE > allowed:
        raise MemoryError(
            f"{what} take {taken:,} memory maps of this process, of which the system allows {allowed:,}: "
            "train on fewer kinds, or raise the limit (sysctl -w vm.max_map_count=262144)"
        )
