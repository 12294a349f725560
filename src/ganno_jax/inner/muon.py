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
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from ganno_jax.inner.layer_names import path_names

NADAM_MOMENTUM = 0.9  # of what is no matrix
ROUTES = ("muon", "nadam")
# Of x, x^3 and x^5 for a singular value x, one polynomial for each iteration: each is the odd one of degree five
# that is nearest to 1 on the interval to which those before it bring [0.01, 1], by linear programming. The three end in
# [0.73, 1.27]; they train as well as five equal iterations of Jordan's, at three fifths of the cost.
POLYNOMIALS = (
    (8.09337, -23.62043, 17.44615),
    (3.63659, -2.72193, 0.53655),
    (2.6613, -1.97715, 0.45262),
)
SMALLEST = 0.01  # singular value, as a share of the matrix's norm, that is brought near 1


def route(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[str, str]:
    """Which direction a leaf takes, `"muon"` or `"nadam"`, and why.

    Args:
      path: names from the root to the leaf, such as `("dense0", "kernel")`.
      shape: of the leaf.
    """
    if sum(size > 1 for size in shape) < 2:
        return "nadam", "a vector or a number"
    if re.search(r"embed|vocab|(^|[/_.])w[tp]e($|[/_.])|position", "/".join(path).lower()):
        return "nadam", "an embedding: each row has gradients of its own"
    if len(shape) == 2:
        return "muon", "a matrix"
    if len(shape) == 3:
        return "muon", "a stack of matrices"
    return "muon", "a convolution's kernel, as a matrix [height * width * in, out]"


def dimension_numbers(path: tuple[str, ...], shape: tuple[int, ...]) -> MuonDimensionNumbers:
    """Which axes of a leaf are its matrix's rows (inputs) and columns (outputs); others count matrices.

    Kernels of three axes are projections of an attention by name, `[in, head, size]` or `[head, size, out]`, or else a
    stack of matrices `[stack, in, out]`.
    """
    if len(shape) != 3:
        return MuonDimensionNumbers(tuple(range(len(shape) - 1)), (len(shape) - 1,))
    owner = path[-2].lower() if len(path) > 1 else ""
    if owner in ("query", "key", "value"):
        return MuonDimensionNumbers((0,), (1, 2))
    if owner in ("out", "output"):
        return MuonDimensionNumbers((0, 1), (2,))
    return MuonDimensionNumbers((1,), (2,))


def muon_or_nadam(
    momentum: Float[Array, ""] | float,
    second_decay: Float[Array, ""] | float,
    epsilon: Float[Array, ""] | float,
) -> optax.GradientTransformation:
    """The direction, without a learning rate and without decay.

    Args:
      momentum: of matrices, [0, 1).
      second_decay: of NAdam's second moment, [0, 1).
      epsilon: added to the norm of a matrix, and to the root of NAdam's second moment.
    """
    matrices = optax.chain(
        scale_by_muon(
            POLYNOMIALS,
            ns_steps=len(POLYNOMIALS),
            beta=momentum,
            eps=epsilon,
            weight_dimension_numbers=_numbers,
        ),
        _to_unit_entries(),
    )
    vectors = optax.scale_by_adam(b1=NADAM_MOMENTUM, b2=second_decay, eps=epsilon, nesterov=True)
    return optax.partition({"muon": matrices, "nadam": vectors}, _labels)


def _labels(tree: PyTree) -> PyTree:
    def label(path: tuple[Any, ...], leaf: Array) -> str:
        return route(path_names(path), leaf.shape)[0]

    return jax.tree_util.tree_map_with_path(label, tree)


def _numbers(tree: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: dimension_numbers(path_names(path), leaf.shape), tree
    )


def _to_unit_entries() -> optax.GradientTransformation:
    def scaled(path: tuple[Any, ...], update: Array) -> Array:
        axes = dimension_numbers(path_names(path), update.shape)
        sides = [math.prod(np.take(update.shape, one)) for one in axes]
        longer = max(sides)
        return update * math.sqrt(longer)

    return optax.stateless(lambda tree, _: jax.tree_util.tree_map_with_path(scaled, tree))
