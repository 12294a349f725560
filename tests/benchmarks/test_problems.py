"""Operations and bytes that benchmarks divide by, against hand counts."""

import jax
import jax.numpy as jnp
import optax
import pytest

from benchmarks.memory import must_hold, num_bytes
from benchmarks.problems import PROBLEMS, product_flops, step_flops
from benchmarks.yardsticks import RATE, bare_scan, torch_python
from ganno_jax.inner import Training, directions
from ganno_jax.tasks.distributions import Constant


def test_a_product_has_two_operations_per_inner_element():
    x, y = jnp.zeros((3, 5)), jnp.zeros((5, 7))
    assert product_flops(jnp.matmul, x, y) == 2 * 3 * 5 * 7
    assert product_flops(jax.jit(lambda x, y: (x @ y).sum()), x, y) == 2 * 3 * 5 * 7


def test_loops_cannot_be_counted():
    with pytest.raises(ValueError, match="scan"):
        product_flops(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, 2), jnp.eye(2))


def test_a_step_of_the_digits_mlp():
    # Forward and weight gradients of both layers, the input's gradient of the second only.
    first, second = 2 * 64 * 64 * 32, 2 * 64 * 32 * 10
    assert step_flops(PROBLEMS["digits"]) == 2 * first + 3 * second


def test_a_step_of_the_cnn():
    first = 2 * 64 * 28**2 * 9 * 16
    second = 2 * 64 * 14**2 * 9 * 16 * 32
    dense = 2 * 64 * 7**2 * 32 * 10
    assert step_flops(PROBLEMS["cnn"]) == 2 * first + 3 * second + 3 * dense


def test_memory_holds_every_training_and_the_activations_of_a_chunk():
    training = PROBLEMS["digits"].env().training
    params = 4 * (64 * 32 + 32 + 32 * 10 + 10)
    one = must_hold(training, 1, 1)
    assert must_hold(training, 11, 1) - one == 10 * 2 * params  # momentum doubles them
    activations = must_hold(training, 1, 2) - one
    assert activations >= 4 * 64 * (64 + 32 + 10)  # inputs, hidden units, logits
    assert activations < 4 * 64 * (64 + 32 + 10) * 3
    assert num_bytes({"x": jnp.zeros((3, 2)), "n": jnp.int32(1)}) == 28


@pytest.mark.slow
def test_the_bare_scan_takes_the_steps_of_the_training():
    family = PROBLEMS["digits"].smaller(batch=8).env().training.family
    training = Training.create(family, directions.named("momentum", Constant(RATE)), 8)
    state = training.init(jax.random.key(0))
    (params, _, _), losses = jax.jit(bare_scan(training, 3))(state)
    rates = jnp.full((3, training.num_layers), RATE)
    after, summary = jax.jit(training.window, static_argnums=2)(state, rates, 1)
    gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), params, after.params)
    assert optax.tree.norm(gaps) < 1e-5
    assert jnp.allclose(losses.mean(), summary.loss, rtol=1e-5)


def test_a_python_without_torch_is_an_error(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(ValueError, match="cannot import torch"):
        torch_python(str(fake))
