"""Convolution and pooling with a choice of route, because the fastest one differs by platform.

All routes compute the same function; forward and reverse mode, `jvp` and `vmap` over kernels work
through each. Arrays are `[batch, height, width, channel]` outside whatever the route does inside.

| route | what it does |
| --- | --- |
| `native` | `lax.conv_general_dilated`; under `vmap` over kernels a grouped convolution: slow |
| `im2col` | shifted slices side by side as patches `[M, K]`, one matrix product |
| `batch_last` | the same with the batch as the fastest axis, patches `[K, M]`: long copies |
| `shifted` | a sum of one small product per kernel position: the least memory |
| `auto` | `AUTO_ROUTES`, `AUTO_POOLED_ROUTES`: by platform |

A convolution followed directly by `max_pool` of the same route (bias and activation after it) lets
XLA cancel the transposes of `batch_last` between the two; a bias in between makes them real
copies, and `im2col` is then faster. `networks.layers.Conv` has that order.
"""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Route = Literal["auto", "native", "im2col", "batch_last", "shifted"]
Padding = Literal["SAME", "VALID"]

# Filled by `benchmarks/convolution.py`. On one CPU core a step of the two-layer CNN, 16 and 32
# filters, runs at 22 % (bias between) to 44 % (pooled) of the rate of a large matrix product with
# `batch_last`, at 28 to 30 % with `im2col`, 25 to 32 % with `shifted`. Accelerators: not measured
# yet.
AUTO_ROUTES: dict[str, Route] = {"cpu": "im2col", "gpu": "im2col", "tpu": "native"}
AUTO_POOLED_ROUTES: dict[str, Route] = {"cpu": "batch_last", "gpu": "im2col", "tpu": "native"}


def resolve_route(route: str, *, pooled: bool = False) -> str:
    """The route that `auto` stands for on the default backend; other routes are themselves.

    Args:
      route: one of `Route`.
      pooled: whether max-pooling follows the convolution directly.

    Raises:
      ValueError: no route of that name.
    """
    if route not in get_args(Route):
        raise ValueError(f"no route {route!r}; there are: {', '.join(get_args(Route))}.")
    table = AUTO_POOLED_ROUTES if pooled else AUTO_ROUTES
    return table.get(jax.default_backend(), "im2col") if route == "auto" else route


def conv(
    x: Float[Array, "batch height width cin"],
    kernel: Float[Array, "kh kw cin cout"],
    *,
    strides: int = 1,
    padding: Padding = "SAME",
    route: str = "auto",
) -> Float[Array, "batch out_height out_width cout"]:
    """Two-dimensional convolution (a correlation, as everywhere in the field).

    Args:
      x: images or activations.
      kernel: weights.
      strides: step of the window along both axes, >= 1.
      padding: `SAME` (output size `ceil(size / strides)`) or `VALID`.
      route: how it is computed; see the module.

    Raises:
      ValueError: ranks or channels do not fit, the kernel exceeds the image, or a name is unknown.
    """
    route = resolve_route(route)
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            "`conv` needs x [batch, height, width, cin] and a kernel [kh, kw, cin, cout]; "
            f"got {x.shape} and {kernel.shape}."
        )
    if strides < 1:
        raise ValueError(f"`strides` must be at least 1; got {strides}.")
    if padding not in get_args(Padding):
        raise ValueError(f"`padding` must be 'SAME' or 'VALID'; got {padding!r}.")
    if padding == "VALID" and (x.shape[1] < kernel.shape[0] or x.shape[2] < kernel.shape[1]):
        raise ValueError(f"a {kernel.shape[:2]} kernel does not fit into {x.shape[1:3]} images.")
    if route == "native":
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (strides, strides), padding, dimension_numbers=numbers
        )
    if route == "shifted":
        views = _shifted_views(x, kernel.shape[:2], strides, padding, axes=(1, 2))
        weights = kernel.reshape(-1, *kernel.shape[2:])
        return sum(view @ weights[i] for i, view in enumerate(views))
    if route == "im2col":
        views = _shifted_views(x, kernel.shape[:2], strides, padding, axes=(1, 2))
        patches = views[0] if len(views) == 1 else jnp.concatenate(views, axis=3)
        return patches @ kernel.reshape(-1, kernel.shape[3])
    return _to_batch_first(_conv_batch_last(_to_batch_last(x), kernel, strides, padding))


def max_pool(
    x: Float[Array, "batch height width channel"], window: int = 2, *, route: str = "auto"
) -> Float[Array, "batch out_height out_width channel"]:
    """Largest value of each window; windows do not overlap, an incomplete last one is dropped.

    Entries that share the largest value share the gradient equally, on the `native` route
    (`reduce_window`) the first of them gets it.

    Raises:
      ValueError: the window is below 1 or exceeds the image.
    """
    route = resolve_route(route)
    _check_window(x, window)
    if window == 1:
        return x
    if route == "native":
        shape = (1, window, window, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, shape, shape, "VALID")
    if route == "batch_last":
        return _to_batch_first(_windows(_to_batch_last(x), window).max((2, 4)))
    return _windows(x, window).max((2, 4))


def avg_pool(
    x: Float[Array, "batch height width channel"], window: int = 2, *, route: str = "auto"
) -> Float[Array, "batch out_height out_width channel"]:
    """Mean of each window; windows do not overlap, an incomplete last one is dropped.

    Raises:
      ValueError: the window is below 1 or exceeds the image.
    """
    route = resolve_route(route)
    _check_window(x, window)
    if route == "native":
        shape = (1, window, window, 1)
        return lax.reduce_window(x, 0.0, lax.add, shape, shape, "VALID") / window**2
    if route == "batch_last":
        return _to_batch_first(_windows(_to_batch_last(x), window).mean((2, 4)))
    return _windows(x, window).mean((2, 4))


def _conv_batch_last(
    x: Float[Array, "cin height width batch"],
    kernel: Float[Array, "kh kw cin cout"],
    strides: int,
    padding: Padding,
) -> Float[Array, "cout out_height out_width batch"]:
    # The barriers keep XLA from recomputing what stands before them inside the fusions that read
    # it: without them the step of the two-layer CNN takes twice as long on a CPU.
    cin, cout = kernel.shape[2:]
    views = _shifted_views(x, kernel.shape[:2], strides, padding, axes=(1, 2))
    patches = views[0] if len(views) == 1 else jnp.concatenate(views, axis=0)
    height, width, batch = patches.shape[1:]
    patches = lax.optimization_barrier(patches.reshape(len(views) * cin, height * width * batch))
    weights = kernel.reshape(len(views) * cin, cout)
    product = lax.dot_general(weights, patches, (((0,), (0,)), ((), ())))
    return lax.optimization_barrier(product.reshape(cout, height, width, batch))


def _shifted_views(
    x: Array, kernel_size: tuple[int, ...], strides: int, padding: Padding, axes: tuple[int, int]
) -> list[Array]:
    """What each kernel position sees: one strided slice of the padded images per position."""
    pads = [(0, 0)] * x.ndim
    sizes = []
    for axis, k in zip(axes, kernel_size, strict=True):
        size = x.shape[axis]
        out = -(-size // strides) if padding == "SAME" else (size - k) // strides + 1
        total = max((out - 1) * strides + k - size, 0) if padding == "SAME" else 0
        pads[axis] = (total // 2, total - total // 2)
        sizes.append(out)
    if any(pad != (0, 0) for pad in pads):
        x = lax.optimization_barrier(jnp.pad(x, pads))
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


def _windows(x: Float[Array, "a height width b"], window: int) -> Float[Array, "a h w1 w w2 b"]:
    """Axes 1 and 2 cut into windows; rows and columns left over are dropped."""
    height, width = x.shape[1] // window, x.shape[2] // window
    x = x[:, : height * window, : width * window]
    return x.reshape(x.shape[0], height, window, width, window, x.shape[3])


def _check_window(x: Array, window: int) -> None:
    if x.ndim != 4:
        raise ValueError(f"pooling needs [batch, height, width, channel]; got shape {x.shape}.")
    if window < 1 or window > min(x.shape[1:3]):
        raise ValueError(
            f"`window` must be between 1 and the image's size {x.shape[1:3]}; got {window}."
        )


def _to_batch_last(x: Array) -> Array:
    return jnp.transpose(x, (3, 1, 2, 0))


def _to_batch_first(x: Array) -> Array:
    return jnp.transpose(x, (3, 1, 2, 0))
