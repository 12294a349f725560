"""The text, the tree and the table of a rule are one rule."""

import numpy as np
import pytest

from ganno_jax.rules import (
    MAX_STEPS,
    OPERANDS,
    RULES,
    SEARCH_FINDINGS,
    UNARIES,
    RuleError,
    check_table,
    pad_table,
    parse,
    to_text,
)
from ganno_jax.rules import compile as compile_rule
from ganno_jax.rules.language import BINARIES, IDENTITY, KEEP, NUM_OPERANDS, row_sizes
from ganno_jax.rules.trees import table_to_tree, tree_to_table


def random_table(rng, num_steps):
    return rng.integers(0, row_sizes(num_steps)).astype(np.int32)


def test_the_language_has_twelve_unary_and_six_binary_functions():
    assert len(UNARIES) == 12
    assert len(BINARIES) == 6
    assert len(set(OPERANDS)) == len(OPERANDS) == NUM_OPERANDS == 23


def test_power_sign_is_two_rows_written_by_hand():
    g, sign_g, sign_m = (OPERANDS.index(name) for name in ("g", "sign(g)", "sign(m)"))
    exp, times = UNARIES.index("exp"), BINARIES.index("*")
    by_hand = [[sign_g, sign_m, IDENTITY, IDENTITY, times], [g, NUM_OPERANDS, IDENTITY, exp, times]]
    np.testing.assert_array_equal(parse("g * exp(sign(g) * sign(m))"), by_hand)


@pytest.mark.parametrize("text", [*RULES.values(), *SEARCH_FINDINGS, *OPERANDS])
def test_named_rules_and_operands_print_as_they_were_written(text):
    assert to_text(parse(text)) == text


@pytest.mark.parametrize("num_steps", range(1, MAX_STEPS + 1))
def test_random_tables_survive_printing_and_parsing(num_steps):
    rng = np.random.default_rng(num_steps)
    for _ in range(300):
        text = to_text(random_table(rng, num_steps))
        assert to_text(parse(text, num_steps=MAX_STEPS)) == text


def test_a_tree_survives_its_table():
    rng = np.random.default_rng(7)
    for _ in range(200):
        tree = table_to_tree(random_table(rng, 3))
        assert table_to_tree(tree_to_table(tree, 3)) == tree


def test_brackets_and_precedence_follow_arithmetic():
    assert to_text(parse("((g) - (m)) - v")) == "g - m - v"
    assert to_text(parse("g - (m - v)")) == "g - (m - v)"
    assert to_text(parse("g / (m * v)")) == "g / (m * v)"
    assert to_text(parse("-g^m")) == "-g^m"
    assert to_text(parse("(-g)^m")) == "(-g)^m"
    assert to_text(parse("v^m^g")) == "v^m^g"
    assert to_text(parse("(v^m)^g")) == "(v^m)^g"
    assert to_text(parse("(g^2)^m")) == "(g^2)^m"
    np.testing.assert_array_equal(parse("m + g * v"), parse("m + (g * v)"))


def test_spellings_of_a_scaled_weight_are_one():
    tables = [parse(text) for text in ("1e-3 w", "0.001 * w", "1e-3w", "1E-3 w")]
    for table in tables[1:]:
        np.testing.assert_array_equal(table, tables[0])
    np.testing.assert_array_equal(parse("ADAM * exp(m)"), parse("adam*exp(m)"))


def test_equal_parts_share_a_row():
    assert parse("(g + m) * (g + m)").shape == (2, 5)


def test_padding_keeps_the_rule():
    padded = pad_table(parse("g + m"), 3)
    assert padded.shape == (3, 5)
    assert (padded[1:, 4] == KEEP).all()
    assert to_text(padded) == "g + m"
    with pytest.raises(ValueError, match=r"a rule of 1 steps fits `num_steps` of 1 to 4; got 5"):
        pad_table(parse("g"), 5)


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("g * foo(m)", 4, "no function 'foo'"),
        ("g * foo", 4, "no operand 'foo'"),
        ("g + ", 3, "expected an operand, got the end"),
        ("3 * g", 0, "the constants are 1 and 2; got 3"),
        ("g * w", 4, "w must be scaled"),
        ("g + 5 w", 4, "w is scaled by one of 0.1"),
        ("(g * m", 6, "expected ')', got the end"),
        ("g * m)", 5, "expected an operator or the end, got ')'"),
        ("g $ m", 2, "unexpected character '$'"),
        ("clip(g, 2)", 8, "clip takes one of 1e-05, 0.0001, 0.001; got '2'"),
        ("drop(g)", 6, "expected ',', got ')'"),
        ("exp g", 4, "expected '(' after 'exp', got 'g'"),
        ("", 0, "expected an operand, got the end"),
        ("exp(log(sqrt(exp(log(g)))))", 0, "needs 5 steps; at most 4"),
    ],
)
def test_malformed_rules_tell_where_and_why(text, position, problem):
    with pytest.raises(RuleError) as error:
        parse(text)
    assert error.value.position == position
    assert f"position {position}: " in str(error.value)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_malformed_tables_tell_the_row_and_column():
    with pytest.raises(ValueError, match=r"a rule is a table \[1..4, 5\]; got shape \(5, 5\)"):
        check_table(np.zeros((5, 5), int))
    with pytest.raises(ValueError, match=r"row 0, column 1 of a rule takes ids 0..22; got 23"):
        check_table([[0, NUM_OPERANDS, 0, 0, 0]])
    with pytest.raises(ValueError, match="integer token ids; got float64"):
        check_table(np.zeros((1, 5)))
    assert check_table([[0] * 5, [0, NUM_OPERANDS, 0, 0, 0]]).dtype == np.int32


def test_capitals_are_read_for_weights_too():
    assert np.array_equal(parse("1E-3 W * G"), parse("1e-3 w * g"))


@pytest.mark.parametrize(
    "text", ["(" * 3000 + "g" + ")" * 3000, "-" * 5000 + "g", "g" + " + g" * 3000]
)
def test_a_text_that_is_nested_without_end_is_refused(text):
    with pytest.raises(RuleError):
        parse(text)


def test_an_unknown_name_is_answered_with_the_named_rules():
    with pytest.raises(ValueError, match=r"no rule 'power_sgn'; named rules are: .*power_sign"):
        compile_rule("power_sgn")


def test_a_text_where_a_table_is_needed_is_said():
    with pytest.raises(ValueError, match="which `parse` makes of a text"):
        to_text("g * m")
