"""Rules that compute the same have one text, or at least one fingerprint."""

import numpy as np
import pytest

import ganno_jax.rules as rules
from ganno_jax.rules.language import row_sizes

EQUAL = [
    ("g * m", "m * g"),
    ("--g", "g"),
    ("g - (-m)", "m + g"),
    ("-g + m", "m - g"),
    ("(-g) * m", "-(m * g)"),
    ("g * 1", "g"),
    ("g ^ 1", "g / 1"),
    ("g * g", "g^2"),
    ("g * g * g", "g^3"),
    ("m / sqrt(v)", "adam"),
    ("g / sqrt(v)", "rmsprop"),
    ("sign(adam)", "sign(m)"),
    ("sign(sign(v - g))", "sign(v - g)"),
    ("clip(clip(g, 1e-3), 1e-5)", "clip(g, 1e-5)"),
    ("log(-g)", "log(g)"),
    ("g + g", "2 * g"),
]


def table(text, num_steps=4):
    return rules.parse(text, num_steps=num_steps)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_disguised_rules_have_one_canonical_text(one, other):
    assert rules.canonical_text(table(one)) == rules.canonical_text(table(other))


def test_canonical_rules_compute_what_they_computed():
    rng = np.random.default_rng(0)
    tables = rng.integers(0, row_sizes(3), (64, 3, 5)).astype(np.int32)
    canonical = np.stack([rules.canonical_table(t) for t in tables])
    ours, theirs = rules.fingerprints(canonical), rules.fingerprints(tables)
    np.testing.assert_array_equal(ours.finite, theirs.finite)
    # Rewriting reorders roundings, which may move a number into the next of 1024 bins.
    same = (ours.hashes == theirs.hashes).all(axis=1)
    assert same[ours.finite].mean() > 0.95
    texts = [rules.canonical_text(t) for t in canonical]
    assert [rules.canonical_text(table(text)) for text in texts] == texts


def test_fingerprints_meet_where_no_rewriting_does_and_tell_rules_apart():
    # One size of population, one compilation.
    texts = [
        "exp(log(g)) * sign(g)",
        "g",
        "sqrt(g^2) * sign(g)",
        "m",
        "-g",
        "2 * g",
        "g + clip(g, 1e-5)",
    ]
    texts += ["log(g)^m", "sqrt(0.1 w)", "drop(g, 0.3)", "noise"]
    padded = np.stack([table(text, 3) for text in texts] + [table("v", 3)] * (64 - len(texts)))
    prints = rules.fingerprints(padded)
    names = [row.tobytes() for row in prints.hashes[: len(texts)]]
    assert names[0] == names[1] == names[2]
    assert len(set(names[1:2] + names[3:])) == 9
    assert not prints.finite[texts.index("log(g)^m")]
    assert not prints.learns[texts.index("sqrt(0.1 w)")]
    assert not prints.learns[texts.index("noise")]
    assert prints.learns[texts.index("drop(g, 0.3)")]
