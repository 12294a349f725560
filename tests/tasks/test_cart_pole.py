"""The policy gradient as a task: the mechanics, what is descended, what is reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.tasks import episode_loss, from_linen, networks, sources
from ganno_jax.tasks.networks import cart_pole

NUM_STEPS = 12


def episodes(count, seed=0):
    rng = np.random.default_rng(seed)
    starts = rng.uniform(-1, 1, (count, 4)) * [0.5, 0.5, 0.15, 0.5]
    return np.concatenate([starts, rng.random((count, NUM_STEPS))], 1).astype(np.float32)


def accelerations(state, force):
    """Of cart and pole, from the two equations of motion as a linear system."""
    _, _, angle, turning = state
    masses, moment = 1.1, 0.05  # kg; mass of the pole times half of its length
    sine, cosine = np.sin(angle), np.cos(angle)
    matrix = [[masses, moment * cosine], [cosine, 0.5 * 4 / 3]]
    return np.linalg.solve(matrix, [force + moment * turning**2 * sine, 9.8 * sine])


def test_a_push_follows_the_equations_of_motion():
    states = episodes(5)[:, :4]
    found = cart_pole.push(states, jnp.array([True, False, True, False, True]))
    for state, after, force in zip(states, found, (10, -10, 10, -10, 10), strict=True):
        acceleration, turn = accelerations(state, force)
        change = [state[1], acceleration, state[3], turn]
        np.testing.assert_allclose(after, state + 0.02 * np.array(change), rtol=1e-5, atol=1e-6)


def test_a_step_costs_the_mean_square_of_place_and_angle_and_one_after_a_fall():
    states = jnp.array([[1.2, 0, 0, 0], [0, 9, 0.1047, 9], [2.5, 0, 0, 0], [0, 0, -0.21, 0]])
    found, stands = cart_pole.cost(states)
    np.testing.assert_allclose(found, [0.125, 0.125, 1, 1], rtol=1e-3)
    np.testing.assert_array_equal(stands, [True, True, False, False])


@pytest.fixture(scope="module")
def policy():
    module = networks.build("cart_pole", features=(8,))
    return module, module.init(jax.random.key(0), episodes(1))


def played(module, variables, episode):
    """One episode by hand: states, actions, costs, steps in which the pole stands."""
    state, seen, standing = episode[:4], [], True
    for chance in episode[4:]:
        logit = module.apply(variables, state[None], method=logits)[0]
        right = bool(chance < jax.nn.sigmoid(logit))
        after = np.asarray(cart_pole.push(state[None], jnp.array([right])))[0]
        cost, stands = cart_pole.cost(after[None])
        acted, standing = standing, standing and bool(stands[0])
        seen.append((state, right, float(cost[0]) if standing else 1.0, standing, acted))
        state = after if standing else state
    return seen


def logits(module, states):
    bound = module.variables["params"]["policy"]
    hidden = jnp.tanh(states @ bound["dense0"]["kernel"] + bound["dense0"]["bias"])
    return (hidden @ bound["dense1"]["kernel"] + bound["dense1"]["bias"])[:, 0]


def test_what_is_reported_is_the_mean_cost_of_a_step_and_the_share_of_steps_that_stand(policy):
    module, variables = policy
    some = episodes(6)
    found = np.asarray(module.apply(variables, some))
    for episode, (loss, share) in zip(some, found, strict=True):
        seen = played(module, variables, episode)
        assert loss == pytest.approx(np.mean([cost for _, _, cost, _, _ in seen]), rel=1e-4)
        assert share == pytest.approx(np.mean([standing for *_, standing, _ in seen]))
    assert 0 < found[:, 1].min() < found[:, 1].max() == 1  # some fall, some do not


def test_what_is_descended_is_reinforce_with_the_mean_of_the_batch_as_baseline(policy):
    module, variables = policy
    some = episodes(6, seed=1)
    runs = [played(module, variables, episode) for episode in some]
    costs = np.array([[cost for _, _, cost, _, _ in run] for run in runs])
    to_come = np.cumsum(costs[:, ::-1], 1)[:, ::-1]
    advantages = to_come - to_come.mean(0)

    def by_hand(params):
        total = 0.0
        for run, advantage in zip(runs, advantages, strict=True):
            for (state, right, _, _, acted), gain in zip(run, advantage, strict=True):
                logit = module.apply({"params": params}, state[None], method=logits)[0]
                total += acted * gain * jax.nn.log_sigmoid(logit if right else -logit)
        return total / (len(runs) * NUM_STEPS)

    def ours(params):
        return module.apply({"params": params}, some, train=True)[:, 0].mean()

    loss, gradient = jax.value_and_grad(ours)(variables["params"])
    expected_loss, expected = jax.value_and_grad(by_hand)(variables["params"])
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-3, abs=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6), gradient, expected
    )


@pytest.mark.learning
@pytest.mark.slow
def test_the_task_learns_to_balance():
    dataset = sources.load("generated_episodes")
    assert dataset.scale is not None
    np.testing.assert_array_equal(dataset.scale, 1)  # chances stay chances
    family = from_linen(networks.build("cart_pole", features=(16,)), dataset, episode_loss)
    task = family.sample(jax.random.key(0))
    params, model_state = task.init(jax.random.key(1))
    test = dataset.gather(dataset.test, np.arange(64))

    @jax.jit
    def trained(params):
        def step(params, number):
            batch = family.train_batch(task, family.batch_indices(task, number, 16))
            gradient = jax.grad(
                lambda p: task.loss(p, model_state, batch, jax.random.key(0), True)[0].mean()
            )(params)
            size = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
            return jax.tree.map(lambda p, g: p - 0.1 * g / size, params, gradient), None

        return jax.lax.scan(step, params, jnp.arange(60))[0]

    def share(params):
        _, (_, metrics) = task.loss(params, model_state, test, jax.random.key(0), False)
        return float(metrics["accuracy"])

    assert share(params) < 0.4
    assert share(trained(params)) > 0.8
