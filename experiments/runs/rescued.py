"""The description of a run whose `config.json` is lost, from the files of its checkpoints. Imports nothing heavy."""

import hashlib
import json
from pathlib import Path
from typing import Any


def description(checkpoints: Path) -> dict[str, Any] | None:
    """As `config.json` has it, from the newest checkpoint that holds the configuration; None if there is none.

    Args:
      checkpoints: folder of the run's checkpoints.
    """
    numbers = (int(path.name) for path in checkpoints.glob("*") if path.name.isdigit())
    for number in sorted(numbers, reverse=True):
        place = checkpoints / str(number)
        try:
            content = (place / "metadata" / "metadata").read_bytes()
            digests = json.loads((place / "sha256.json").read_text(encoding="utf-8"))
            if digests["metadata/metadata"] != hashlib.sha256(content).hexdigest():
                continue
            metadata = json.loads(content)
            found = {"config": metadata["config"], "versions": metadata["versions"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        unknown = {"devices": [], "cores": None, "git_commit": None}
        return found | unknown | {"restored_from": f"{checkpoints.name}/{number}"}
    return None
