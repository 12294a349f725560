"""Settings of a stored configuration are of their types, or said not to be."""

from typing import Annotated, Literal

import pytest

from experiments.configs.value_types import typed


@pytest.mark.parametrize(
    "value, hint",
    [
        (1, int),
        (1, float),
        (0.5, float | None),
        (None, str | None),
        ("a", Annotated[str, "shown"]),
        ("a", Literal["a", "b"]),
        (True, bool),
        ([1.0, 2], tuple[float, float]),
        ([], tuple[str, ...]),
        (["a"], tuple[Literal["a", "b"], ...]),
        ((3,), tuple[int, ...] | None),
    ],
)
def test_what_fits_comes_back(value, hint):
    expected = tuple(value) if isinstance(value, list) else value
    assert typed(value, hint, "x") == expected


@pytest.mark.parametrize(
    "value, hint, said",
    [
        ("0", int, "`x` must be a whole number; got a text '0'"),
        (1.0, int, "`x` must be a whole number; got a number 1.0"),
        (True, int, "`x` must be a whole number; got true or false True"),
        (None, float, "`x` must be a number; got null"),
        (float("nan"), float, "`x` must be a number; got a number nan"),
        (3, str | None, "`x` must be a text or null; got a whole number 3"),
        ("c", Literal["a", "b"], "`x` must be one of a, b; got a text 'c'"),
        (0.1, tuple[float, ...], "`x` must be a list of numbers; got a number 0.1"),
        ([1.0], tuple[float, float], "`x` must be a list of 2 numbers; got a list [1.0]"),
        ([1, "a"], tuple[int, ...], "`x` must be a list of whole numbers; got a list [1, 'a']"),
        ({}, bool, "`x` must be true or false; got a group of settings"),
        (9 * ["line\nbreak"], int, "`x` must be a whole number; got a list ['line"),
    ],
)
def test_what_does_not_fit_is_named_with_what_came_and_what_is_needed(value, hint, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        typed(value, hint, "x")
    assert str(caught.value).startswith(said)
    assert len(str(caught.value).splitlines()) == 1
