"""What was recorded from the code of other authors (`golden/README.md`)."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def read(name):
    """The arrays of a file, by path."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def under(arrays, prefix):
    """The arrays below a path, by the rest of their names, which sort like the original tree."""
    return {k[len(prefix) + 1 :]: v for k, v in arrays.items() if k.startswith(prefix + "/")}


def nested(flat):
    """A tree of weights as its authors write it, from the arrays by path."""
    tree = {}
    for path, array in flat.items():
        top, _, rest = path.partition("/")
        if top == "ff_mod_stack":
            tree.setdefault(top, {}).setdefault("~", {})[rest.removeprefix("~/")] = array
        elif top == "lstm_init_state":
            tree.setdefault(top, {})[rest] = array
        else:
            layer, _, name = rest.rpartition("/")
            tree.setdefault(top, {}).setdefault(layer, {})[name] = array
    return tree
