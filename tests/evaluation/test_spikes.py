"""Where a training loss rises most."""

import numpy as np

from ganno_jax.evaluation.spikes import find_spike


def test_find_spike_finds_the_largest_rise():
    losses = np.array([4.0, 2.0, 3.0, 1.0, 0.5, 2.0, 4.0, 1.0, 0.9])
    spike = find_spike(losses)
    assert (spike.start, spike.peak) == (4, 6)
    np.testing.assert_allclose(spike.height, np.log(8))


def test_a_spike_is_as_short_as_its_window():
    slow = np.concatenate([np.geomspace(1, 10, 101), [9.0, 13.5]])
    assert find_spike(slow, window=1)[:2] == (101, 102)
    assert find_spike(slow, window=200)[:2] == (0, 102)


def test_find_spike_passes_over_broken_points_and_falling_curves():
    assert find_spike(np.array([4.0, 3.0, np.nan, 2.0, 2.0, 1.0])) is None
    assert find_spike(np.array([2.0, np.inf, 1.0, np.nan, 3.0]))[:2] == (2, 4)


def test_equal_lows_start_the_spike_where_the_rise_starts():
    assert find_spike(np.array([1.0, 1.0, 1.0, 5.0]))[:2] == (2, 3)
