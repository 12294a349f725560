"""Patches of images: what each position of a kernel sees, and the convolution as their product.

Arrays are `[batch, height, width, channel]`, or `[channel, height, width, batch]` where a name says
`batch_last`.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after the height, and before and after the width."""


def to_batch_last(x: Array) -> Array:
    """Axes of images reversed, but for height and width; its own inverse."""
    return jnp.transpose(x, (3, 1, 2, 0))


def conv_batch_last(
    x: Float[Array, "cin height width batch"],
    kernel: Float[Array, "kh kw cin cout"],
    strides: int,
    pads: Pads,
) -> Float[Array, "cout out_height out_width batch"]:
    """The convolution as one product of the kernel with patches `[kh kw cin, height width batch]`.

    Args:
      x: the images, with the batch as the last axis.
      kernel: no larger than the padded images.
      strides: the same along both axes, >= 1.
      pads: zeros before and after, for the two axes of the images.
    """
    # The barriers keep XLA from recomputing what stands before them inside the fusions that read
    # it: without them the step of the two-layer CNN takes twice as long on a CPU.
    cin, cout = kernel.shape[2:]
    views = shifted_views(x, kernel.shape[:2], strides, pads, axes=(1, 2))
    patches = views[0] if len(views) == 1 else jnp.concatenate(views, axis=0)
    height, width, batch = patches.shape[1:]
    patches = lax.optimization_barrier(patches.reshape(len(views) * cin, height * width * batch))
    weights = kernel.reshape(len(views) * cin, cout)
    product = lax.dot_general(weights, patches, (((0,), (0,)), ((), ())))
    return lax.optimization_barrier(product.reshape(cout, height, width, batch))


def shifted_views(
    x: Array, kernel_size: tuple[int, ...], strides: int, pads: Pads, axes: tuple[int, int]
) -> list[Array]:
    """What each kernel position sees: one strided slice of the padded images per position.

    Args:
      x: images in any layout.
      kernel_size: height and width.
      strides: the same along both axes, >= 1.
      pads: zeros before and after, for the two axes of the images.
      axes: which ones of `x` are height and width.

    Returns:
      Height times width arrays, row by row, each with the axes of `x`.
    """
    padding = [(0, 0)] * x.ndim
    sizes = []
    for axis, k, pad in zip(axes, kernel_size, pads, strict=True):
        padding[axis] = pad
        sizes.append((x.shape[axis] + sum(pad) - k) // strides + 1)
    if any(pad != (0, 0) for pad in pads):
        x = lax.optimization_barrier(jnp.pad(x, padding))
    take = partial(_window_slice, x, axes=axes, sizes=tuple(sizes), strides=strides)
    return [take((i, j)) for i in range(kernel_size[0]) for j in range(kernel_size[1])]


def _window_slice(
    x: Array,
    starts: tuple[int, int],
    *,
    axes: tuple[int, int],
    sizes: tuple[int, ...],
    strides: int,
) -> Array:
    for axis, start, size in zip(axes, starts, sizes, strict=True):
        x = lax.slice_in_dim(x, start, start + (size - 1) * strides + 1, strides, axis)
    return x
