"""Celo, Celo-Adam and VeLO in use: batched, traced, in other dtypes, and used wrongly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganno_jax.baselines import celo, celo_adam, shipped_weights, velo
from ganno_jax.baselines.learned_common import fold_loss, init_loss_buffer, progress_embedding
from ganno_jax.baselines.learned_wrappers import AccumulatorState
from ganno_jax.baselines.weights import Linear

from .problem import problem, quick_jit, train

MAKERS = {"celo": celo, "celo_adam": celo_adam}


def velo_weights():
    """Celo's weights in VeLO's form: inputs Celo lacks weigh 0, the only network of the bank 1."""
    weights = shipped_weights("celo")
    scheduler = weights.scheduler

    def widen(layer):
        return Linear(np.concatenate([layer.w, np.zeros((12, layer.w.shape[1]))]), layer.b)

    scheduler = scheduler.replace(
        pooled=widen(scheduler.pooled),
        own=widen(scheduler.own),
        mix=Linear(np.zeros_like(scheduler.mix.w), np.ones_like(scheduler.mix.b)),
    )
    return weights.replace(scheduler=scheduler)


@pytest.mark.parametrize("name", MAKERS)
def test_trains_a_batch_of_regressions(name, key):
    @quick_jit
    @jax.vmap
    def run(key, num_steps):
        return train(lambda: MAKERS[name](num_steps=num_steps), 150, key)[0]

    losses = run(jax.random.split(key, 2), jnp.asarray([150, 300]))
    assert np.isfinite(losses).all()
    assert (losses[:, -1] < 0.5 * losses[:, 0]).all()


def test_celo_takes_the_steps_of_velo_up_to_the_multiplier(key):
    """VeLO's step is tied to recorded numbers; Celo differs from it by 0.1 exp(s) in place of s."""
    params, _ = problem(key)

    @quick_jit
    def run(scales):
        optimizers = celo(None, 100), velo(velo_weights(), 100, mix_scale=1.0)

        def step(states, scale):
            gradients = jax.tree.map(lambda p: jnp.cos(scale + p), params)
            pairs = [
                o.update(gradients, s, params, value=scale**2)
                for o, s in zip(optimizers, states, strict=True)
            ]
            (ours, ours_state), (theirs, theirs_state) = pairs
            return (ours_state, theirs_state), (ours, theirs, theirs_state.multipliers)

        return jax.lax.scan(step, tuple(o.init(params) for o in optimizers), scales)[1]

    ours, theirs, multipliers = run(jnp.asarray([3.0, 2.0, 2.5, 1.0, 0.8]))
    for row, name in enumerate(sorted(params)):
        shape = (-1,) + (1,) * params[name].ndim
        raw = multipliers[:, row].reshape(shape)
        expected = theirs[name] * (0.1 * jnp.exp(raw) / raw)
        np.testing.assert_allclose(ours[name], expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda steps: celo(num_steps=steps),
        lambda steps: celo_adam(num_steps=steps, weight_decay=0.01),
        lambda steps: velo(velo_weights(), steps, weight_decay=0.01),
    ],
)
def test_keeps_the_dtypes_of_parameters_and_state(make, key):
    kinds = {"w": jnp.bfloat16, "b": jnp.float32}

    def run(key, num_steps):
        return train(lambda: make(num_steps), 3, key, kinds)

    _, params, state = jax.eval_shape(run, key, 100)
    assert {name: leaf.dtype for name, leaf in params.items()} == kinds
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {
        jnp.dtype(jnp.float32),
        jnp.dtype(jnp.int32),
    }


def test_velo_keeps_buffers_only_where_it_may_have_to_average():
    weights, params = velo_weights(), jnp.ones(3)
    assert not isinstance(velo(weights, 150_000).init(params), AccumulatorState)
    state = velo(weights, 300_001).init(params)
    assert isinstance(state, AccumulatorState)
    assert state.num_calls == 3
    assert state.inner.num_steps == 100_000


def test_the_first_step_of_celo_adam_is_adams_at_its_own_rate():
    params = {"a": jnp.asarray([1.0, -2.0])}
    gradients = {"a": jnp.asarray([0.3, -5.0])}
    optimizer = celo_adam(num_steps=100)

    @quick_jit
    def run(loss):
        updates, state = optimizer.update(gradients, optimizer.init(params), params, value=loss)
        adam = optax.adam(state.rate, eps_root=1e-10)
        return updates, adam.update(gradients, adam.init(params), params)[0]

    updates, expected = run(1.0)
    np.testing.assert_allclose(updates["a"], expected["a"], rtol=1e-4)  # 1 - 0.999 in float32


def test_one_update_function_serves_runs_of_different_length():
    """The planned length travels in the state, not in the transformation."""
    params = jnp.ones(2)
    short, long = celo_adam(num_steps=4), celo_adam(num_steps=10_000)
    shared, own = quick_jit(short.update), quick_jit(long.update)
    brief, state, expected = short.init(params), long.init(params), long.init(params)
    for _ in range(2):
        _, brief = shared(params, brief, params, value=1.0)
        _, state = shared(params, state, params, value=1.0)
        _, expected = own(params, expected, params, value=1.0)
    assert state.rate == expected.rate
    assert state.rate != brief.rate


def test_progress_is_the_fraction_done():
    embedding = progress_embedding(jnp.asarray(40), jnp.asarray(100))
    assert embedding[3] == pytest.approx(0.0, abs=1e-6)
    assert (embedding[:3] > 0).all()
    assert (embedding[4:] < 0).all()


def test_loss_features_stand_at_minus_one_while_the_loss_falls_and_rise_when_it_rises():
    buffer = init_loss_buffer(jnp.asarray(1000))
    fold = quick_jit(fold_loss)
    for count, loss in enumerate([4.0, 3.0, 2.5, 2.0, 1.8]):
        buffer, features = fold(buffer, loss)
        np.testing.assert_array_equal(features, 0.0 if count < 2 else -1.0)
    for loss in [2.5, 3.0]:
        buffer, features = fold(buffer, loss)
    assert features[0] > -0.9


def test_a_loss_counts_as_at_most_twice_the_largest_mean():
    """With exponent k + 1 for k losses the first mean stands at (1 - d) / (1 - d^2) of the loss."""
    buffer, _ = fold_loss(init_loss_buffer(jnp.asarray(1000)), 1.0)
    spiked, _ = fold_loss(buffer, 1e6)
    decays = np.asarray(buffer.decays, np.float64)
    limit = 2 * ((1 - decays) / (1 - decays**2)).max()
    expected = decays * (1 - decays) + (1 - decays) * limit
    np.testing.assert_allclose(spiked.means, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["celo", "celo_adam", "velo"])
def test_misuse_is_named(name):
    make = {**MAKERS, "velo": lambda w=None, n=None, **kw: velo(w or velo_weights(), n, **kw)}[name]
    params = jnp.ones(2)
    optimizer = make(None, 10)
    state = optimizer.init(params)
    with pytest.raises(ValueError, match=f"`{name}` needs the training loss"):
        optimizer.update(params, state, params)
    with pytest.raises(ValueError, match=f"`{name}` needs the parameters"):
        optimizer.update(params, state, value=1.0)
    with pytest.raises(ValueError, match="num_steps"):
        make(None, None)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        make(None, 0)
    with pytest.raises(ValueError, match=r"got -0\.1"):
        make(None, 10, weight_decay=-0.1)


def test_weights_of_another_optimizer_are_refused():
    with pytest.raises(ValueError, match="`velo` needs weights with 30 scheduler inputs"):
        velo(shipped_weights("celo"), 10)
    with pytest.raises(ValueError, match=r"`celo` needs weights .* a per-parameter network"):
        celo(shipped_weights("celo_adam"), 10)
    with pytest.raises(ValueError, match=r"`celo_adam` needs weights .* no per-parameter network"):
        celo_adam(shipped_weights("celo"), 10)
    with pytest.raises(
        ValueError, match=r"`celo` needs weights from `load_weights` or .*; got dict"
    ):
        celo({}, 10)  # pyright: ignore
