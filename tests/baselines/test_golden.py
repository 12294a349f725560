"""Learned optimizers against numbers recorded from their authors' code (`golden/README.md`)."""

import functools

import jax
import numpy as np
import optax
import pytest

from ganno_jax.baselines import celo_adam, shipped_weights, velo
from ganno_jax.baselines.weights import weights_from_tree

from .problem import quick_jit
from .recorded import nested, read, under


@pytest.fixture(scope="module")
def inputs():
    return read("inputs")


@pytest.fixture(scope="module")
def small():
    golden = read("velo_small")
    return golden, weights_from_tree(nested(under(golden, "theta")))


def play(make, inputs, problem, weights, weight_decay=0.0, state=None, num_steps=100):
    """Parameters and states after each of the ten recorded gradients, in one scan.

    `state` replaces the optimizer's own initial state. Runs that differ in arrays only share a
    compilation.
    """
    params = under(inputs, f"{problem}/init")
    given = (under(inputs, f"{problem}/grads"), inputs[f"{problem}/losses"])
    if state is None:
        state = make(weights, num_steps).init(params)
    return _scan(make, weights, weight_decay, num_steps, params, state, given)


@functools.partial(quick_jit, static_argnums=0)
def _scan(make, weights, weight_decay, num_steps, params, state, given):
    optimizer = make(weights, num_steps, weight_decay=weight_decay)

    def step(carry, given):
        params, state = carry
        updates, state = optimizer.update(given[0], state, params, value=given[1])
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    return jax.lax.scan(step, (params, state), given)[1]


velo_steps = functools.partial(velo, max_training_steps=None)
velo_steps_bugged_state = functools.partial(velo_steps, bugged_lstm_state=True)
velo_accumulating = functools.partial(velo, max_training_steps=60)


def assert_same_path(ours, golden, inputs, problem):
    """Largest error of a leaf over its largest step: 2e-3 at most; mistakes give 0.3."""
    for name, start in under(inputs, f"{problem}/init").items():
        theirs = np.concatenate([start[None], golden[name]]).astype(np.float64)
        largest_step = np.abs(np.diff(theirs, axis=0)).max()
        error = np.abs(np.asarray(ours[name], np.float64) - theirs[1:]).max()
        assert error <= 2e-3 * largest_step, (name, error / largest_step)


@pytest.mark.parametrize("run", ["main", "edge", "weight_decay"])
def test_celo_adam_walks_the_recorded_path(inputs, run):
    golden = read("celo_adam")
    problem = "edge" if run == "edge" else "main"
    weight_decay = 0.05 if run == "weight_decay" else 0.0
    params, state = play(celo_adam, inputs, problem, shipped_weights("celo_adam"), weight_decay)
    assert_same_path(params, under(golden, f"{run}/params"), inputs, problem)
    if run != "main":
        return
    schedule = state.schedule
    recorded = golden["main/probe/lr_mult"]  # [step, tensor]
    np.testing.assert_allclose(
        np.broadcast_to(schedule.multiplier[:, None], recorded.shape), recorded, 2e-4, 2e-4
    )
    np.testing.assert_allclose(
        np.broadcast_to(schedule.hidden, golden["main/probe/lstm_hidden"].shape),
        golden["main/probe/lstm_hidden"],
        atol=1e-3,  # float32 rounding in the loss features, which the recurrence carries on
    )
    buffer = under(golden, "main/final/loss_buffer")
    np.testing.assert_allclose(schedule.loss_buffer.means[-1], buffer["means"], 1e-5)
    np.testing.assert_allclose(schedule.loss_buffer.lowest[-1], buffer["running_min"], 1e-5)
    for name, recorded in under(golden, "main/final/m").items():
        np.testing.assert_allclose(
            state.mean[name][-1], recorded[..., 0], atol=1e-5 * np.abs(recorded).max()
        )


@pytest.mark.parametrize(
    "run",
    [
        "main",
        pytest.param("edge", marks=pytest.mark.slow),
        "bugged_loss",
        pytest.param("bugged_state", marks=pytest.mark.slow),
        "weight_decay",
        pytest.param("accumulate", marks=pytest.mark.slow),
    ],
)
def test_velo_walks_the_recorded_path(inputs, small, run):
    golden, weights = small
    problem = "edge" if run == "edge" else "main"
    make = {"bugged_state": velo_steps_bugged_state, "accumulate": velo_accumulating}
    start = None
    if run == "bugged_loss":
        start = velo(weights, 100, bugged_loss_features=True).init(under(inputs, "main/init"))
    params, state = play(
        make.get(run, velo_steps),
        inputs,
        problem,
        weights,
        weight_decay=0.05 if run == "weight_decay" else 0.0,
        state=start,
    )
    assert_same_path(params, under(golden, f"{run}/params"), inputs, problem)
    if run != "main":
        return
    np.testing.assert_allclose(state.multipliers, golden["main/probe/lr_mult"], 2e-4, 2e-4)
    np.testing.assert_allclose(state.hidden, golden["main/probe/lstm_hidden"], atol=1e-3)
    for name, accumulators in state.accumulators.items():
        pairs = {
            "m": accumulators.momentum,
            "rms": accumulators.second_moment,
            "v_row": accumulators.row,
            "v_col": accumulators.column,
            "v_diag": accumulators.diagonal,
        }
        for kind, ours in pairs.items():
            recorded = golden[f"main/final/{kind}/{name}"]
            if ours is None:
                assert recorded.size == 0
            else:
                tolerance = 1e-5 * np.abs(recorded).max()
                np.testing.assert_allclose(ours[-1], recorded, atol=tolerance)


def released_size_tree():
    """Weights in the shapes of the released VeLO, from the formula behind the golden numbers."""
    golden = read("velo_small")
    sizes = {16: 256, 32: 512, 64: 1024, 128: 2048}
    tree = {}
    for j, (name, array) in enumerate(sorted(under(golden, "theta").items())):
        shape = tuple(sizes.get(length) or length for length in array.shape)
        i = np.arange(np.prod(shape), dtype=np.float64)
        fraction = (i + 1) * 0.6180339887498949 + (j + 1) * 0.4142135623730951
        fan = shape[-2] if name.rpartition("/")[2][0] == "w" else 16
        value = (2 * (fraction % 1.0) - 1) * np.sqrt(3 / fan)
        tree[name] = value.reshape(shape).astype(np.float32)
    return nested(tree)


@pytest.mark.slow
def test_velo_of_the_released_size_walks_the_recorded_path(inputs):
    golden = read("velo_full")
    weights = weights_from_tree(released_size_tree())
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == 2_320_385 - (30 * 512 + 512)
    params, state = play(velo_steps, inputs, "main", weights)
    assert_same_path(params, under(golden, "main/params"), inputs, "main")
    np.testing.assert_allclose(state.multipliers, golden["main/probe/lr_mult"], 2e-4, 2e-4)
