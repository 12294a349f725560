"""Images moved and mirrored as they are gathered: other ones in every step, nothing kept in memory."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, UInt32

from ganno_jax.tasks.dataset import Dataset


@struct.dataclass
class CropsAndFlips:
    """Every image moved by up to `padding` pixels each way, and mirrored half of the time.

    What comes in over an edge is the image reflected there. The usual augmentation of CIFAR (He et al. 2015,
    arXiv:1512.03385, section 4.2: four pixels, there filled with zeros; reflected as in Jordan 2024, arXiv:2404.00498).

    Raises:
      ValueError: `padding` is negative, or there is nothing to do.
    """

    padding: int = struct.field(pytree_node=False, default=4)
    flip: bool = struct.field(pytree_node=False, default=True)

    def __post_init__(self):
        if self.padding < 0 or not (self.padding or self.flip):
            raise ValueError(
                f"`padding` must be at least 0, and at least 1 without `flip`; got {self.padding}."
            )

    def check(self, dataset: Dataset) -> None:
        """`ValueError` unless the examples are images larger than the padding whose targets do not move with them."""
        shape = dataset.input_shape
        if len(shape) != 3 or min(shape[:2]) <= self.padding or dataset.target_shape:
            raise ValueError(
                f"crops and flips are for images [height, width, channel] of more than {self.padding} pixels with one "
                f"target each; {dataset.name} has inputs {shape} and targets {dataset.target_shape}."
            )

    def __call__(
        self, images: Float[Array, "batch height width channel"], words: UInt32[Array, " batch"]
    ) -> Float[Array, "batch height width channel"]:
        """The images as they are seen in one step.

        Args:
          images: normalized or not.
          words: random, of this step (`sampling.visit_words`).
        """
        choices = jnp.uint32(2 * self.padding + 1)
        down, right = (((words >> place) & 0x7FFF) * choices >> 15 for place in (0, 15))
        mirrored = (words >> 31 == 1) & self.flip
        return jax.vmap(self._moved)(
            images, down.astype(jnp.int32), right.astype(jnp.int32), mirrored
        )

    def _moved(
        self,
        image: Float[Array, "height width channel"],
        down: Int[Array, ""],
        right: Int[Array, ""],
        mirrored: Bool[Array, ""],
    ) -> Float[Array, "height width channel"]:
        height, width, _ = image.shape
        rows = _reflected(jnp.arange(height) + down - self.padding, height)
        columns = _reflected(jnp.arange(width) + right - self.padding, width)
        columns = jnp.where(mirrored, columns[::-1], columns)
        return image[rows][:, columns]


def _reflected(places: Int[Array, " place"], size: int) -> Int[Array, " place"]:
    """Places outside of `[0, size)` by less than `size`, mirrored at its first and its last place."""
    return (size - 1) - jnp.abs((size - 1) - jnp.abs(places))
