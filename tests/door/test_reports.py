"""What is told of a network and of a training."""

import jax
import jax.numpy as jnp
import optax
import pytest

import ganno_jax
from ganno_jax.inner.directions import Direction

from .test_control import PARAMS, make_controller


def test_a_network_is_described_layer_by_layer():
    params = {
        "embed": {"embedding": jnp.ones((9, 4))},
        "blocks": {"attn": {"query": {"kernel": jnp.ones((2, 4, 2, 2)), "bias": jnp.ones((2, 4))}}},
        "head": {"kernel": jnp.ones((4, 9))},
    }
    table = ganno_jax.describe(params, stacked={"blocks": 1}).splitlines()
    assert table[0].split() == [
        "layer",
        "kind",
        "direction",
        "parameters",
        "leaves",
        "(*",
        "decayed)",
    ]
    assert [line.split() for line in table[1:]] == [
        ["embed", "embedding", "nadam", "36", "embedding*"],
        ["blocks/attn/query[0]", "attention", "muon,", "nadam", "20", "kernel*;", "bias"],
        ["blocks/attn/query[1]", "attention", "muon,", "nadam", "20", "kernel*;", "bias"],
        ["head", "dense", "muon", "36", "kernel*"],
    ]


def test_norms_and_kernels_of_any_rank_have_their_kind_and_arguments_are_those_of_control():
    params = {
        "conv1d": {"kernel": jnp.ones((3, 4, 8))},
        "conv2d": {"kernel": jnp.ones((3, 3, 8, 8)), "bias": jnp.ones(8)},
        "attention": {"value": {"kernel": jnp.ones((8, 2, 4))}},
        "final_norm": {"scale": jnp.ones(8)},
    }

    def kinds_of(**settings):
        lines = ganno_jax.describe(params, **settings).splitlines()[1:]
        return {line.split()[0]: (line.split()[1], line.count("*")) for line in lines}

    assert kinds_of() == {
        "conv1d": ("conv", 1),
        "conv2d": ("conv", 1),  # which the last norm joins
        "attention/value": ("attention", 1),
    }
    assert ganno_jax.describe({"norm": {"scale": jnp.ones(8)}}).splitlines()[1].split()[1] == "norm"
    everything = {name: count for name, (_, count) in kinds_of(decay_mask=lambda _: True).items()}
    assert everything == {"conv1d": 1, "conv2d": 3, "attention/value": 1}
    assert set(kinds_of(layers=lambda path: path[0][:4])) == {"conv", "atte", "fina"}


def directions_of(direction):
    return [line.split()[2] for line in ganno_jax.describe(PARAMS, direction=direction).split("\n")]


def test_the_direction_of_a_layer_is_that_of_what_moves_it():
    assert directions_of(ganno_jax.load("nadamw")) == ["direction", "nadamw", "nadamw"]
    assert directions_of(Direction("lion")) == ["direction", "lion", "lion"]
    assert directions_of(ganno_jax.load("broad")) == ["direction", "yours", "yours"]
    assert directions_of(optax.trace(0.9)) == ["direction", "yours", "yours"]
    table = ganno_jax.describe(PARAMS, direction=ganno_jax.load("muon"))
    assert table == ganno_jax.describe(PARAMS)  # the default
    assert "dense0  dense  muon, nadam" in table


def test_metrics_are_plain_numbers_wherever_the_state_stands():
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        ganno_jax.control(optax.trace(0.9), make_controller(), 8),
    )
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=1.0)
    numbers = ganno_jax.metrics(state)
    assert numbers["rate/dense0"] == float(optax.tree.get(state, "rates")[0])
    assert {"action/dense1", "skipped", "backoff"} <= set(numbers)
    assert {type(x) for x in numbers.values()} == {float}
    with pytest.raises(ValueError, match="it holds 0"):
        ganno_jax.metrics(optax.adam(1e-3).init(PARAMS))


def test_both_actions_of_the_default_controller_are_named():
    optimizer = ganno_jax.optimizer(8)
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=1.0)
    numbers = ganno_jax.metrics(state)
    assert {"action_rate/dense0", "action_forgetting/dense1"} <= set(numbers)
    assert numbers["action_forgetting/dense1"] == float(state.actions[1, 1])


@pytest.mark.parametrize("direction", ["muon", optax.adam, 3])
def test_what_is_no_direction_is_named(direction):
    with pytest.raises(ValueError, match=r"`direction` must be an Optax transformation, .*; got"):
        ganno_jax.describe(PARAMS, direction=direction)


def test_numbers_and_shapes_are_described_as_arrays_are():
    params = {"a": 1.0, "dense": {"kernel": jnp.ones((2, 3))}}
    table = ganno_jax.describe(params)
    assert table.splitlines()[1].split() == ["a", "vector", "nadam", "1", "a"]
    assert ganno_jax.describe(jax.eval_shape(lambda: params)) == table


def test_metrics_of_what_is_no_plain_state_are_refused_in_one_line():
    optimizer = ganno_jax.control(optax.trace(0.9), make_controller(), 8)
    with pytest.raises(ValueError, match="`metrics` must be called outside of `jit` and `vmap`"):
        jax.jit(ganno_jax.metrics)(optimizer.init(PARAMS))
    several = jax.tree.map(lambda x: jnp.stack([x, x]), PARAMS)
    states = jax.vmap(optimizer.init)(several)
    with pytest.raises(ValueError, match=r"takes the state of one training, .* axes of \(2,\)"):
        ganno_jax.metrics(states)
    one = ganno_jax.metrics(jax.tree.map(lambda x: x[0], states))
    assert one == ganno_jax.metrics(optimizer.init(PARAMS))
