"""Where a run is and how it is computed; nothing here changes what is computed."""

from dataclasses import dataclass

from experiments.configs.bounds import Count, SomeCount


@dataclass(frozen=True)
class PlaceConfig:
    """Where a run of any kind is; nothing here changes what is computed."""

    folder: str = "runs"
    """Where run folders are made."""
    name: str | None = None
    """Name of the run's folder; by default the preset's."""
    resume: bool = False
    """Go on from the run's last checkpoint."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints: what a killed run loses at most."""
    devices: SomeCount = None
    """Devices of each process (on a CPU: threads of work); by default as many as divide the trainings."""
    coordinator: str | None = None
    """host:port of the first of several processes that run as one, or auto: ask the cluster."""
    num_processes: int | None = None
    """Processes that run as one, unless the cluster says."""
    process_id: int | None = None
    """Number of this process among them, from 0, unless the cluster says."""


@dataclass(frozen=True)
class RunConfig(PlaceConfig):
    """Where and how it runs; nothing here changes what is computed."""

    updates_per_call: Count = 5
    """At most so many learner updates per jitted call."""
    mapping: str = "auto"
    """Over trainings: vmap (all in step), map (one after another), auto, or so many at a time."""
    profile: bool = False
    """Write a profile of a few updates into `profile/`."""
