"""Equal rules recognized as equal: by rewriting, and by what they compute.

Most texts of the language are another text in disguise. `canonical_tree` rewrites a rule to one of
its forms; `fingerprints` then runs rules on a fixed small training and hashes the directions, which
also finds the equalities that no rewriting covers, the rules that leave their domain, and those
that ignore the gradient.
"""

import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from ganno_jax.rules import interpreter
from ganno_jax.rules.functions import RuleConfig
from ganno_jax.rules.language import (
    BINARIES,
    CLIP_IDS,
    DROPS,
    NEGATE,
    OPERANDS,
    UNARIES,
    Table,
    check_table,
)
from ganno_jax.rules.parsing import to_text
from ganno_jax.rules.trees import Apply, Combine, Leaf, Tree, table_to_tree, tree_to_table

_ADD, _SUB, _MUL, _DIV, _POW = (BINARIES.index(name) for name in "+-*/^")
_LOG, _SQRT, _SIGN = (UNARIES.index(name) for name in ("log", "sqrt", "sign"))
_CLIPS = {unary: bound for bound, unary in CLIP_IDS.items()}


def _leaf(name: str) -> Leaf:
    return Leaf(OPERANDS.index(name))


_ONE, _TWO, _G, _M = _leaf("1"), _leaf("2"), _leaf("g"), _leaf("m")
_SIGNS = {
    _G: _leaf("sign(g)"),
    _leaf("g^3"): _leaf("sign(g)"),
    _leaf("rmsprop"): _leaf("sign(g)"),
    _M: _leaf("sign(m)"),
    _leaf("adam"): _leaf("sign(m)"),
}
_ROOT_V = Apply(_SQRT, _leaf("v"))
_IDENTITIES = {
    Combine(_MUL, _G, _G): _leaf("g^2"),
    Combine(_POW, _G, _TWO): _leaf("g^2"),
    Combine(_MUL, _G, _leaf("g^2")): _leaf("g^3"),
    Combine(_DIV, _M, _ROOT_V): _leaf("adam"),
    Combine(_DIV, _G, _ROOT_V): _leaf("rmsprop"),
}


def canonical_tree(tree: Tree) -> Tree:
    """A rule in its normal form: same value, never more functions.

    Sides of `+` and `*` are ordered, negations move outwards and cancel, factors and powers of 1
    go, signs and clips of signs and clips merge, and products that are operands themselves become
    those.
    """
    match tree:
        case Leaf():
            return tree
        case Apply(unary, of):
            new = _apply(unary, canonical_tree(of))
        case Combine(binary, left, right):
            new = _combine(binary, canonical_tree(left), canonical_tree(right))
    return new if new == tree else canonical_tree(new)


def _apply(unary: int, of: Tree) -> Tree:
    negated = isinstance(of, Apply) and of.unary == NEGATE
    if unary == NEGATE:
        return of.of if negated else Apply(NEGATE, of)
    if negated and unary in (_LOG, _SQRT):
        return Apply(unary, of.of)
    if negated and (unary == _SIGN or unary in _CLIPS or unary in DROPS):
        return Apply(NEGATE, Apply(unary, of.of))
    if unary == _SIGN and of in _SIGNS:
        return _SIGNS[of]
    if unary == _SIGN and isinstance(of, Apply) and (of.unary == _SIGN or of.unary in _CLIPS):
        return Apply(_SIGN, of.of)
    if unary == _SIGN and of in (*_SIGNS.values(), _ONE):
        return of
    if unary in _CLIPS and isinstance(of, Apply) and of.unary in _CLIPS:
        return Apply(min(unary, of.unary, key=_CLIPS.__getitem__), of.of)
    return Apply(unary, of)


def _combine(binary: int, left: Tree, right: Tree) -> Tree:
    left_of = left.of if isinstance(left, Apply) and left.unary == NEGATE else None
    right_of = right.of if isinstance(right, Apply) and right.unary == NEGATE else None
    if binary in (_ADD, _SUB) and right_of is not None:
        return Combine(_ADD + _SUB - binary, left, right_of)
    if binary == _ADD and left_of is not None:
        return Combine(_SUB, right, left_of)
    if binary == _SUB and left_of is not None:
        return Apply(NEGATE, Combine(_ADD, left_of, right))
    if binary in (_MUL, _DIV) and left_of is not None:
        return Apply(NEGATE, Combine(binary, left_of, right))
    if binary == _MUL and right_of is not None:
        return Apply(NEGATE, Combine(_MUL, left, right_of))
    if binary in (_MUL, _DIV, _POW) and right == _ONE:
        return left
    if binary == _POW and left == _ONE:
        return _ONE
    if binary == _ADD and left == right:
        return Combine(_MUL, *sorted((_TWO, left), key=_order))
    if binary in (_ADD, _MUL):
        left, right = sorted((left, right), key=_order)
        if binary == _MUL and _ONE in (left, right):
            return right if left == _ONE else left
    tree = Combine(binary, left, right)
    return _IDENTITIES.get(tree, tree)


def _order(tree: Tree) -> tuple[int, str]:
    """Operands by id, then longer expressions by their text."""
    return (tree.operand, "") if isinstance(tree, Leaf) else (len(OPERANDS), to_text(tree))


def canonical_table(table) -> Table:
    """The normal form of a rule, in as many rows as it came in (the rule itself where none
    fits)."""
    table = check_table(table)
    try:
        return tree_to_table(canonical_tree(table_to_tree(table)), table.shape[0])
    except ValueError:  # pulling negations out can cost a row
        return table


def canonical_text(rule) -> str:
    """The normal form of a table or of an expression tree, printed."""
    return to_text(canonical_tree(rule if isinstance(rule, Tree) else table_to_tree(rule)))


class Fingerprints(NamedTuple):
    """What the probe tells about each rule."""

    hashes: UInt32[np.ndarray, "rule 2"]
    """Equal for rules that compute the same."""
    finite: Bool[np.ndarray, " rule"]
    """False where a direction on the probe is not finite."""
    learns: Bool[np.ndarray, " rule"]
    """False where the directions do not depend on the gradients."""


_PROBE_STEPS, _PROBE_WEIGHTS = 3, 8


def _probe() -> tuple[Float[np.ndarray, "probe time weight"], Float[np.ndarray, " weight"]]:
    """Two sequences of gradients, magnitudes log-uniform in [1e-6, 1], and standard normal
    weights."""
    rng = np.random.default_rng(1709_07417)
    shape = (2, _PROBE_STEPS, _PROBE_WEIGHTS)
    gradients = rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-6, 0, shape)
    return gradients.astype(np.float32), rng.normal(size=_PROBE_WEIGHTS).astype(np.float32)


@jax.jit
def probe_directions(
    tables: Int[Array | np.ndarray, "rule step 5"], config: RuleConfig | None = None
) -> Float[Array, "rule probe time weight"]:
    """The directions that each rule takes on the two probes."""
    gradients, weights = (jnp.asarray(part) for part in _probe())

    def follow(table, sequence):
        def one(state, gradient):
            return interpreter.step(table, state, gradient, weights, 2 * _PROBE_STEPS, config)

        return jax.lax.scan(one, interpreter.init(weights), sequence)[1]

    return jax.lax.map(
        lambda table: jax.vmap(follow, (None, 0))(table, gradients), jnp.asarray(tables)
    )


def fingerprints(
    tables: Int[Array | np.ndarray, "rule step 5"], config: RuleConfig | None = None
) -> Fingerprints:
    """Hash rules by the directions they take on a fixed probe, to ten bits of each number.

    Rules that are equal up to rounding nearly always meet; rules that differ on the probe by more
    than a thousandth never do. Pass canonical tables: the same table always gives the same hash.
    """
    directions = np.asarray(probe_directions(tables, config))
    finite = np.isfinite(directions).all(axis=(1, 2, 3))
    learns = ~(directions[:, 0] == directions[:, 1]).all(axis=(1, 2))
    mantissa, exponent = np.frexp(np.where(np.isfinite(directions[:, 0]), directions[:, 0], 0.0))
    digits = np.stack([np.round(mantissa * 1024), exponent * (mantissa != 0)], -1)
    # A mantissa that rounds up to one is one half of the next exponent.
    full = np.abs(digits[..., 0]) == 1024
    digits[..., 0][full] /= 2
    digits[..., 1][full] += 1
    hashes = [
        np.frombuffer(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), np.uint32)
        for row in digits.astype(np.int32)
    ]
    return Fingerprints(np.array(hashes, np.uint32).reshape(-1, 2), finite, learns)
