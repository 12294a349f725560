"""What is read from the TPU compiler's estimates; the compiler itself is not needed here."""

import pytest

from benchmarks.tpu_plan import known_seconds


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [(2e-5, (2e-5, 0)), (-1 + 3e-4, (3e-4, 1)), (-3 + 5e-4, (5e-4, 3))],
)
def test_operations_without_an_estimate_are_left_out_and_counted(estimate, expected):
    seconds, left_out = known_seconds(estimate)
    assert (pytest.approx(seconds, rel=1e-6), left_out) == expected
