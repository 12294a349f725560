"""How long a run took, over all its sittings."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass
class Clock:
    """Seconds of a run."""

    earlier: float = 0.0  # of earlier sittings
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Of all sittings."""
        return self.earlier + time.monotonic() - self.started

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seconds": self.seconds}

    def go_on_from(self, metadata: Mapping[str, Any]) -> None:
        """Add what a checkpoint kept."""
        self.earlier += metadata["seconds"]
