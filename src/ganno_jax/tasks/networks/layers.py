"""Layers whose active width is a traced number, and the checks that networks share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.tasks import ops

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "linear": lambda x: x,
}

INITIALIZERS = ("he_normal", "lecun_normal", "xavier_normal")


def activation_fn(name: str) -> Callable[[Array], Array]:
    """The activation of that name; `ValueError` lists them all."""
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation {name!r}; there are: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def initializer_for(activation: str) -> str:
    """He-normal for the rectifiers, LeCun-normal (unit gain) for the others."""
    return "he_normal" if activation in ("relu", "gelu", "silu", "elu") else "lecun_normal"


def require_positive(**sizes: int | tuple[int, ...]) -> None:
    """`ValueError` for the first size, or entry of a tuple of sizes, that is below 1."""
    for name, size in sizes.items():
        entries = size if isinstance(size, tuple | list) else (size,)
        if any(entry < 1 for entry in entries):
            raise ValueError(f"`{name}` must be at least 1; got {size}.")


def active_units(
    width: Float[Array, "..."] | float | None, features: tuple[int, ...]
) -> tuple[Float[Array, ""] | None, ...]:
    """How many units of each hidden layer are active.

    Args:
      width: fraction of the hidden units in (0, 1], one number or one per hidden layer; None: all
        of them.
      features: the full size of each hidden layer.

    Returns:
      Per hidden layer the nearest whole number of units, at least one, as float32; None where
      `width` is.
    """
    if width is None:
        return (None,) * len(features)
    width = jnp.asarray(width, jnp.float32)
    if width.ndim > 1 or (width.ndim == 1 and width.shape[0] != len(features)):
        raise ValueError(
            f"`width` must be one number or {len(features)}, one per hidden layer; "
            f"got {width.shape}."
        )
    width = jnp.broadcast_to(width, (len(features),))
    return tuple(jnp.clip(jnp.round(width[i] * n), 1, n) for i, n in enumerate(features))


def mask_units(count: Float[Array, ""] | None, features: int) -> Float[Array, " features"] | None:
    """One for the first `count` units, zero for the others; None for all active."""
    return None if count is None else (jnp.arange(features) < count).astype(jnp.float32)


def init_kernel(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    initializer: str,
    active_in: Float[Array, ""] | None = None,
    active_out: Float[Array, ""] | None = None,
    positions: int = 1,
) -> Float[Array, "..."]:
    r"""Normal weights with the variance for the active units; those of inactive units are zero.

    Variance $2/n_{in}$ (`he_normal`), $1/n_{in}$ (`lecun_normal`) or $2/(n_{in}+n_{out})$
    (`xavier_normal`), where the fans count active units only. So the active part is distributed as
    in a network that is really narrower.

    Args:
      key: of the draw.
      shape: `[..., in, out]`; leading axes (kernel positions) count in both fans.
      initializer: one of `INITIALIZERS`.
      active_in: active units among the inputs, of which there are `in / positions`.
      active_out: active output units.
      positions: inputs per unit: pixels of a flattened activation `[positions, unit]`, 1 otherwise.
    """
    area = 1
    for size in shape[:-2]:
        area *= size
    fan_in = area * (shape[-2] if active_in is None else active_in * positions)
    fan_out = area * (shape[-1] if active_out is None else active_out)
    if initializer == "he_normal":
        variance = 2.0 / fan_in
    elif initializer == "lecun_normal":
        variance = 1.0 / fan_in
    elif initializer == "xavier_normal":
        variance = 2.0 / (fan_in + fan_out)
    else:
        raise ValueError(f"no initializer {initializer!r}; there are: {', '.join(INITIALIZERS)}.")
    kernel = jax.random.normal(key, shape) * jnp.sqrt(variance)
    in_mask = mask_units(active_in, shape[-2] // positions)
    out_mask = mask_units(active_out, shape[-1])
    if in_mask is not None:
        kernel = kernel * jnp.tile(in_mask, positions)[:, None]
    return kernel if out_mask is None else kernel * out_mask


class Dense(nn.Module):
    """`x @ kernel + bias` with weights drawn for the active units."""

    features: int
    initializer: str = "lecun_normal"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "... in"],
        active_in: Float[Array, ""] | None = None,
        active_out: Float[Array, ""] | None = None,
        positions: int = 1,
    ) -> Float[Array, "... features"]:
        def draw(key: PRNGKeyArray) -> Array:
            shape = (x.shape[-1], self.features)
            return init_kernel(key, shape, self.initializer, active_in, active_out, positions)

        kernel = self.param("kernel", draw)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class Conv(nn.Module):
    """`ops.conv`, then max-pooling over `pool`, then the bias.

    Pooling first gives the same numbers as bias first (the maximum commutes with adding a
    constant), has a `pool`-squared part of the bias's work and leaves nothing between the two that
    would cost `batch_last` a copy.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    pool: int = 1
    use_bias: bool = True
    initializer: str = "he_normal"
    route: str = "auto"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width cin"],
        active_in: Float[Array, ""] | None = None,
        active_out: Float[Array, ""] | None = None,
    ) -> Float[Array, "batch out_height out_width features"]:
        def draw(key: PRNGKeyArray) -> Array:
            shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
            return init_kernel(key, shape, self.initializer, active_in, active_out)

        kernel = self.param("kernel", draw).astype(self.dtype)
        pooling = ops.pooling_route(self.route, x.shape, kernel.shape)
        x = ops.conv(x.astype(self.dtype), kernel, strides=self.strides, route=self.route)
        x = ops.max_pool(x, self.pool, route=pooling)
        if not self.use_bias:
            return x
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x + bias.astype(self.dtype)
