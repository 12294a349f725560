"""Trainings whose loss the agents do not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env.features import FEATURES
from ganno_jax.env.hidden_loss import WITHOUT_LOSS

from ..probes import mlp_env, reset, reset_batch, step

COLUMNS = np.asarray([FEATURES.index(name) for name in WITHOUT_LOSS])
OTHERS = np.setdiff1d(np.arange(len(FEATURES)), COLUMNS)
MUTE = np.tile(np.float32(list(WITHOUT_LOSS.values())), (2, 1))


def seen(env, key):
    first, _ = reset(env, key)
    second, paid = step(env, first, jnp.full(2, 0.3))
    return first.observation.features, second.observation.features, paid.reward, second.inner.params


def test_what_is_hidden_is_the_loss_and_nothing_else(key):
    env = mlp_env()
    shown, hidden = seen(env, key), seen(env.replace(hidden_loss=1.0), key)
    for a, b in zip(shown[:2], hidden[:2], strict=True):
        np.testing.assert_array_equal(b[:, COLUMNS], MUTE)
        np.testing.assert_array_equal(a[:, OTHERS], b[:, OTHERS])
    assert not np.allclose(shown[1][:, COLUMNS], MUTE)
    jax.tree.map(np.testing.assert_array_equal, shown[2:], hidden[2:])  # rewards and weights


def test_the_share_of_trainings_is_drawn_and_each_keeps_to_it_until_evaluation():
    env = mlp_env().replace(hidden_loss=0.3)
    states, _ = reset_batch(env, jax.random.split(jax.random.key(0), 400))
    assert 0.2 < np.mean(states.loss_hidden) < 0.4
    mute = (states.observation.features[:, :, COLUMNS] == MUTE).all((1, 2))
    np.testing.assert_array_equal(mute, states.loss_hidden)
    for number in (int(np.argmax(states.loss_hidden)), int(np.argmin(states.loss_hidden))):
        state = jax.tree.map(lambda x, i=number: x[i], states)
        after, _ = step(env, state, jnp.full(2, 0.3))
        is_mute = (np.asarray(after.observation.features[:, COLUMNS]) == MUTE).all()
        assert is_mute == bool(state.loss_hidden)
    evaluated, _ = reset(env.for_evaluation(), jax.random.key(0))
    assert evaluated.loss_hidden is None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    env = mlp_env()
    with pytest.raises(ValueError, match="`hidden_loss` must be a share, between 0 and 1"):
        env.create(env.training, env.reward, num_decisions=2, interval=2, hidden_loss=share)
