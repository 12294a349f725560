"""Agents: permutations, memories, normalizer, distributions."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import FEATURES, Observation
from ganno_jax.env.actions import DirectRate, RateMultipliers
from ganno_jax.policies import AgentPolicy, Ensemble, Normalizer, untrained
from ganno_jax.policies.agents import init_actor, to_distribution
from ganno_jax.policies.networks import Actor, Critic, empty_memory, pool, unroll
from ganno_jax.policies.normalizer import deviation_sums, empty_normalizer

from ..probes import quick_jit

KEY = jax.random.key(0)
ORDER = jnp.asarray([2, 0, 1])
close = np.testing.assert_allclose


def observation(num_layers=3, key=KEY):
    return Observation(
        features=jax.random.normal(key, (num_layers, len(FEATURES))),
        mask=jnp.ones(num_layers, bool),
        rates=jnp.linspace(0.1, 0.3, num_layers),
        largest_relative_steps=jnp.ones(num_layers),
        initial_rate=jnp.asarray(0.1),
        loss=jnp.asarray(1.0),
        step=jnp.asarray(20),
        total_steps=jnp.asarray(600),
        interval=20,
    )


def permuted(o, order=ORDER):
    return o.replace(features=o.features[order], rates=o.rates[order])


@cache
def agents(recurrent=True, actions=None, seed=0):
    actions = actions or DirectRate()
    actor = Actor(actions.num_actions, hidden=8, recurrent=recurrent)
    return AgentPolicy(
        actor=actor,
        params=jax.tree.map(
            lambda x: 3 * x, init_actor(actor, len(FEATURES), jax.random.key(seed))
        ),
        normalizer=empty_normalizer(len(FEATURES)),
        feature_mask=jnp.ones(len(FEATURES)),
        actions=actions,
    )


@pytest.mark.parametrize("recurrent", [False, True])
def test_permuting_layers_permutes_memories_and_rates(recurrent):
    policy, o = agents(recurrent), observation()
    memory = policy.init(o) + jnp.arange(3.0)[:, None] / 10
    after, rates = policy.act(memory, o, KEY)
    after_permuted, rates_permuted = policy.act(memory[ORDER], permuted(o), KEY)
    close(rates_permuted, rates[ORDER], rtol=1e-5)
    close(after_permuted, after[ORDER], rtol=1e-5, atol=1e-6)
    assert np.unique(rates).size == 3


@pytest.mark.parametrize("kind", ["central", "local"])
def test_permuting_layers_or_trainings_permutes_values(kind):
    critic = Critic(kind, hidden=8, recurrent=True)
    features = jax.random.normal(KEY, (4, 3, len(FEATURES)))
    mask = jnp.ones((4, 3), bool)
    memory = empty_memory(critic, 4, 3)
    params = critic.init(KEY, memory, features, mask)
    apply = quick_jit(critic.apply)
    _, values = apply(params, memory, features, mask)
    _, by_layer = apply(params, memory, features[:, ORDER], mask)
    close(by_layer, values[:, ORDER], rtol=1e-4, atol=1e-6)
    order = jnp.asarray([3, 1, 0, 2])
    close(apply(params, memory, features[order], mask)[1], values[order], rtol=1e-4, atol=1e-6)


def test_a_central_critic_sees_the_other_layers_and_a_local_one_does_not():
    features = jax.random.normal(KEY, (3, len(FEATURES)))
    changed, mask = features.at[2].add(1.0), jnp.ones(3, bool)
    for kind, sees in (("central", True), ("local", False)):
        critic = Critic(kind, hidden=8)
        memory = empty_memory(critic, 3)
        params = critic.init(KEY, memory, features, mask)
        values = [critic.apply(params, memory, x, mask)[1][:2] for x in (features, changed)]
        assert np.array_equal(*values) != sees


def test_absent_layers_do_not_reach_the_values_of_those_present():
    features, mask = jax.random.normal(KEY, (3, len(FEATURES))), jnp.asarray([True, True, False])
    critic = Critic("central", hidden=8)
    memory = empty_memory(critic, 3)
    params = critic.init(KEY, memory, features, mask)
    _, padded = critic.apply(params, memory, features, mask)
    _, alone = critic.apply(params, memory[:2], features[:2], mask[:2])
    close(padded[:2], alone, rtol=1e-5, atol=1e-6)


def test_pooling_over_no_layer_is_zero():
    np.testing.assert_array_equal(pool(jnp.ones((2, 3)), jnp.zeros(2, bool)), np.zeros((2, 3)))


def test_any_number_of_layers_runs_on_the_same_weights():
    for num_layers in (1, 2, 20):
        o = observation(num_layers)
        _, rates = agents().act(agents().init(o), o, KEY)
        assert rates.shape == (num_layers,)


def test_a_memory_makes_a_difference_only_where_there_is_one():
    o = observation()
    for recurrent in (False, True):
        policy = agents(recurrent)
        memory, first = policy.act(policy.init(o), o, KEY)
        _, second = policy.act(memory, o, KEY)
        assert np.array_equal(first, second) != recurrent


@pytest.mark.parametrize("num_actions", [3, None])
@pytest.mark.parametrize("recurrent", [False, True])
def test_unrolling_equals_steps_one_by_one(recurrent, num_actions):
    actor = Actor(num_actions, hidden=4, recurrent=recurrent)
    features = jax.random.normal(KEY, (5, 2, len(FEATURES)))
    memory = empty_memory(actor, 2)
    params = actor.init(KEY, memory, features[0])
    actions = jnp.zeros((5, 2), int if num_actions else float)
    at_once = to_distribution(actor, unroll(actor, params, memory, features)).log_prob(actions)
    apply = quick_jit(actor.apply)
    for t in range(5):
        memory, outputs = apply(params, memory, features[t])
        log_prob = to_distribution(actor, outputs).log_prob(actions[t])
        close(at_once[t], log_prob, rtol=1e-4, atol=1e-6)


def test_an_ensemble_takes_the_geometric_mean_of_its_members_rates():
    o = observation()
    members = [agents(recurrent=True, seed=seed) for seed in range(3)]
    ensemble = Ensemble(members)
    memories, memory = [m.init(o) for m in members], ensemble.init(o)
    for _ in range(2):
        alone = [m.act(s, o, KEY) for m, s in zip(members, memories, strict=True)]
        memory, rates = ensemble.act(memory, o, KEY)
        memories = [state for state, _ in alone]
        close(rates, np.prod([rates for _, rates in alone], axis=0) ** (1 / 3), rtol=1e-5)
        close(memory, np.stack(memories), rtol=1e-5, atol=1e-6)
    for member, again in zip(members, ensemble.split(), strict=True):
        jax.tree.map(np.testing.assert_array_equal, member.params, again.params)


def test_untrained_members_differ_from_each_other():
    fresh = untrained(Ensemble([agents(), agents()]), KEY).split()
    differs = jax.tree.map(lambda a, b: not np.array_equal(a, b), fresh[0].params, fresh[1].params)
    assert any(jax.tree.leaves(differs))


def test_an_ensemble_of_nothing_or_of_different_kinds_is_an_error():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
    with pytest.raises(ValueError, match="of one kind"):
        Ensemble([agents(), agents(recurrent=False)])


def test_greedy_agents_take_the_mode_and_others_a_sample():
    policy, o = agents(actions=RateMultipliers()), observation()
    _, distribution = policy.distribution(policy.init(o), o)
    _, rates = policy.act(policy.init(o), o, KEY)
    factors = jnp.asarray(policy.actions.factors)[jnp.argmax(distribution.logits, -1)]
    close(rates, o.rates * factors, rtol=1e-6)
    keys = jax.random.split(KEY, 20)
    sampling = policy.replace(greedy=False)
    samples = quick_jit(jax.vmap(lambda k: sampling.act(sampling.init(o), o, k)[1]))(keys)
    assert np.unique(samples, axis=0).shape[0] > 10


def test_hidden_features_do_not_change_what_agents_do():
    policy, o = agents(), observation()
    blind = policy.replace(feature_mask=policy.feature_mask.at[0].set(0.0))
    other = o.replace(features=o.features.at[:, 0].set(2.0))
    rates = [p.act(p.init(x), x, KEY)[1] for p in (policy, blind) for x in (o, other)]
    assert not np.array_equal(rates[0], rates[1])
    np.testing.assert_array_equal(rates[2], rates[3])


def test_untrained_agents_are_new_networks_with_the_same_normalizer():
    fresh = untrained(agents(), jax.random.key(5))
    assert not np.array_equal(*(jax.tree.leaves(p.params)[0] for p in (fresh, agents())))
    assert fresh.normalizer is agents().normalizer


def test_a_merged_normalizer_is_numpys_mean_and_variance_over_all_data():
    random = np.random.default_rng(0)
    batches = [10 * i + random.normal(size=(n, 3)) for i, n in enumerate((5, 40, 3, 100))]
    normalizer = empty_normalizer(3)
    for batch in batches:
        x = jnp.asarray(batch, jnp.float32)
        normalizer = normalizer.merged(*deviation_sums(x, normalizer.mean, jnp.ones(len(x))), 1e6)
    everything = np.concatenate(batches)
    assert normalizer.count == len(everything)
    close(normalizer.mean, everything.mean(0), rtol=1e-5)
    close(normalizer.second, everything.var(0), rtol=1e-4)


def test_weights_of_zero_do_not_count():
    x = jnp.asarray([[1.0], [2.0], [1e6]])
    sums = deviation_sums(x, jnp.zeros(1), jnp.asarray([1.0, 1.0, 0.0]))
    normalizer = empty_normalizer(1).merged(*sums, 1e6)
    close(normalizer.mean, [1.5])
    close(normalizer.second, [0.25], rtol=1e-6)


def test_old_data_are_forgotten_beyond_the_largest_count():
    normalizer = Normalizer(jnp.asarray(1e6), jnp.zeros(1), jnp.ones(1))
    sums = deviation_sums(jnp.full((10, 1), 4.0), normalizer.mean, jnp.ones(10))
    merged = normalizer.merged(*sums, 10.0)
    assert merged.count == 20
    close(merged.mean, [2.0])


def test_normalizing_and_inverting_is_the_identity():
    normalizer = Normalizer(jnp.asarray(5.0), jnp.asarray([3.0]), jnp.asarray([4.0]))
    x = jnp.asarray([[1.0], [2.5], [6.0]])
    close(normalizer.invert(normalizer(x)), x, rtol=1e-6)


def test_a_feature_that_never_varied_is_zero_whatever_its_value_and_an_outlier_is_clipped():
    normalizer = Normalizer(jnp.asarray(5.0), jnp.asarray([3.0, 3.0]), jnp.asarray([0.0, 4.0]))
    close(normalizer(jnp.asarray([[3.0, 3.0], [4.0, 99.0]])), [[0.0, 0.0], [0.0, 5.0]])
