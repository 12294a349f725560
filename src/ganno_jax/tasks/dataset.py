"""A supervised data set that lives on the device once and is shared by all trainings."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, Num, UInt8


@struct.dataclass
class Batch:
    """Examples as a network sees them."""

    inputs: Num[Array, "batch ..."]
    targets: Num[Array, "batch ..."]


@struct.dataclass
class Split:
    """Part of a data set, as it is stored: uint8 images stay uint8."""

    inputs: Num[Array, "example ..."]
    targets: Num[Array, "example ..."]

    @property
    def num_examples(self) -> int:
        return self.inputs.shape[0]


@struct.dataclass
class Dataset:
    """Train, validation and test examples, with the affine map that normalizes them in the gather.

    A batch is `inputs * scale + shift` in float32 (integer inputs with `scale=None` pass unchanged: tokens).
    """

    train: Split
    validation: Split
    test: Split
    scale: Float[Array, "..."] | None
    shift: Float[Array, "..."] | None
    num_classes: int = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="arrays")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]

    def normalize(self, inputs: Num[Array, "batch ..."]) -> Num[Array, "batch ..."]:
        """Stored examples as the network reads them."""
        if self.scale is None:
            return inputs
        return inputs.astype(jnp.float32) * self.scale + self.shift

    def gather(self, split: Split, indices: Int[Array, " batch"]) -> Batch:
        """The examples at `indices` of `split`, normalized; indices past the end are clamped."""
        return Batch(
            self.normalize(jnp.take(split.inputs, indices, axis=0, mode="clip")),
            jnp.take(split.targets, indices, axis=0, mode="clip"),
        )

    def whole(self, split: Split) -> Batch:
        """All examples of `split`, normalized."""
        return Batch(self.normalize(split.inputs), split.targets)


def from_arrays(
    inputs: Num[np.ndarray, "example ..."] | UInt8[np.ndarray, "example ..."],
    targets: Num[np.ndarray, " example"],
    *,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    num_classes: int | None = None,
    normalize: bool = True,
    seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """A classification data set from arrays in memory.

    Examples are shuffled once with `seed` and cut into splits; where `test` is given it is kept as the test
    split. Normalization to zero mean and unit variance per channel (last axis; a single number for inputs
    without channels) is fitted on the training split.

    Args:
      inputs: examples, uint8 or floating; integers of other types are class or token ids and stay as they are.
      targets: class ids in `[0, num_classes)`.
      test: inputs and targets of an official test split.
      validation_fraction: share of `inputs` held out for validation, in (0, 1).
      test_fraction: share held out for testing where `test` is not given, in (0, 1).
      num_classes: by default the largest target plus one.
      normalize: False keeps uint8 inputs in [0, 255] and floats as they are, as float32.
      seed: of the shuffle.
      name: shown in tables.

    Raises:
      ValueError: lengths differ, a split would be empty, targets outside the classes, NaN or infinity in the
        inputs.
    """
    raise NotImplementedError


def place(dataset: Dataset) -> Dataset:
    """Put a data set made of NumPy arrays on the default device."""
    return jax.tree.map(jnp.asarray, dataset)
