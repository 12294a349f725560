"""Convolution and pooling with a choice of route, because the fastest one differs by platform.

All routes compute the same function; forward and reverse mode, `jvp` and `vmap` over kernels work
through each. Arrays are `[batch, height, width, channel]` outside whatever the route does inside.

| route | what it does |
| --- | --- |
| `native` | `lax.conv_general_dilated`; under `vmap` over kernels a grouped convolution: slow |
| `im2col` | shifted slices side by side as patches `[M, K]`, one matrix product |
| `batch_last` | the same with the batch as the fastest axis, patches `[K, M]`: long copies |
| `shifted` | a sum of one small product per kernel position: the least memory |
| `direct` | no patches where the kernel is large enough (`direct_convolution`); strided and 1x1: `im2col` |
| `auto` | `AUTO_ROUTES`: by platform |

A convolution followed directly by pooling of `pooling_route` (bias and activation after it) lets
XLA cancel the transposes of `batch_last` between the two; a bias in between makes them real
copies. `networks.layers.Conv` has that order.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ganno_jax.platforms import platform
from ganno_jax.tasks import direct_convolution
from ganno_jax.tasks.patches import Pads, conv_batch_last, shifted_views, to_batch_last

Route = Literal["auto", "native", "im2col", "batch_last", "shifted", "direct"]
Padding = Literal["SAME", "VALID"]

# From `benchmarks.convolution` and docs/performance.md. Accelerators: not measured yet.
AUTO_ROUTES: dict[str, Route] = {"cpu": "direct", "gpu": "im2col", "tpu": "native"}


def resolve_route(route: str) -> str:
    """The route that `auto` stands for on `platforms.platform`; other routes are themselves.

    Raises:
      ValueError: no route of that name.
    """
    if route not in get_args(Route):
        raise ValueError(f"no route {route!r}; there are: {', '.join(get_args(Route))}.")
    return AUTO_ROUTES.get(platform(), "im2col") if route == "auto" else route


def pooling_route(route: str, image: tuple[int, ...], kernel: tuple[int, ...]) -> str:
    """The route of pooling directly after a convolution with stride 1.

    Args:
      route: the convolution's.
      image: shape of what the convolution reads, `[batch, height, width, cin]`.
      kernel: shape of its kernel, `[kh, kw, cin, cout]`.
    """
    route = resolve_route(route)
    by_patches = route == "direct" and not direct_convolution.suits(image, kernel)
    return "batch_last" if by_patches else route


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
    pads = _pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    if route == "native":
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (strides, strides), pads, dimension_numbers=numbers
        )
    if route == "direct" and strides == 1 and kernel.shape[:2] != (1, 1):
        return direct_convolution.conv(x, kernel, pads)
    if route == "batch_last":
        return to_batch_last(conv_batch_last(to_batch_last(x), kernel, strides, pads))
    views = shifted_views(x, kernel.shape[:2], strides, pads, axes=(1, 2))
    if route == "shifted":
        weights = kernel.reshape(-1, *kernel.shape[2:])
        return sum(view @ weights[i] for i, view in enumerate(views))
    patches = views[0] if len(views) == 1 else jnp.concatenate(views, axis=3)
    return patches @ kernel.reshape(-1, kernel.shape[3])


def max_pool(
    x: Float[Array, "batch height width channel"], window: int = 2, *, route: str = "auto"
) -> Float[Array, "batch out_height out_width channel"]:
    """Largest value of each window; windows do not overlap, an incomplete last one is dropped.

    Entries that share the largest value share the gradient equally, on the `native` route
    (`reduce_window`) the first of them gets it.

    Args:
      x: the images.
      window: its side, from 1 to that of the images; also the stride.
      route: how it is computed, "auto" for the fastest on this platform (`resolve_route`).

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
        return to_batch_last(_largest(_windows(to_batch_last(x), window)))
    return _largest(_windows(x, window))


def avg_pool(
    x: Float[Array, "batch height width channel"], window: int = 2, *, route: str = "auto"
) -> Float[Array, "batch out_height out_width channel"]:
    """Mean of each window; windows do not overlap, an incomplete last one is dropped.

    Args:
      x: the images.
      window: its side, from 1 to that of the images; also the stride.
      route: how it is computed, "auto" for the fastest on this platform (`resolve_route`).

    Raises:
      ValueError: the window is below 1 or exceeds the image.
    """
    route = resolve_route(route)
    _check_window(x, window)
    if route == "native":
        shape = (1, window, window, 1)
        return lax.reduce_window(x, 0.0, lax.add, shape, shape, "VALID") / window**2
    if route == "batch_last":
        return to_batch_last(_windows(to_batch_last(x), window).mean((2, 4)))
    return _windows(x, window).mean((2, 4))


def _pads(image: tuple[int, ...], kernel: tuple[int, ...], strides: int, padding: Padding) -> Pads:
    """Zeros around the images; `SAME` leaves outputs of size `ceil(size / strides)`."""
    if padding == "VALID":
        return (0, 0), (0, 0)
    totals = [
        max((-(-size // strides) - 1) * strides + k - size, 0)
        for size, k in zip(image, kernel, strict=True)
    ]
    height, width = ((total // 2, total - total // 2) for total in totals)
    return height, width


def _windows(x: Float[Array, "a height width b"], window: int) -> Float[Array, "a h w1 w w2 b"]:
    """Axes 1 and 2 cut into windows; rows and columns left over are dropped."""
    height, width = x.shape[1] // window, x.shape[2] // window
    x = x[:, : height * window, : width * window]
    return x.reshape(x.shape[0], height, window, width, window, x.shape[3])


@jax.custom_jvp
def _max(windows: Float[Array, "a h w1 w w2 b"]) -> Float[Array, "a h w b"]:
    return windows.max((2, 4))


@_max.defjvp
def _max_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (windows,), (dots,) = primals, tangents
    largest = _max(windows)
    among = windows == largest[:, :, None, :, None]
    places = np.ndindex(windows.shape[2], windows.shape[4])
    count = sum(among[:, :, i, :, j].astype(windows.dtype) for i, j in places)
    return largest, jnp.where(among, dots, 0).sum((2, 4)) / count


# Which entries are the largest is found again where the gradient passes: cheaper on a CPU than
# storing it, by a tenth of the two-layer CNN's whole step.
_largest = jax.checkpoint(_max, prevent_cse=False)


def _check_window(x: Array, window: int) -> None:
    if x.ndim != 4:
        raise ValueError(f"pooling needs [batch, height, width, channel]; got shape {x.shape}.")
    if window < 1 or window > min(x.shape[1:3]):
        raise ValueError(
            f"`window` must be between 1 and the image's size {x.shape[1:3]}; got {window}."
        )
