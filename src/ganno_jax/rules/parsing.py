"""Rules as text: `g * exp(sign(g) * sign(m))`.

Grammar, loosest first (`^` binds to the right, the others to the left):

    sum      = product (("+" | "-") product)*
    product  = negation (("*" | "/") negation)*
    negation = "-" negation | power
    power    = atom ("^" negation)?
    atom     = operand | function "(" sum ("," number)? ")" | "(" sum ")"
"""

import re
from dataclasses import dataclass

from ganno_jax.rules.language import (
    BINARIES,
    CLIP_IDS,
    DROP_IDS,
    NEGATE,
    OPERANDS,
    SCALE_IDS,
    UNARIES,
    Table,
)
from ganno_jax.rules.trees import Apply, Combine, Leaf, Tree, table_to_tree, tree_to_table

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_]+)|(?P<symbol>[-+*/^(),]))"
)
_NAMES = tuple(name for name in OPERANDS if name.isidentifier())
_PLAIN_FUNCTIONS = {name: UNARIES.index(name) for name in ("exp", "log", "sqrt", "sign")}
_NUMBERED_FUNCTIONS = {"clip": CLIP_IDS, "drop": DROP_IDS}
_SIGN_OPERANDS = {
    Leaf(OPERANDS.index(name)): Leaf(OPERANDS.index(f"sign({name})")) for name in ("g", "m")
}
_TOO_DEEP = "nested too deeply to be a rule of four steps."
_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = range(1, 6)
_PRECEDENCE = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "^": _POWER}


class RuleError(ValueError):
    """A malformed rule; `position` is the index of the character where it went wrong."""

    def __init__(self, text: str, position: int, problem: str):
        self.text, self.position = text, position
        super().__init__(f"rule {text!r}, position {position}: {problem}")


def parse(text: str, num_steps: int | None = None) -> Table:
    """Read a rule.

    `log` and `sqrt` are of the absolute value; `sign(g)`, `sign(m)`, `g^2` and `g^3` are operands;
    the weight must be scaled, as in `1e-3 w`.

    Args:
      text: the expression; spaces are free, names may be capitals.
      num_steps: rows of the table, padded; by default as many as the rule needs.

    Raises:
      RuleError: a ValueError that tells the position and what is wrong there.
    """
    tree = parse_tree(text)
    try:
        return tree_to_table(tree, num_steps)
    except ValueError as error:
        raise RuleError(text, 0, str(error)) from None
    except RecursionError:
        raise RuleError(text, 0, _TOO_DEEP) from None


def parse_tree(text: str) -> Tree:
    """Read a rule as an expression tree, without limit on its steps.

    Raises:
      RuleError: as from `parse`.
    """
    try:
        return _Parser(text).whole()
    except RecursionError:
        raise RuleError(text, 0, _TOO_DEEP) from None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def is_weight(self) -> bool:
        return self.text.lower() == "w"


class _Parser:
    def __init__(self, text: str):
        if not isinstance(text, str):
            raise ValueError(f"a rule's text is needed; got {type(text).__name__}.")
        self.text, self.tokens, self.index = text, [], 0
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                position += len(text[position:]) - len(text[position:].lstrip())
                raise RuleError(text, position, f"unexpected character {text[position]!r}.")
            kind = match.lastgroup or ""
            self.tokens.append(_Token(kind, match.group(kind), match.start(kind)))
            position = match.end()
        self.tokens.append(_Token("end", "", end))

    @property
    def now(self) -> _Token:
        return self.tokens[self.index]

    def fail(self, token: _Token, problem: str):
        raise RuleError(self.text, token.position, problem)

    def take(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def accept(self, *symbols: str) -> _Token | None:
        return self.take() if self.now.kind == "symbol" and self.now.text in symbols else None

    def expect(self, symbol: str):
        if not self.accept(symbol):
            self.fail(self.now, f"expected {symbol!r}, got {self.shown(self.now)}.")

    @staticmethod
    def shown(token: _Token) -> str:
        return repr(token.text) if token.text else "the end"

    def whole(self) -> Tree:
        tree = self.sum()
        if self.now.kind != "end":
            self.fail(self.now, f"expected an operator or the end, got {self.shown(self.now)}.")
        return tree

    def sum(self) -> Tree:
        left = self.product()
        while operator := self.accept("+", "-"):
            left = Combine(BINARIES.index(operator.text), left, self.product())
        return left

    def product(self) -> Tree:
        left = self.negation()
        while operator := self.accept("*", "/"):
            left = Combine(BINARIES.index(operator.text), left, self.negation())
        return left

    def negation(self) -> Tree:
        return Apply(NEGATE, self.negation()) if self.accept("-") else self.power()

    def power(self) -> Tree:
        base = self.atom()
        if not self.accept("^"):
            return base
        if base == Leaf(OPERANDS.index("g")) and self.now.text in ("2", "3"):
            following = self.tokens[self.index + 1]
            if following.text != "^" and not following.is_weight:
                return Leaf(OPERANDS.index(f"g^{self.take().text}"))
        return Combine(BINARIES.index("^"), base, self.negation())

    def atom(self) -> Tree:
        token = self.take()
        if token.kind == "number":
            return self.number(token)
        if token.kind == "name":
            return self.named(token)
        if token.text == "(":
            tree = self.sum()
            self.expect(")")
            return tree
        self.fail(token, f"expected an operand, got {self.shown(token)}.")
        raise AssertionError

    def number(self, token: _Token) -> Tree:
        stars = 1 if self.now.text == "*" and self.tokens[self.index + 1].is_weight else 0
        if self.tokens[self.index + stars].is_weight:
            self.index += stars + 1
            if float(token.text) not in SCALE_IDS:
                self.fail(token, f"w is scaled by one of {_listed(SCALE_IDS)}; got {token.text}.")
            return Leaf(SCALE_IDS[float(token.text)])
        if float(token.text) not in (1.0, 2.0):
            self.fail(token, f"the constants are 1 and 2; got {token.text}.")
        return Leaf(OPERANDS.index(f"{float(token.text):.0f}"))

    def named(self, token: _Token) -> Tree:
        name = token.text.lower()
        if self.now.text == "(":
            return self.function(token, name)
        if name == "w":
            self.fail(token, f"w must be scaled by one of {_listed(SCALE_IDS)}, as in `1e-3 w`.")
        if name in _PLAIN_FUNCTIONS or name in _NUMBERED_FUNCTIONS:
            self.fail(self.now, f"expected '(' after {name!r}, got {self.shown(self.now)}.")
        if name not in _NAMES:
            self.fail(token, f"no operand {token.text!r}; there are: {', '.join(OPERANDS)}.")
        return Leaf(OPERANDS.index(name))

    def function(self, token: _Token, name: str) -> Tree:
        if name not in _PLAIN_FUNCTIONS and name not in _NUMBERED_FUNCTIONS:
            there_are = ", ".join([*_PLAIN_FUNCTIONS, *_NUMBERED_FUNCTIONS])
            self.fail(token, f"no function {token.text!r}; there are: {there_are}.")
        self.expect("(")
        of = self.sum()
        if name in _PLAIN_FUNCTIONS:
            self.expect(")")
            if name == "sign" and of in _SIGN_OPERANDS:
                return _SIGN_OPERANDS[of]
            return Apply(_PLAIN_FUNCTIONS[name], of)
        self.expect(",")
        number, allowed = self.take(), _NUMBERED_FUNCTIONS[name]
        if number.kind != "number" or float(number.text) not in allowed:
            self.fail(number, f"{name} takes one of {_listed(allowed)}; got {self.shown(number)}.")
        self.expect(")")
        return Apply(allowed[float(number.text)], of)


def _listed(numbers) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def to_text(rule) -> str:
    """Print a table or an expression tree; `parse` of the result computes the same."""
    return _printed(rule if isinstance(rule, Tree) else table_to_tree(rule), 0)


def _printed(tree: Tree, least: int) -> str:
    """The text of a sub-expression, in brackets where it binds looser than `least`."""
    match tree:
        case Leaf(operand):
            text, binds = OPERANDS[operand], _POWER if "^" in OPERANDS[operand] else _ATOM
        case Apply(unary, of):
            if unary == NEGATE:
                text, binds = "-" + _printed(of, _NEGATION), _NEGATION
            elif "(" in UNARIES[unary]:
                text, binds = UNARIES[unary].replace("x", _printed(of, 0)), _ATOM
            else:
                text, binds = f"{UNARIES[unary]}({_printed(of, 0)})", _ATOM
        case Combine(binary, left, right):
            name = BINARIES[binary]
            binds = _PRECEDENCE[name]
            to_right = name == "^"
            left_text = _printed(left, binds + to_right)
            right_text = _printed(right, binds + (not to_right))
            text = (
                f"{left_text}{name}{right_text}" if to_right else f"{left_text} {name} {right_text}"
            )
    return text if binds >= least else f"({text})"
