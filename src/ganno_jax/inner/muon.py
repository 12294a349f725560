r"""Muon for matrices, NAdam for everything else, as one direction whose entries are of size about 1.

Muon orthogonalizes the momentum of a matrix: with the singular value decomposition $U S V^\top$ of the momentum,
the direction is about $U V^\top$, by three Newton-Schulz iterations. It is scaled by the root of the longer side, so
that its entries have a root mean square of about 1, as those of NAdam have: a bias then moves at the pace of the matrix
beside it.

References:
  Jordan 2024, https://kellerjordan.github.io/posts/muon; the scale: Liu et al. 2025, arXiv:2502.16982; a best
  polynomial for each iteration: Amsel et al. 2025, arXiv:2505.16932 (the numbers are ours).
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from ganno_jax.inner.layer_names import kind_of, path_names
from ganno_jax.inner.split_muon import nesterov, orthogonalize_split
from ganno_jax.inner.splits import Layout
from ganno_jax.inner.stacks import stack_axes

NADAM_MOMENTUM = 0.9
"""First-moment decay of what is no matrix."""
POLYNOMIALS = (
    (8.09337, -23.62043, 17.44615),
    (3.63659, -2.72193, 0.53655),
    (2.6613, -1.97715, 0.45262),
)
"""Of x, x^3 and x^5 for a singular value x, one polynomial for each iteration: each is the odd one of degree five
that is nearest to 1 on the interval to which those before it bring [0.01, 1], by linear programming. The three end in
[0.73, 1.27]; they train as well as five equal iterations of Jordan's, at three fifths of the cost."""
SMALLEST = 0.01
"""Singular value, as a share of the matrix's norm, that is brought near 1."""


def route(path: tuple[str, ...], shape: tuple[int, ...], stack_axes: int = 0) -> tuple[str, str]:
    """Which direction a leaf takes, `"muon"` or `"nadam"`, and why.

    Args:
      path: names from the root to the leaf, such as `("dense0", "kernel")`.
      shape: of the leaf.
      stack_axes: its leading axes that count layers.
    """
    shape = shape[stack_axes:]
    if sum(size > 1 for size in shape) < 2:
        return "nadam", "a vector or a number"
    if re.search(r"bias|scale|norm|(^|_)b$", path[-1].lower()):
        return "nadam", "a bias or a scale, one number for each output"
    if re.search(r"embed|vocab|(^|[/_.])w[tp]e($|[/_.])|position", "/".join(path).lower()):
        return "nadam", "an embedding: each row has gradients of its own"
    if len(shape) == 2:
        return "muon", "a matrix"
    if len(shape) == 3:
        return "muon", "a stack of matrices"
    return "muon", "a convolution's kernel, as a matrix [height * width * in, out]"


def dimension_numbers(
    path: tuple[str, ...], shape: tuple[int, ...], stack_axes: int = 0
) -> MuonDimensionNumbers:
    """Which axes of a leaf are its matrix's rows (inputs) and columns (outputs); others count matrices.

    Kernels of three axes are projections of an attention by name, `[in, head, size]` or `[head, size, out]`, or else a
    stack of matrices `[stack, in, out]`. Leading axes that count layers come before all of these. A convolution's
    kernel that is called `weight`, as in Equinox and PyTorch, is `[out, in, height, width]`, any other one
    `[height, width, in, out]`.

    Args:
      path: names of the modules around the leaf, and its own.
      shape: of the leaf; two axes or more beside those of a stack.
      stack_axes: number of leading axes that count layers.
    """
    rank = len(shape) - stack_axes
    last = path[-1]
    owner = path[-2].lower() if len(path) > 1 else ""
    if last == "weight" and kind_of(path, rank) == "conv":
        inputs, outputs = tuple(range(1, rank)), (0,)
    elif rank != 3:
        inputs, outputs = tuple(range(rank - 1)), (rank - 1,)
    elif owner in ("query", "key", "value"):
        inputs, outputs = (0,), (1, 2)
    elif owner in ("out", "output"):
        inputs, outputs = (0, 1), (2,)
    else:
        inputs, outputs = (1,), (2,)
    inputs, outputs = (tuple(axis + stack_axes for axis in axes) for axes in (inputs, outputs))
    return MuonDimensionNumbers(inputs, outputs)


def muon_or_nadam(
    momentum: Float[Array, ""] | float,
    second_decay: Float[Array, ""] | float,
    epsilon: Float[Array, ""] | float,
    stacked: Mapping[str, int] | None = None,
    layout: Layout | None = None,
) -> optax.GradientTransformation:
    """The direction, without a learning rate and without decay.

    Args:
      momentum: of matrices, [0, 1).
      second_decay: of NAdam's second moment, [0, 1).
      epsilon: added to the norm of a matrix, and to the root of NAdam's second moment.
      stacked: number of leading axes that count layers, by the beginning of a leaf's path.
      layout: how leaves are split over devices.
    """

    def by_leaf(function: Callable[..., Any], tree: PyTree) -> PyTree:
        def one(path: tuple[Any, ...], leaf: Array) -> Any:
            names = path_names(path)
            shape = layout.whole_shape(names, leaf.shape) if layout else leaf.shape
            return function(names, shape, stack_axes(names, stacked or {}))

        return jax.tree_util.tree_map_with_path(one, tree)

    def to_unit_entries(tree: PyTree, params: PyTree | None) -> PyTree:
        del params

        def factor(names: tuple[str, ...], shape: tuple[int, ...], leading: int) -> float:
            axes = dimension_numbers(names, shape, leading)
            return math.sqrt(max(math.prod(np.take(shape, one)) for one in axes))

        return jax.tree.map(lambda update, f: update * f, tree, by_leaf(factor, tree))

    def label(names: tuple[str, ...], shape: tuple[int, ...], leading: int) -> str:
        found = route(names, shape, leading)[0]
        return "split" if found == "muon" and layout and layout.of(names) else found

    def orthogonal(tree: PyTree, params: PyTree | None) -> PyTree:
        del params
        assert layout is not None

        def one(path: tuple[Any, ...], x: Array) -> Array:
            names = path_names(path)
            axes = dimension_numbers(names, x.shape, stack_axes(names, stacked or {}))
            return orthogonalize_split(
                x, axes, layout.of(names), layout.by_hand, POLYNOMIALS, epsilon
            )

        return jax.tree_util.tree_map_with_path(one, tree)

    matrices = optax.chain(
        scale_by_muon(
            POLYNOMIALS,
            ns_steps=len(POLYNOMIALS),
            beta=momentum,
            eps=epsilon,
            weight_dimension_numbers=lambda tree: by_leaf(dimension_numbers, tree),
        ),
        optax.stateless(to_unit_entries),
    )
    vectors = optax.scale_by_adam(b1=NADAM_MOMENTUM, b2=second_decay, eps=epsilon, nesterov=True)
    directions = {"muon": matrices, "nadam": vectors}
    if layout:
        directions["split"] = optax.chain(
            nesterov(momentum), optax.stateless(orthogonal), optax.stateless(to_unit_entries)
        )
    return optax.partition(directions, lambda tree: by_leaf(label, tree))
