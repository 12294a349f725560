"""Rules as expression trees, the form between a table and its text."""

from dataclasses import dataclass

from ganno_jax.rules.language import (
    IDENTITY,
    KEEP,
    MAX_STEPS,
    NUM_OPERANDS,
    Table,
    check_table,
    pad_table,
)


@dataclass(frozen=True)
class Leaf:
    """An operand that every row can use."""

    operand: int


@dataclass(frozen=True)
class Apply:
    """A unary function of a sub-expression."""

    unary: int
    of: "Tree"


@dataclass(frozen=True)
class Combine:
    """A binary function of two sub-expressions; never `keep`."""

    binary: int
    left: "Tree"
    right: "Tree"


Tree = Leaf | Apply | Combine


def table_to_tree(table) -> Tree:
    """The expression that a table computes; rows that do not reach the last one are gone."""
    values: list[Tree] = []
    for operand1, operand2, unary1, unary2, binary in check_table(table).tolist():
        left = _apply(unary1, _value(operand1, values))
        right = _apply(unary2, _value(operand2, values))
        values.append(left if binary == KEEP else Combine(binary, left, right))
    return values[-1]


def _value(operand: int, values: list[Tree]) -> Tree:
    return Leaf(operand) if operand < NUM_OPERANDS else values[operand - NUM_OPERANDS]


def _apply(unary: int, of: Tree) -> Tree:
    return of if unary == IDENTITY else Apply(unary, of)


def tree_to_table(tree: Tree, num_steps: int | None = None) -> Table:
    """A table that computes an expression; equal sub-expressions share a row.

    Args:
      tree: the expression.
      num_steps: pad to this many rows; by default as many as the expression needs.

    Raises:
      ValueError: the expression needs more rows than `num_steps` (at most four).
    """
    rows: list[tuple[int, ...]] = []
    places: dict[Tree, tuple[int, int]] = {}

    def row(*tokens: int) -> int:
        if tokens not in rows:
            rows.append(tokens)
        return NUM_OPERANDS + rows.index(tokens)

    def place(node: Tree) -> tuple[int, int]:
        """Operand and unary function whose composition is the node."""
        if node in places:
            return places[node]
        match node:
            case Leaf(operand):
                found = operand, IDENTITY
            case Apply(unary, of):
                operand, inner = place(of)
                if inner != IDENTITY:
                    operand = row(operand, operand, inner, IDENTITY, KEEP)
                found = operand, unary
            case Combine(binary, left, right):
                (operand1, unary1), (operand2, unary2) = place(left), place(right)
                found = row(operand1, operand2, unary1, unary2, binary), IDENTITY
        places[node] = found
        return found

    operand, unary = place(tree)
    if not rows or unary != IDENTITY or operand != NUM_OPERANDS + len(rows) - 1:
        row(operand, operand, unary, IDENTITY, KEEP)
    most = MAX_STEPS if num_steps is None else min(num_steps, MAX_STEPS)
    if len(rows) > most:
        raise ValueError(f"the rule needs {len(rows)} steps; at most {most} are allowed.")
    return pad_table(rows, len(rows) if num_steps is None else num_steps)


def leaves(tree: Tree) -> frozenset[int]:
    """Ids of the operands in an expression."""
    match tree:
        case Leaf(operand):
            return frozenset({operand})
        case Apply(_, of):
            return leaves(of)
        case Combine(_, left, right):
            return leaves(left) | leaves(right)


def unaries(tree: Tree) -> frozenset[int]:
    """Ids of the unary functions in an expression."""
    match tree:
        case Leaf():
            return frozenset()
        case Apply(unary, of):
            return frozenset({unary}) | unaries(of)
        case Combine(_, left, right):
            return unaries(left) | unaries(right)
