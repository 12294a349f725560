"""When decisions fall."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.door.clock import Clock


def starts(clock):
    return np.asarray(clock.start(jnp.arange(clock.decisions + 1)))


@pytest.mark.parametrize("total_steps", [1, 29, 30, 31, 59, 600, 10_007, 100_000_000])
def test_a_training_has_as_many_decisions_as_were_trained_or_one_for_each_step(total_steps):
    clock = Clock(total_steps, 30)
    wanted = min(total_steps, 30)
    assert clock.decisions == wanted
    found = starts(clock)
    np.testing.assert_array_equal(found, [k * total_steps // wanted for k in range(wanted + 1)])
    assert np.all(np.diff(found) >= 1)
    assert np.all(np.abs(np.diff(found) - clock.interval) <= 1)


@pytest.mark.parametrize("clock", [Clock(31, 7), Clock(5, 30), Clock(60, 30, every=7)])
def test_the_decisions_before_an_update_are_counted(clock):
    begun = starts(clock)[:-1]
    for step in range(clock.total_steps + 2):
        assert int(clock.num_before(jnp.int32(step))) == np.sum(begun < step)
        decision, start = clock.last_decision(jnp.int32(step))
        assert int(decision) == np.flatnonzero(begun <= step)[-1]
        assert int(start) == begun[int(decision)]


def test_every_so_many_steps_overrides_the_trained_number():
    clock = Clock(10, 30, every=4)
    np.testing.assert_array_equal(starts(clock), [0, 4, 8, 10])
    assert clock.interval == 4


def test_decisions_are_due_at_their_starts_and_never_after_the_end():
    clock = Clock(7, 3)

    def one(decision, step):
        due = clock.is_due(decision, step)
        measured = clock.is_measured(decision + due, step, 1)
        return decision + due, (due, measured)

    _, (due, measured) = jax.lax.scan(one, jnp.int32(0), jnp.arange(10))
    np.testing.assert_array_equal(np.flatnonzero(due), [0, 2, 4])
    np.testing.assert_array_equal(
        np.flatnonzero(measured), [1, 3]
    )  # nothing decides after the last


@pytest.mark.parametrize("numbers", [{"total_steps": 0}, {"total_steps": 2.5}, {"every": 0}])
def test_counts_that_are_none_are_refused(numbers):
    with pytest.raises(ValueError, match="must be a whole number, at least 1"):
        Clock(**{"total_steps": 5, "trained_decisions": 3} | numbers)


def test_steps_that_32_bits_do_not_count_are_refused():
    with pytest.raises(
        ValueError, match=r"`total_steps` must be below 2\*\*31 - 1.*got 1000000000000"
    ):
        Clock(10**12, 30)
    longest = Clock(2**31 - 2, 30)
    assert int(longest.start(jnp.int32(30))) == 2**31 - 2
    assert int(longest.start(jnp.int32(29))) == (2**31 - 2) * 29 // 30
