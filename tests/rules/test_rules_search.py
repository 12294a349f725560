"""Equal rules are one; populations train together; every way to search finds what is there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import ganno_jax.rules as rules
from ganno_jax.rules import controller, methods, search, written
from ganno_jax.rules.language import row_sizes
from ganno_jax.rules.methods import mutate, random_tables
from ganno_jax.rules.written import ppo_loss, reinforce_loss

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


def quadratic():
    """Ten weights on a bowl of condition number 100; the score is how much of the loss is gone."""
    curvature = jnp.logspace(-2, 0, 10)

    def loss(params, key):
        target = params["w"] + 0.01 * jax.random.normal(key, (10,))
        return 0.5 * jnp.sum(curvature * target**2)

    def score(params):
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
        return child.score_fn(params)

    np.testing.assert_allclose(mapped[3, 0, 1], alone(keys[1]), rtol=1e-4)


@pytest.mark.parametrize("mapping", ["map", "vmap"])
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


def test_sampled_rules_follow_the_probabilities_that_the_controller_tells():
    params = controller.init(jax.random.key(0), hidden=8, scale=1.0)
    tables = jax.jit(controller.sample, static_argnums=(1, 2))(params, 4096, 1, jax.random.key(1))
    for one in np.asarray(tables[:256]):
        rules.check_table(one)
    # All last tokens of one rule: a distribution over the six binaries.
    variants = jnp.repeat(tables[:1], 6, axis=0).at[:, -1, -1].set(jnp.arange(6))
    seen = jax.jit(controller.choices)(params, variants)
    probabilities = np.exp(seen.log_probs[:, -1])
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    entropy = -(probabilities * np.log(probabilities)).sum()
    assert float(seen.entropy[0, -1]) == pytest.approx(entropy, abs=1e-5)
    frequency = float((tables[:, 0, 0] == tables[0, 0, 0]).mean())
    # 4096 draws: 0.03 is about four deviations.
    assert frequency == pytest.approx(float(np.exp(seen.log_probs[0, 0])), abs=0.03)


def test_controllers_write_well_formed_rules_of_every_length():
    params = controller.init(jax.random.key(0), hidden=4, scale=2.0)
    for one in np.asarray(controller.sample(params, 256, 4, jax.random.key(1))):
        rules.check_table(one)


def test_at_ratio_one_the_clipped_loss_has_the_policy_gradient():
    params = controller.init(jax.random.key(0), hidden=8)
    tables = controller.sample(params, 6, 2, jax.random.key(1))
    advantages = jnp.linspace(-1, 1, 6)

    @jax.jit
    def gradients(params):
        old = controller.choices(params, tables).log_probs
        clipped = jax.grad(lambda p: ppo_loss(p, tables, advantages, old, 0.2, 0.01)[0])(params)
        return clipped, jax.grad(lambda p: reinforce_loss(p, tables, advantages, 0.01)[0])(params)

    clipped, plain = gradients(params)
    for ours, theirs in zip(jax.tree.leaves(clipped), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_mutation_changes_one_token_to_an_allowed_one():
    tables = random_tables(200, 3, jax.random.key(0))
    children = jax.vmap(mutate)(tables, jax.random.split(jax.random.key(1), 200))
    assert (np.asarray(tables != children).sum(axis=(1, 2)) == 1).all()
    for one in np.asarray(children):
        rules.check_table(one)


def test_evolution_replaces_its_oldest():
    method = rules.RegularizedEvolution(1, 2, population_size=4, tournament_size=2)
    state = method.init(jax.random.key(0))
    for born in range(3):
        tables = jnp.full((2, 1, 5), born, jnp.int32)
        state, _ = method.learn(state, tables, jnp.array([born, born], jnp.float32))
    np.testing.assert_array_equal(state.rewards, [2, 2, 1, 1])
    with pytest.raises(ValueError, match="must hold a batch of children: at least 16; got 4"):
        rules.RegularizedEvolution(population_size=4)


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


def test_learners_and_evolution_beat_random_search_on_a_known_target():
    method = rules.RandomSearch(batch_size=512)
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
    class Fixed(methods.RandomSearch):
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


def test_a_batch_that_repeats_one_rule_has_bounded_advantages():
    rewards = jnp.full(16, 0.91)
    scaled = written.scaled_advantages(rewards - 0.9, rewards)
    assert float(jnp.max(jnp.abs(scaled))) <= written.LARGEST_ADVANTAGE
    spread = jnp.linspace(0.0, 1.0, 16)
    centred = spread - spread.mean()
    np.testing.assert_allclose(
        written.scaled_advantages(centred, spread), centred / spread.std(), rtol=1e-4
    )


def test_children_differ_from_their_parents_in_one_to_four_tokens():
    method = rules.RegularizedEvolution(2, 64, population_size=64)
    parent = jnp.zeros((64, 2, 5), jnp.int32)
    state = method.init(jax.random.key(0)).replace(
        tables=parent, rewards=jnp.zeros(64), num_born=jnp.int32(64)
    )
    children = method.propose(state, jax.random.key(1))
    changed = np.asarray((children != 0).sum(axis=(1, 2)))
    assert set(changed.tolist()) == {1, 2, 3, 4}
