"""Smaller images by area averaging, once and on the host."""

import numpy as np
from jaxtyping import Float32, UInt8


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
