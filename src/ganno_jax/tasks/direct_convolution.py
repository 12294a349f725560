"""Convolution with stride 1 whose derivatives are convolutions that XLA runs fast on a CPU.

XLA on a CPU hands a convolution in its standard layout to a kernel that packs patches on the fly,
at 55 to 85 % of the rate of a large matrix product. The derivatives that JAX makes of
`lax.conv_general_dilated` have other layouts, miss that kernel and take 20 to 40 times as long. The
primitive of this module has standard convolutions as derivatives, that is, itself: by the images
with the kernel turned around, by the kernel with the batch in the place of the channels.

Under `vmap` over kernels one convolution follows another, since a convolution with a kernel per
training would be a grouped one, which is slow.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from ganno_jax.tasks.patches import Pads, conv_batch_last, to_batch_last

SMALLEST_SUM = 100
"""Products that one output needs for packing on the fly to pay; below it patches are written."""


def conv(
    x: Float[Array, "batch height width cin"], kernel: Float[Array, "kh kw cin cout"], pads: Pads
) -> Float[Array, "batch out_height out_width cout"]:
    """Convolution with stride 1 and `pads` zeros around the images.

    Forward and reverse mode, of any order, and `vmap` work through it.

    Args:
      x: the images.
      kernel: no larger than the padded images.
      pads: zeros before and after, for the two axes of the images.
    """
    return _conv_p.bind(x, kernel, pads=pads)


def suits(image: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    """Whether XLA's own convolution is the faster one, and not the product of written patches.

    Args:
      image: shape `[batch, height, width, cin]`.
      kernel: shape `[kh, kw, cin, cout]`.
    """
    fits = kernel[0] <= image[1] and kernel[1] <= image[2]  # if not, it is a hundred times slower
    return fits and kernel[0] * kernel[1] * kernel[2] >= SMALLEST_SUM


def _compute(x: Array, kernel: Array, *, pads: Pads) -> Array:
    if not suits(x.shape, kernel.shape):
        return to_batch_last(conv_batch_last(to_batch_last(x), kernel, 1, pads))
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=numbers)


def _shape(x: ShapedArray, kernel: ShapedArray, *, pads: Pads) -> ShapedArray:
    height, width = (x.shape[1 + i] + sum(pads[i]) - kernel.shape[i] + 1 for i in range(2))
    return x.update(shape=(x.shape[0], height, width, kernel.shape[3]))


def _by_images(cotangent: Array, x: Array, kernel: Array, *, pads: Pads) -> Array:
    del x
    turned = lax.optimization_barrier(jnp.swapaxes(kernel[::-1, ::-1], 2, 3))
    (top, bottom), (left, right) = pads
    rows, columns = kernel.shape[0] - 1, kernel.shape[1] - 1
    around = (rows - top, rows - bottom), (columns - left, columns - right)
    return conv(cotangent, turned, around)


def _by_kernel(cotangent: Array, x: Array, kernel: Array, *, pads: Pads) -> Array:
    del kernel
    images = lax.optimization_barrier(to_batch_last(x))
    windows = lax.optimization_barrier(jnp.transpose(cotangent, (1, 2, 0, 3)))
    return jnp.transpose(conv(images, windows, pads), (1, 2, 0, 3))


def _batch(
    arrays: tuple[Array, Array], axes: tuple[int | None, int | None], *, pads: Pads
) -> tuple[Array, int]:
    x, kernel = (
        a if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(arrays, axes, strict=True)
    )
    if axes[1] is None:
        y = conv(x.reshape(-1, *x.shape[2:]), kernel, pads)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    if axes[0] is None:
        return lax.map(lambda kernel: conv(x, kernel, pads), kernel), 0
    return lax.map(lambda pair: conv(*pair, pads), (x, kernel)), 0


_conv_p = Primitive("direct_conv")
_conv_p.def_impl(jax.jit(_compute, static_argnames="pads"))
_conv_p.def_abstract_eval(_shape)
ad.defbilinear(_conv_p, _by_images, _by_kernel)
batching.primitive_batchers[_conv_p] = _batch
mlir.register_lowering(_conv_p, mlir.lower_fun(_compute, multiple_results=False))
