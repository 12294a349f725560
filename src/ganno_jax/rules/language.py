"""The language of Neural Optimizer Search: tokens, and rules as integer tables.

A rule is a table `[step, 5]` of token ids, one to four rows. A row
`(operand1, operand2, unary1, unary2, binary)` computes
`binary(unary1(operand1), unary2(operand2))`; its value joins the operands of the later rows, and
the value of the last row is the direction `d` of the update `w <- w - rate * d`.

References:
  Bello, Zoph, Vasudevan, Le 2017, "Neural Optimizer Search with Reinforcement Learning",
  arXiv:1709.07417.
"""

import numpy as np
from jaxtyping import Int

OPERANDS = (
    "g",
    "g^2",
    "g^3",
    "m",
    "v",
    "gamma",
    "sign(g)",
    "sign(m)",
    "1",
    "2",
    "noise",
    "annealed_noise",
    "1e-1 w",
    "1e-2 w",
    "1e-3 w",
    "1e-4 w",
    "1e-5 w",
    "1e-6 w",
    "adam",
    "rmsprop",
    "ld",
    "cd",
    "rd",
)
"""Operands that every row can use, by token id; from `NUM_OPERANDS` on ids are values of rows."""

UNARIES = (
    "x",
    "-x",
    "exp",
    "log",
    "sqrt",
    "clip(x, 1e-5)",
    "clip(x, 1e-4)",
    "clip(x, 1e-3)",
    "drop(x, 0.1)",
    "drop(x, 0.3)",
    "drop(x, 0.5)",
    "sign",
)
"""The twelve unary functions, by token id; `log` and `sqrt` are of the absolute value."""

BINARIES = ("+", "-", "*", "/", "^", "keep")
"""The six binary functions, by token id; `/` is `x / (y + 1e-8)`, `keep` returns the left."""

NUM_OPERANDS = len(OPERANDS)
NUM_UNARIES = len(UNARIES)
NUM_BINARIES = len(BINARIES)
MAX_STEPS = 4
"""Rows of the longest rule."""
ROW = 5
"""Tokens per row."""

IDENTITY, NEGATE = UNARIES.index("x"), UNARIES.index("-x")
KEEP = BINARIES.index("keep")

SCALE_IDS = {10.0**-k: OPERANDS.index(f"1e-{k} w") for k in range(1, 7)}
"""Token id of the weight scaled by a power of ten."""
CLIP_IDS = {10.0**-k: UNARIES.index(f"clip(x, 1e-{k})") for k in (5, 4, 3)}
"""Token id of the clip to plus or minus a power of ten."""
DROP_IDS = {rate: UNARIES.index(f"drop(x, {rate})") for rate in (0.1, 0.3, 0.5)}
"""Token id of the dropout with a rate."""

DECAYS = frozenset(OPERANDS.index(name) for name in ("ld", "cd", "rd"))
WEIGHTS = frozenset(SCALE_IDS.values())
NOISES = frozenset(OPERANDS.index(name) for name in ("noise", "annealed_noise"))
DROPS = frozenset(DROP_IDS.values())
USES_M = frozenset(OPERANDS.index(name) for name in ("m", "sign(m)", "adam"))
USES_V = frozenset(OPERANDS.index(name) for name in ("v", "adam", "rmsprop"))
USES_GAMMA = frozenset({OPERANDS.index("gamma")})
USES_GRADIENT = (
    USES_M
    | USES_V
    | USES_GAMMA
    | frozenset(OPERANDS.index(name) for name in ("g", "g^2", "g^3", "sign(g)"))
)

Table = Int[np.ndarray, "step 5"]


def row_sizes(num_steps: int) -> Int[np.ndarray, "step 5"]:
    """How many ids each token can take: row `k` sees the values of the `k` rows before it."""
    return np.array(
        [
            [NUM_OPERANDS + k, NUM_OPERANDS + k, NUM_UNARIES, NUM_UNARIES, NUM_BINARIES]
            for k in range(num_steps)
        ],
        np.int32,
    )


def check_table(table) -> Table:
    """The table as a NumPy array of int32.

    Raises:
      ValueError: not `[1..4, 5]`, or a token that its place does not allow (the message names row
        and column).
    """
    if isinstance(table, str) or table is None:
        raise ValueError(f"a rule's table is needed, which `parse` makes of a text; got {table!r}.")
    table = np.asarray(table)
    if table.ndim != 2 or table.shape[1] != ROW or not 1 <= table.shape[0] <= MAX_STEPS:
        raise ValueError(f"a rule is a table [1..{MAX_STEPS}, {ROW}]; got shape {table.shape}.")
    if not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"a rule's table holds integer token ids; got {table.dtype}.")
    sizes = row_sizes(table.shape[0])
    bad = np.argwhere((table < 0) | (table >= sizes))
    if bad.size:
        row, column = bad[0]
        raise ValueError(
            f"row {row}, column {column} of a rule takes ids 0..{sizes[row, column] - 1}; "
            f"got {table[row, column]}."
        )
    return table.astype(np.int32)


def pad_table(table, num_steps: int) -> Table:
    """The same rule with `num_steps` rows: rows that keep the value of the row before are appended.

    Raises:
      ValueError: the rule has more rows than `num_steps`, or `num_steps` is above four.
    """
    table = check_table(table)
    rows = table.shape[0]
    if not rows <= num_steps <= MAX_STEPS:
        raise ValueError(
            f"a rule of {rows} steps fits `num_steps` of {rows} to {MAX_STEPS}; got {num_steps}."
        )
    padding = [[NUM_OPERANDS + k - 1] * 2 + [IDENTITY] * 2 + [KEEP] for k in range(rows, num_steps)]
    return np.concatenate([table, np.array(padding, np.int32).reshape(-1, ROW)])
