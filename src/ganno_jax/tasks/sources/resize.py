"""Smaller images: the middle, fewer pixels by area averaging, one channel; once and on the host."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8


class Smaller(NamedTuple):
    """What is done to the images of a set, in this order; None and False leave them as they are."""

    crop: int | None
    image_size: int | None
    grey: bool

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of what is to be done."""
        values = self._asdict().items()
        return tuple(name for name, value in values if value is not None and value is not False)

    def refuse(self, reason: str) -> None:
        """`ValueError` if anything is to be done to a set that has no images."""
        if self.asked:
            raise ValueError(f"`{self.asked[0]}` is for images; {reason}.")

    def of(self, images: np.ndarray, name: str) -> np.ndarray:
        """The images of the set `name`, smaller.

        Raises:
          ValueError: they are no uint8 images, or smaller than what is asked for.
        """
        if not self.asked:
            return images
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(
                f"`{self.asked[0]}` needs uint8 images [example, height, width, channel]; "
                f"{name} has {images.dtype} of shape {images.shape}."
            )
        if self.crop is not None:
            images = middle(images, self.crop)
        if self.image_size is not None:
            images = shrink(images, self.image_size)
        return one_channel(images) if self.grey else images


def middle(
    images: UInt8[np.ndarray, "example height width channel"], crop: int
) -> UInt8[np.ndarray, "example crop crop channel"]:
    """The square of `crop` by `crop` pixels in the middle; `ValueError` if it is larger than the images."""
    height, width = images.shape[1:3]
    if not 1 <= crop <= min(height, width):
        raise ValueError(
            f"`crop` must be in [1, {min(height, width)}] for images of {height}x{width}; got {crop}."
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    return images[:, top : top + crop, left : left + crop]


def one_channel(
    images: UInt8[np.ndarray, "example height width channel"],
) -> UInt8[np.ndarray, "example height width 1"]:
    """The mean over the channels."""
    grey = np.empty((*images.shape[:3], 1), np.uint8)
    for start in range(0, len(images), 2048):
        chunk = images[start : start + 2048].mean(-1, dtype=np.float32, keepdims=True)
        grey[start : start + 2048] = np.rint(chunk)
    return grey


def shrink(
    images: UInt8[np.ndarray, "example height width channel"], image_size: int
) -> UInt8[np.ndarray, "example size size channel"]:
    """Images of `image_size` by `image_size`; a new pixel is the mean of the area it covers.

    Raises:
      ValueError: `image_size` is not in [1, smaller side].
    """
    height, width = images.shape[1:3]
    if not 1 <= image_size <= min(height, width):
        raise ValueError(
            f"`image_size` must be in [1, {min(height, width)}] for images of {height}x{width}; "
            f"got {image_size}."
        )
    if height == width == image_size:
        return images
    rows, columns = area_weights(height, image_size), area_weights(width, image_size)
    small = np.empty((len(images), image_size, image_size, images.shape[3]), np.uint8)
    for start in range(0, len(images), 2048):
        chunk = images[start : start + 2048].astype(np.float32)
        chunk = np.einsum("oh,nhwc->nowc", rows, chunk, optimize=True)
        chunk = np.einsum("pw,nowc->nopc", columns, chunk, optimize=True)
        small[start : start + 2048] = np.rint(chunk)
    return small


def area_weights(length: int, new_length: int) -> Float32[np.ndarray, "new old"]:
    """Share of each old pixel in each new one; rows sum to one."""
    edges = np.arange(new_length + 1) * (length / new_length)
    old = np.arange(length)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return (np.maximum(overlap, 0) * (new_length / length)).astype(np.float32)
