"""Stacks of layers that nobody named: parameters that very probably are several equal layers in one array.

What looks so in a network that is none (a convolution, an attention's projections, experts) is left out, so some stacks
are missed.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ganno_jax.inner.layer_names import Path, bare, path_names
from ganno_jax.inner.stacks import stack_axes

_VECTORS = ("bias", "scale", "b", "g", "gain", "gamma", "beta")
_GAINS = ("scale", "g", "gain", "gamma")
_MATRICES = ("kernel", "w", "embedding")
_SEVERAL_AXES = (
    r"attn|attention|densegeneral|(^|/)((q|k|v|o|qkv|query|key|value|out)(_proj)?|c_attn)/"
)
_PARTS_IN_AN_AXIS = r"expert|moe(?![a-z])|local"
_READS, _WRITES = ("query", "q"), ("out", "o", "output")


class _Leaf(NamedTuple):
    path: Path
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return "/".join(self.path).lower()

    @property
    def several_axes(self) -> bool:
        """Whether a layer's vectors may have several axes, as those of an attention's heads."""
        return bool(re.search(_SEVERAL_AXES, self.name))

    @property
    def length(self) -> int:
        """Of the first axis, where the rest is what a layer has; else 0."""
        rank = len(self.shape) - 1
        if rank < 1 or self.shape[0] < 2:
            return 0
        extra = bool(re.search(_PARTS_IN_AN_AXIS, self.name))
        least, most = 1 + extra, 1 + extra + self.several_axes
        if self.path[-1] in _VECTORS:
            fits = least <= rank <= most and math.prod(self.shape[1:]) > 1
        elif re.search("conv", self.name):
            fits = rank >= 3
        else:
            fits = rank >= least + (self.path[-1] in _MATRICES)
        return self.shape[0] if fits else 0


def likely_stacks(params: PyTree, stacked: Mapping[str, int]) -> dict[str, int]:
    """What `stacked` should say of parameters that it leaves out: beginnings of paths, each with 1 leading axis.

    Taken for stacks are modules all of whose leaves have a first axis of one length before what a layer has, if that
    shows in one of them: a kernel `[layer, in, out]` with a bias `[layer, out]`, a gain of two axes beside kernels
    of three, an attention's projections of four axes, or a name that begins with "Scan", as `nn.scan` gives it.
    """
    keyed = jax.tree_util.tree_leaves_with_path(params)
    leaves = [_Leaf(path_names(path), tuple(jnp.shape(leaf))) for path, leaf in keyed]
    left = [leaf for leaf in leaves if not stack_axes(leaf.path, stacked)]
    return {"/".join(path): 1 for path in _stacks_below((), left)}


def _stacks_below(prefix: Path, leaves: list[_Leaf]) -> Iterator[Path]:
    """Of the leaves under a path: the highest paths that are stacks."""
    children: dict[Path, list[_Leaf]] = {}
    for leaf in leaves:
        children.setdefault(leaf.path[: len(prefix) + 1], []).append(leaf)
    own = [leaf for path, (leaf, *_) in children.items() if leaf.path == path]
    alike: dict[int, list[Path]] = {}
    for path, inside in children.items():
        is_leaf = inside[0].path == path
        # A leaf is taken with those that are named after it: `w1` with `b1`.
        judged = [x for x in own if bare(x.path[-1]) == bare(path[-1])] if is_leaf else inside
        lengths = {leaf.length for leaf in judged}
        length = min(lengths) if len(lengths) == 1 else 0
        plain = is_leaf and len(inside[0].shape) < 3 and path[-1] not in _VECTORS
        if length and not plain:
            alike.setdefault(length, []).append(path)
        elif not is_leaf:
            yield from _stacks_below(path, inside)
    for paths in alike.values():
        if _show_it([leaf for path in paths for leaf in children[path]], len(prefix)):
            yield from paths
        else:
            for path in paths:
                if children[path][0].path != path:
                    yield from _stacks_below(path, children[path])


def _show_it(leaves: list[_Leaf], depth: int) -> bool:
    """Whether leaves that fit stacks, below a path of this depth, are very probably some."""
    modules: dict[Path, dict[str, tuple[int, ...]]] = {}
    for leaf in leaves:
        modules.setdefault(leaf.path[:-1], {})[leaf.path[-1]] = leaf.shape
    plain = [leaf for leaf in leaves if not leaf.several_axes]
    with_gains = any(leaf.path[-1] in _GAINS and len(leaf.shape) == 2 for leaf in plain)
    three = any(len(leaf.shape) == 3 and leaf.path[-1] not in _VECTORS for leaf in leaves)
    scanned = any(re.match("Scan[A-Z]", part) for leaf in leaves for part in leaf.path[depth:])
    return (
        (three and (with_gains or scanned))
        or any(_is_pair(modules[path]) for path in {leaf.path[:-1] for leaf in plain})
        or _has_heads(modules)
    )


def _is_pair(module: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a module's kernels and biases are those of several dense layers or convolutions."""
    for weight, bias in (("kernel", "bias"), ("weight", "bias"), ("w", "b")):
        one, other = module.get(weight, ()), module.get(bias, ())
        outputs = one[1:2] if weight == "weight" else one[-1:]
        if len(one) >= 3 and len(other) == 2 and outputs == other[1:]:
            return True
    return False


def _has_heads(modules: Mapping[Path, Mapping[str, Any]]) -> bool:
    """Whether an attention's projections have an axis beside those of inputs, heads and sizes."""
    for path, module in modules.items():
        if path and path[-1].lower() in _READS:
            reads = module.get("kernel", ())
            writes = (modules.get((*path[:-1], name), {}).get("kernel", ()) for name in _WRITES)
            if len(reads) == 4 and any(len(w) == 4 and w[1:3] == reads[2:] for w in writes):
                return True
    return False
