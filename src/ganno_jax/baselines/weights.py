"""Weights of the learned optimizers: typed containers, read from files without pickle."""

import importlib.resources
import os
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from flax import struct
from jaxtyping import Array, Float

GROUP_CHANNELS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
"""Channels of the fourteen groups in `learned_step.parameter_features`."""

SHIPPED = ("celo", "celo_adam")
"""Names of the weights that come with the package (MIT licence, `data/README.md`)."""


@struct.dataclass
class Linear:
    """An affine layer, `x w + b`."""

    w: Float[Array, "input output"]
    b: Float[Array, " output"]


@struct.dataclass
class SchedulerWeights:
    """The recurrent network that sets one multiplier per tensor, and its learned initial state."""

    pooled: Linear  # read by the maximum over tensors
    own: Linear  # read by the tensor itself
    gates: Linear  # input, candidate, forget, output
    step: Linear
    mix: Linear | None
    hidden: Float[Array, " state"]
    cell: Float[Array, " state"]


@struct.dataclass
class StepBank:
    """A bank of small per-parameter networks, 30 inputs, two hidden layers, three outputs."""

    w0: Float[Array, "bank feature hidden"]
    b0: Float[Array, "bank hidden"]
    w1: Float[Array, "bank hidden hidden"]
    b1: Float[Array, "bank hidden"]
    w2: Float[Array, "bank hidden output"]
    b2: Float[Array, "bank output"]


@struct.dataclass
class LearnedWeights:
    """Everything meta-training found. `step` is None where the network only schedules (Celo-Adam).

    Leaves are NumPy arrays until they are passed to a jitted function.
    """

    scheduler: SchedulerWeights
    step: StepBank | None

    @property
    def num_inputs(self) -> int:
        """Scheduler inputs per tensor: 18 for Celo and Celo-Adam, 30 for VeLO."""
        return self.scheduler.own.w.shape[0]


def load_weights(path: str | os.PathLike) -> LearnedWeights:
    """Read a weight file in flax's msgpack format (nested maps, arrays as extension type 1).

    Both a bare weight tree and one inside a checkpoint (next to a step number and a name) are read.
    No code in the file is executed.

    Args:
      path: for example a `theta.state` of the Celo repository or a `params` file of VeLO.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is in another format, or arrays are missing or have shapes that do not
        fit.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"No weight file at '{os.fspath(path)}'. Weights of {' and '.join(SHIPPED)} come with "
            "the package (`shipped_weights`); VeLO's have to be downloaded from its authors."
        )
    with open(path, "rb") as file:
        return _parse(file.read(), os.fspath(path))


def shipped_weights(name: str) -> LearnedWeights:
    """Pretrained weights from inside the package.

    Args:
      name: "celo" or "celo_adam".

    References:
      Moudgil et al. 2025, arXiv:2501.12670; copyright (c) 2025 Abhinav Moudgil, MIT licence.
    """
    if name not in SHIPPED:
        raise ValueError(f"No weights '{name}' in the package; there are: {', '.join(SHIPPED)}.")
    file = importlib.resources.files(__package__) / "data" / f"{name}.state"
    return _parse(file.read_bytes(), f"{name}.state")


def weights_from_tree(tree: Mapping[str, Any], source: str = "the weight tree") -> LearnedWeights:
    """Check a nested weight tree, names as in the published files, and give it types.

    The layer `rnn_params/linear` of the files has no effect and is dropped.

    Raises:
      ValueError: arrays are missing or have shapes that do not fit.
    """
    read = _Reader(tree, source)
    (state,) = read("lstm_init_state/hidden", (1, None))[0].shape
    num_inputs = read("rnn_params/linear_2/w", (None, state)).shape[0]

    def linear(name: str, inputs: int, outputs: int | None) -> Linear:
        w = read(f"rnn_params/{name}/w", (inputs, outputs))
        return Linear(w, read(f"rnn_params/{name}/b", (w.shape[1],)))

    step = None
    if read.has("ff_mod_stack/~/b0"):
        bank, hidden = read("ff_mod_stack/~/b0", (None, None)).shape
        first = [
            read(f"ff_mod_stack/~/w0__{group}", (bank, channels, hidden))
            for group, channels in enumerate(GROUP_CHANNELS)
        ]
        step = StepBank(
            w0=np.concatenate(first, axis=1),
            b0=read("ff_mod_stack/~/b0", (bank, hidden)),
            w1=read("ff_mod_stack/~/w1", (bank, hidden, hidden)),
            b1=read("ff_mod_stack/~/b1", (bank, hidden)),
            w2=read("ff_mod_stack/~/w2", (bank, hidden, 3)),
            b2=read("ff_mod_stack/~/b2", (bank, 3)),
        )
    scheduler = SchedulerWeights(
        pooled=linear("linear_1", num_inputs, state),
        own=linear("linear_2", num_inputs, state),
        gates=linear("rnn/linear", 2 * state, 4 * state),
        step=linear("step_size", state, 1),
        mix=linear("rnn_to_controls", state, step.b0.shape[0]) if step is not None else None,
        hidden=read("lstm_init_state/hidden", (1, state))[0],
        cell=read("lstm_init_state/cell", (1, state))[0],
    )
    return LearnedWeights(scheduler, step)


def check_weights(
    weights: LearnedWeights, method: str, num_inputs: int, has_step: bool
) -> LearnedWeights:
    """Return `weights` if they belong to `method`, or say in one line why not.

    Args:
      weights: what a method was given.
      method: its name, for messages.
      num_inputs: scheduler inputs per tensor that it needs.
      has_step: whether it needs a per-parameter network.
    """
    if not isinstance(weights, LearnedWeights):
        raise ValueError(
            f"`{method}` needs weights from `load_weights` or `weights_from_tree`; "
            f"got {type(weights).__name__}."
        )
    if weights.num_inputs != num_inputs or (weights.step is not None) != has_step:
        raise ValueError(
            f"`{method}` needs weights with {num_inputs} scheduler inputs and "
            f"{'a' if has_step else 'no'} per-parameter network; these have "
            f"{weights.num_inputs} and {'no' if weights.step is None else 'a'} such network."
        )
    return weights


class _Reader:
    """Looks arrays up by path and checks their shapes; None in a shape fits any length."""

    def __init__(self, tree: Mapping[str, Any], source: str):
        self.source = source
        self.leaves = dict(_leaves(tree, ()))

    def has(self, path: str) -> bool:
        return path in self.leaves

    def __call__(self, path: str, shape: tuple[int | None, ...]) -> np.ndarray:
        if path not in self.leaves:
            raise ValueError(
                f"{self.source} has no array '{path}'; it has {len(self.leaves)} entries: "
                f"{', '.join(sorted(self.leaves)[:4])}, ..."
            )
        array = np.asarray(self.leaves[path], np.float32)
        fits = array.ndim == len(shape) and all(
            wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = tuple("any" if length is None else length for length in shape)
            raise ValueError(
                f"{self.source}: '{path}' needs shape {wanted}; it has shape {array.shape}."
            )
        return array


def _leaves(tree: Mapping[str, Any], prefix: tuple[str, ...]):
    for name, child in tree.items():
        if isinstance(child, Mapping):
            yield from _leaves(child, (*prefix, str(name)))
        else:
            yield "/".join((*prefix, str(name))), child


def _parse(content: bytes, source: str) -> LearnedWeights:
    try:
        tree = msgpack.unpackb(content, ext_hook=_array)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(
            f"'{source}' is not a flax msgpack file of float arrays "
            f"({type(error).__name__}: {error})."
        ) from error
    if not isinstance(tree, Mapping):
        raise ValueError(
            f"'{source}' needs a map of arrays at its top; it has a {type(tree).__name__}."
        )
    if "rnn_params" not in tree:  # A checkpoint: the weights are one entry of several.
        inside = [
            child for child in tree.values() if isinstance(child, Mapping) and "rnn_params" in child
        ]
        tree = inside[0] if inside else tree
    return weights_from_tree(tree, f"'{source}'")


def _array(code: int, data: bytes) -> np.ndarray:
    """Flax's extension type 1: shape, dtype name, raw C-order bytes."""
    if code != 1:
        raise ValueError(f"extension type {code}, only arrays (type 1) are read")
    shape, dtype, raw = msgpack.unpackb(data)
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"an array of {dtype}, only floats are read")
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape)
