"""Equal rules are one; populations train together; every way to search finds what is there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import ganno_jax.rules as rules
from ganno_jax.rules import methods, search

from .test_rules_canonical import table


def quadratic():
    """Ten weights on a bowl of condition number 100; the score is how much of the loss is gone."""
    curvature = jnp.logspace(-2, 0, 10)

    def loss(params, key):
        target = params["w"] + 0.01 * jax.random.normal(key, (10,))
        return 0.5 * jnp.sum(curvature * target**2)

    def score(params, key):
        final = 0.5 * jnp.sum(curvature * params["w"] ** 2)
        return jnp.clip(1.0 - final / (0.5 * curvature.sum()), 0.0, 1.0)

    return rules.Child(
        lambda key: {"w": jax.random.rademacher(key, (10,), jnp.float32)}, loss, score
    )


def test_a_population_equals_rules_trained_alone_and_dead_rules_stay_alone():
    child, rates, steps = quadratic(), jnp.array([0.1, 1.0]), 5
    keys = jax.random.split(jax.random.key(0), 2)
    texts = ["g", "log(g)^m", "adam", "drop(m, 0.3)"]
    tables = jnp.stack([table(text, 1) for text in texts])

    def scores(mapping):
        return rules.train_population(child, tables, rates, keys, num_steps=steps, mapping=mapping)

    mapped, batched = jax.jit(lambda: (scores("map"), scores("vmap")))()
    assert mapped.shape == (4, 2, 2)
    np.testing.assert_allclose(mapped, batched, rtol=1e-4, atol=1e-5)
    assert np.isneginf(mapped[1]).all()
    assert np.isfinite(mapped[np.array([0, 2, 3])]).all()
    with pytest.raises(ValueError, match="`mapping` is one of auto, map, vmap; got 'pmap'"):
        scores("pmap")

    @jax.jit
    def alone(key):
        init_key, data_key, draw_key = jax.random.split(key, 3)
        params = child.init_fn(init_key)
        seed = jax.random.bits(draw_key, dtype=jnp.uint32)
        optimizer = rules.optimizer("drop(m, 0.3)", 0.1, seed=seed)
        state = optimizer.init(params)
        for count in range(steps):
            grads = jax.grad(child.loss_fn)(params, jax.random.fold_in(data_key, count))
            updates, state = optimizer.update(grads, state, params)
            params = jax.tree.map(jnp.add, params, updates)
        return child.score_fn(params, data_key)

    np.testing.assert_allclose(mapped[3, 0, 1], alone(keys[1]), rtol=1e-4)


@pytest.mark.parametrize("mapping", [pytest.param("map", marks=pytest.mark.slow), "vmap"])
def test_a_sweep_chooses_the_rate_by_short_trainings_and_scores_the_long_one(mapping):
    child, rates = quadratic(), jnp.array([1e-3, 1.0, 0.1])
    keys = jax.random.split(jax.random.key(3), 2)
    tables = jnp.stack([table(text, 1) for text in ("g", "sign(g)", "log(g)^m")])

    @jax.jit
    def both():
        short = rules.train_population(child, tables, rates, keys, num_steps=4, mapping=mapping)
        long = rules.train_population(child, tables, rates, keys, num_steps=9, mapping=mapping)
        swept = rules.sweep_population(
            child, tables, rates, keys, sweep_steps=4, num_steps=9, mapping=mapping
        )
        return short.mean(axis=2), long.mean(axis=2), swept

    short, long, (scores, chosen) = both()
    np.testing.assert_array_equal(chosen, np.argmax(short, axis=1))
    assert list(chosen) == [1, 2, 0]  # plain steps bear a rate of 1, signs do not; all are dead
    np.testing.assert_allclose(scores, long[np.arange(3), chosen], rtol=1e-5)


@pytest.fixture(scope="module")
def bowl_fitness():
    """Best of five rates, mean of two seeds, on the bowl; for 16 rules of two rows."""
    return rules.make_fitness(quadratic(), jnp.logspace(-3, 1, 5), num_steps=10, num_seeds=2)


def test_fitness_is_that_of_the_best_rate_and_dead_rules_have_none(bowl_fitness):
    texts = ["g", "-g", "log(g)^m", "sign(m) * ld"]
    fitness = np.asarray(
        bowl_fitness(jnp.stack([table(text, 2) for text in texts * 4]), jax.random.key(1))
    )
    np.testing.assert_array_equal(fitness[:4], fitness[4:8])
    assert fitness[0] > 0.7
    assert fitness[1] < 0.1
    assert np.isneginf(fitness[2])
    assert 0.1 < fitness[3] <= 1.0


def test_evolution_finds_a_rule_as_good_as_the_classics_on_a_bowl(bowl_fitness):
    key = jax.random.key(0)
    classics = jnp.stack([table(text, 2) for text in ["g", "m", "adam", "sign(g)"] * 4])
    method = rules.RegularizedEvolution(2, 16, population_size=32, warm_start=table("g", 2))
    state = search.run(method, bowl_fitness, key, budget=96)
    best = np.asarray(bowl_fitness(classics, jax.random.fold_in(key, 2))).max()
    assert search.leaderboard(state)[0]["fitness"] >= best


TARGET = table("g * exp(sign(g) * sign(m))", 2)


def probe(tables):
    """How many of the ten tokens are those of PowerSign: a reward with a known best."""
    return (tables == TARGET).mean(axis=(1, 2))


def learned(method, num_updates):
    """Mean reward of the proposals after learning on the probe."""

    def update(state, key):
        tables = method.propose(state, key)
        state, _ = method.learn(state, tables, probe(tables))
        return state, probe(tables).mean()

    keys = jax.random.split(jax.random.key(1), num_updates)
    state = method.init(jax.random.key(0))
    return float(jax.jit(lambda s: jax.lax.scan(update, s, keys))(state)[1][-10:].mean())


@pytest.mark.learning
@pytest.mark.slow
def test_learners_and_evolution_beat_random_search_on_a_known_target():
    method = rules.UniformRules(batch_size=512)
    assert float(probe(method.propose((), jax.random.key(0))).mean()) < 0.15
    common = {"batch_size": 32, "hidden": 16, "learning_rate": 2e-2, "entropy_weight": 1e-3}
    assert learned(rules.Reinforce(**common), 120) > 0.6
    assert learned(rules.PPO(**common), 50) > 0.6
    # Of the proposals, not of the best: the more tokens change, the more of them are exploration.
    assert learned(rules.RegularizedEvolution(batch_size=32, most_changes=1), 150) > 0.6
    assert learned(rules.RegularizedEvolution(batch_size=32), 150) > 0.4


class Counting:
    """A fitness that keeps what it was asked."""

    def __init__(self):
        self.asked, self.keys = [], []

    def __call__(self, tables, key):
        self.asked.append(np.asarray(tables))
        self.keys.append(jax.random.key_data(key).tolist())
        return probe(tables)


def test_no_rule_is_evaluated_twice_and_the_budget_is_kept():
    fitness_fn, method = Counting(), rules.RegularizedEvolution(2, 16, population_size=16)
    state = search.run(method, fitness_fn, jax.random.key(0), budget=60, chunk_size=8)
    size = state.archive.size
    assert 60 <= size < 60 + 16
    hashes = state.archive.hashes[:size]
    assert len(np.unique(hashes, axis=0)) == size
    assert {batch.shape for batch in fitness_fn.asked} == {(8, 2, 5)}
    assert len({tuple(key) for key in fitness_fn.keys}) == 1
    assert state.num_proposed == size + state.num_cached + state.num_hopeless
    assert state.num_cached > 0
    curve = search.best_so_far(state, 60)
    assert curve.shape == (60,)
    assert (np.diff(curve) >= 0).all()
    records = search.leaderboard(state, top=3, budget=60)
    assert [record["rank"] for record in records] == [1, 2, 3]
    assert records[0]["fitness"] == pytest.approx(curve[-1])
    assert rules.canonical_text(records[0]["table"]) == records[0]["rule"]


def test_a_resumed_search_goes_on_as_if_it_had_not_stopped():
    method = rules.PPO(batch_size=16, hidden=8)
    key = jax.random.key(3)
    whole = search.run(method, Counting(), key, budget=1000, max_updates=4)
    half = search.run(method, Counting(), key, budget=1000, max_updates=2)
    leaves, treedef = jax.tree.flatten(half)
    half = treedef.unflatten(
        [jax.tree.map(jnp.array, leaf) for leaf in leaves]
    )  # as from a checkpoint
    resumed = search.run(method, Counting(), key, budget=1000, state=half, max_updates=4)
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_hopeless_and_dead_rules_earn_nothing():
    @struct.dataclass
    class Fixed(methods.UniformRules):
        def propose(self, state, key):
            texts = ("g", "1", "log(g)^m", "m", "g", "-g", "--g", "g * 1")
            return jnp.stack([table(text, 2) for text in texts])

        def learn(self, state, tables, rewards):
            return rewards, {}

    def fitness_fn(tables, key):
        first = tables[:, 0, 0]
        return jnp.where(first == 3, jnp.nan, 0.5)  # m dies

    method = Fixed(2, 8)
    state = search.init(method, 20, jax.random.key(0))
    state, metrics = search.update(method, state, fitness_fn, jax.random.key(0))
    np.testing.assert_allclose(state.method, [0.5, 0, 0, 0, 0.5, 0.5, 0.5, 0.5])
    assert (state.archive.size, state.num_hopeless, state.num_cached) == (3, 2, 3)
    assert metrics["reward_max"] == 0.5
    assert [record["rule"] for record in search.leaderboard(state)] == ["g", "-g"]
    with pytest.raises(
        ValueError, match="fitness must be at least 0, as dead rules earn 0; got -1"
    ):
        search.evaluate(
            lambda t, k: -jnp.ones(8), np.zeros((3, 2, 5), np.int32), None, chunk_size=8
        )
    with pytest.raises(ValueError, match="at least 1 evaluation; got 0"):
        search.init(method, 0, jax.random.key(0))
