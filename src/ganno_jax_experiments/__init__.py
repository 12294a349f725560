"""The command `ganno-jax`: the same as `python -m experiments.run` in a checkout.

The folder `experiments` lies in this package when it is installed, so that no package claims so common a name among
those of others; in a checkout it lies at its root. Either is put in front of the import path of this process.
"""

import sys
from pathlib import Path


def main() -> None:
    """Run a command and end with the exit status of `experiments.run`."""
    here = Path(__file__).parent
    root = here if (here / "experiments").is_dir() else here.parents[1]
    sys.path.insert(0, str(root))
    from experiments.runs import at_once

    at_once.stop_at_once()  # before the imports below, which take a while
    from experiments.run import program

    program()
