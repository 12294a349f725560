"""Interpreted and compiled rules against Optax and against NumPy, term by term."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax.rules as rules
from ganno_jax.rules import MAX_STEPS, OPERANDS, RULES, SEARCH_FINDINGS, RuleConfig, interpreter
from ganno_jax.rules.functions import draw_normal, draw_uniform
from ganno_jax.rules.language import row_sizes

TOTAL_STEPS = 10
NUM_WEIGHTS = 6


@pytest.fixture(scope="module")
def path():
    """Gradients of five steps and the weights that they were taken at."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(5, NUM_WEIGHTS)).astype(np.float32)
    return gradients, rng.normal(size=NUM_WEIGHTS).astype(np.float32)


@jax.jit
def followed(tables, gradients, weights, config):
    """Directions of many rules along a path, by the interpreter, one rule after another."""

    def one(table):
        def body(state, g):
            return interpreter.step(table, state, g, weights, TOTAL_STEPS, config)

        return jax.lax.scan(body, interpreter.init(weights, 3), gradients)[1]

    return jax.lax.map(one, tables)


def interpreted(texts, path, config=None):
    tables = np.zeros((40, MAX_STEPS, 5), np.int32)  # one size, one compilation
    tables[: len(texts)] = [rules.parse(text, num_steps=MAX_STEPS) for text in texts]
    config = RuleConfig() if config is None else config
    return np.asarray(followed(tables, *path, config))[: len(texts)]


def along(transformation, path):
    """Directions of an Optax transformation along a path."""
    gradients, weights = path
    state, directions = transformation.init(jnp.asarray(weights)), []
    for g in gradients:
        direction, state = transformation.update(jnp.asarray(g), state, jnp.asarray(weights))
        directions.append(direction)
    return np.stack(directions)


def averages(gradients, decay, power, debias=True):
    average, out = np.zeros(gradients.shape[1]), []
    for t, g in enumerate(gradients.astype(np.float64), start=1):
        average = decay * average + (1 - decay) * g**power
        out.append(average / (1 - decay**t) if debias else average)
    return np.stack(out)


TWINS = {
    "g": optax.identity(),
    "m": optax.ema(0.9, debias=True),
    "sign(g)": optax.scale_by_sign(),
    "sign(m)": optax.chain(optax.trace(0.9), optax.scale_by_sign()),
    "rmsprop": optax.scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True),
    "adam": optax.scale_by_adam(),
    "m / sqrt(v)": optax.scale_by_adam(),
}


def test_classic_rules_equal_their_optax_twins(path):
    ours = interpreted(TWINS, path)
    for text, direction in zip(TWINS, ours, strict=True):
        twin = along(TWINS[text], path)
        np.testing.assert_allclose(direction, twin, rtol=1e-5, atol=1e-7, err_msg=text)
        compiled = along(rules.compile(text), path)
        np.testing.assert_allclose(compiled, twin, rtol=1e-5, atol=1e-7, err_msg=text)


def test_other_decays_give_the_other_optax_defaults(path):
    plain = RuleConfig(decay_v=0.9, debias=False)
    rmsprop = along(optax.scale_by_rms(0.9, eps=1e-8, eps_in_sqrt=False), path)
    np.testing.assert_allclose(along(rules.compile("rmsprop", config=plain), path), rmsprop, 1e-5)
    heavy_ball = 0.1 * along(optax.trace(0.9), path)
    np.testing.assert_allclose(along(rules.compile("m", config=plain), path), heavy_ball, 1e-5)
    np.testing.assert_allclose(interpreted(["m"], path, plain)[0], heavy_ball, 1e-5)


def test_optimizers_descend_like_their_optax_twins(path):
    for name, twin in {"sgd": optax.sgd(0.1), "adam": optax.adam(0.1)}.items():
        ours = along(rules.optimizer(name, 0.1), path)
        # float32 leaves 1 - 0.999 ** t with an error of 5e-5.
        np.testing.assert_allclose(ours, along(twin, path), rtol=5e-5, err_msg=name)
    schedule = optax.linear_schedule(0.1, 0.0, 5)
    ours = along(rules.optimizer("sgd", schedule), path)
    np.testing.assert_allclose(ours, along(optax.sgd(schedule), path), rtol=1e-6)


def test_every_operand_has_its_value(path):
    gradients, weights = path
    g, t = gradients.astype(np.float64), np.arange(5)[:, None]
    m, v, gamma = (
        averages(gradients, decay, power) for decay, power in ((0.9, 1), (0.999, 2), (0.999, 3))
    )
    normal = np.stack([draw_normal(jnp.uint32(3), jnp.int32(k), NUM_WEIGHTS) for k in range(5)])
    expected = {
        "g": g,
        "g^2": g**2,
        "g^3": g**3,
        "m": m,
        "v": v,
        "gamma": gamma,
        "sign(g)": np.sign(g),
        "sign(m)": np.sign(m),
        "1": 1.0,
        "2": 2.0,
        "noise": 0.01 * normal,
        "annealed_noise": normal / (1.0 + t) ** 0.275,
        **{f"1e-{k} w": 10.0**-k * weights for k in range(1, 7)},
        "adam": m / (np.sqrt(v) + 1e-8),
        "rmsprop": g / (np.sqrt(v) + 1e-8),
        "ld": 1 - t / 10,
        "cd": 0.5 * (1 + np.cos(np.pi * t / 10)),
        "rd": 0.5 * (1 + np.cos(np.pi * (2 * t % 10) / 10)),  # two periods
    }
    assert set(expected) == set(OPERANDS)
    ours = interpreted(expected, path)
    for name, direction in zip(expected, ours, strict=True):
        wanted = np.broadcast_to(expected[name], direction.shape)
        np.testing.assert_allclose(direction, wanted, rtol=2e-5, atol=1e-7, err_msg=name)


def test_every_unary_and_binary_function_has_its_value(path):
    g = path[0].astype(np.float64)
    m = averages(path[0], 0.9, 1)
    uniform = np.stack([draw_uniform(jnp.uint32(3), jnp.int32(k), NUM_WEIGHTS) for k in range(5)])
    expected = {
        "-g": -g,
        "exp(g)": np.exp(g),
        "log(g)": np.log(np.abs(g)),
        "sqrt(g)": np.sqrt(np.abs(g)),
        "clip(g, 1e-5)": np.clip(g, -1e-5, 1e-5),
        "clip(g, 1e-4)": np.clip(g, -1e-4, 1e-4),
        "clip(g, 1e-3)": np.clip(g, -1e-3, 1e-3),
        "drop(g, 0.1)": g / 0.9 * (uniform >= 0.1),
        "drop(g, 0.3)": g / 0.7 * (uniform >= 0.3),
        "drop(g, 0.5)": g / 0.5 * (uniform >= 0.5),
        "sign(g + 1)": np.sign(g + 1),
        "g + m": g + m,
        "g - m": g - m,
        "g * m": g * m,
        "g / m": g / (m + 1e-8),
        "sqrt(g)^m": np.sqrt(np.abs(g)) ** m,
    }
    ours = interpreted(expected, path)
    for text, direction in zip(expected, ours, strict=True):
        np.testing.assert_allclose(direction, expected[text], rtol=1e-4, atol=1e-6, err_msg=text)


def test_the_nine_rules_of_the_search_have_their_values(path):
    g, w = path[0].astype(np.float64), path[1]
    m, v = averages(path[0], 0.9, 1), averages(path[0], 0.999, 2)
    uniform = np.stack([draw_uniform(jnp.uint32(3), jnp.int32(k), NUM_WEIGHTS) for k in range(5)])
    dropped, agreement = m / 0.7 * (uniform >= 0.3), np.sign(g) * np.sign(m)
    expected = (
        g * np.exp(agreement),
        (np.exp(agreement) + np.clip(g, -1e-4, 1e-4)) * g,
        np.clip(m, -1e-4, 1e-4) * np.exp(v),
        m * np.exp(v),
        g + dropped,
        g - np.clip(g**2, -1e-4, 1e-4),
        np.exp(g) - np.exp(m),
        dropped * np.exp(1e-3 * w),
        m / (np.sqrt(v) + 1e-8) * np.exp(m),
    )
    ours = interpreted(SEARCH_FINDINGS, path)
    for text, direction, wanted in zip(SEARCH_FINDINGS, ours, expected, strict=True):
        np.testing.assert_allclose(direction, wanted, rtol=2e-5, atol=1e-6, err_msg=text)


def test_rows_join_the_bank_in_order_up_to_four_steps(path):
    text = "((g + m) * g - (g + m)) / exp(g + m)"
    g, m = path[0].astype(np.float64), averages(path[0], 0.9, 1)
    table = rules.parse(text)
    assert table.shape == (4, 5)
    wanted = ((g + m) * g - (g + m)) / (np.exp(g + m) + 1e-8)
    np.testing.assert_allclose(interpreted([text], path)[0], wanted, rtol=1e-4, atol=1e-5)


def test_compiled_and_interpreted_rules_agree(path):
    texts = [*RULES.values(), *SEARCH_FINDINGS, "noise + annealed_noise * drop(g, 0.5)"]
    rng = np.random.default_rng(5)
    tight = len(texts)
    texts += [rules.to_text(rng.integers(0, row_sizes(3))) for _ in range(12)]
    for index, (text, direction) in enumerate(zip(texts, interpreted(texts, path), strict=True)):
        compiled = along(rules.compile(text, total_steps=TOTAL_STEPS, seed=3), path)
        # Random rules, such as powers of logarithms, magnify the rounding of 1 - 0.999 ** t.
        rtol = 1e-4 if index < tight else 5e-3
        np.testing.assert_allclose(compiled, direction, rtol=rtol, atol=1e-6, err_msg=text)


def test_a_loop_over_rules_equals_a_batch_of_rules(path):
    gradients, weights = path
    tables = jnp.stack([rules.parse(text, num_steps=3) for text in SEARCH_FINDINGS])

    def first_direction(table):
        state = interpreter.init(jnp.asarray(weights), 3)
        return interpreter.step(table, state, jnp.asarray(gradients[0]), weights, TOTAL_STEPS)[1]

    looped = jax.jit(partial(jax.lax.map, first_direction))(tables)
    batched = jax.jit(jax.vmap(first_direction))(tables)
    np.testing.assert_allclose(looped, batched, rtol=1e-6, atol=1e-6)


def test_interpreted_rules_work_on_trees_of_weights():
    params = {"a": jnp.arange(1.0, 7.0).reshape(2, 3), "b": jnp.ones(2)}
    grads = jax.tree.map(jnp.cos, params)
    interpret = rules.interpret(
        rules.parse("drop(m, 0.3) * exp(1e-3 w)"), total_steps=TOTAL_STEPS, seed=1
    )
    compiled = rules.compile("drop(m, 0.3) * exp(1e-3 w)", seed=1)
    ours, _ = jax.jit(interpret.update)(grads, interpret.init(params), params)
    theirs, _ = compiled.update(grads, compiled.init(params), params)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    with pytest.raises(ValueError, match="needs `params`"):
        interpret.update(grads, interpret.init(params))


def test_draws_depend_on_seed_and_step_only(path):
    one = along(rules.compile("noise", seed=1), path)
    np.testing.assert_array_equal(one, along(rules.compile("noise", seed=1), path))
    assert not np.array_equal(one, along(rules.compile("noise", seed=2), path))
    assert len(np.unique(one)) == one.size
    kept = along(
        rules.compile("drop(g, 0.5)", seed=1), (np.ones((40, 50), np.float32), np.ones(50))
    )
    np.testing.assert_allclose(kept.mean(), 1.0, atol=0.1)  # 2000 draws: 0.1 is over 4 deviations


def test_a_compiled_rule_does_and_keeps_only_what_it_names():
    params = jnp.ones(4)

    def primitives(text):
        rule = rules.compile(text)
        jaxpr = jax.make_jaxpr(lambda g, s: rule.update(g, s, params)[0])(params, rule.init(params))
        return {equation.primitive.name for equation in jaxpr.eqns}, rule.init(params)

    names, state = primitives("g")
    assert not names & {"exp", "log", "sqrt", "pow", "mul", "cond", "select_n", "random_bits"}
    assert state.m is state.v is state.gamma is None
    names, state = primitives("g * exp(sign(g) * sign(m))")
    assert "exp" in names
    assert not names & {"log", "sqrt", "cond", "select_n", "random_bits"}
    assert state.m is not None
    assert state.v is state.gamma is None


def test_a_rule_that_lacks_an_input_says_so():
    with pytest.raises(ValueError, match="'ld' decays, so it needs `total_steps`; got None"):
        rules.compile("ld")
    rule = rules.compile("1e-3 w")
    with pytest.raises(ValueError, match="scales the weights: `params` is needed"):
        rule.update(jnp.ones(2), rule.init(jnp.ones(2)))
    with pytest.raises(ValueError, match="no rule 'sdg'; named rules are: sgd"):
        rules.compile("sdg")
