"""What proposes rules: the writer of rules and its losses, mutations, the population of an evolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ganno_jax.rules as rules
from ganno_jax.rules import writer, written
from ganno_jax.rules.methods import mutate, random_tables
from ganno_jax.rules.written import ppo_loss, reinforce_loss


def test_sampled_rules_follow_the_probabilities_that_the_writer_tells():
    params = writer.init(jax.random.key(0), hidden=8, scale=1.0)
    tables = jax.jit(writer.sample, static_argnums=(1, 2))(params, 4096, 1, jax.random.key(1))
    for one in np.asarray(tables[:256]):
        rules.check_table(one)
    # All last tokens of one rule: a distribution over the six binaries.
    variants = jnp.repeat(tables[:1], 6, axis=0).at[:, -1, -1].set(jnp.arange(6))
    seen = jax.jit(writer.choices)(params, variants)
    probabilities = np.exp(seen.log_probs[:, -1])
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    entropy = -(probabilities * np.log(probabilities)).sum()
    assert float(seen.entropy[0, -1]) == pytest.approx(entropy, abs=1e-5)
    frequency = float((tables[:, 0, 0] == tables[0, 0, 0]).mean())
    # 4096 draws: 0.03 is about four deviations.
    assert frequency == pytest.approx(float(np.exp(seen.log_probs[0, 0])), abs=0.03)


def test_writers_write_well_formed_rules_of_every_length():
    params = writer.init(jax.random.key(0), hidden=4, scale=2.0)
    for one in np.asarray(writer.sample(params, 256, 4, jax.random.key(1))):
        rules.check_table(one)


def test_at_ratio_one_the_clipped_loss_has_the_policy_gradient():
    params = writer.init(jax.random.key(0), hidden=8)
    tables = writer.sample(params, 6, 2, jax.random.key(1))
    advantages = jnp.linspace(-1, 1, 6)

    @jax.jit
    def gradients(params):
        old = writer.choices(params, tables).log_probs
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
