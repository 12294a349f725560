"""No step is far longer than the controller's base and its agents can ask for, whatever the gradients do."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ganno_jax
from ganno_jax.env.whole_update import REFERENCE_STEPS

STEPS = 60
WIDTHS = (8, 32, 32, 4)


def network(key):
    pairs = list(itertools.pairwise(WIDTHS))
    keys = jax.random.split(key, len(pairs))
    return {
        f"dense{i}": {"kernel": jax.random.normal(k, pair) / np.sqrt(pair[0])}
        for i, (k, pair) in enumerate(zip(keys, pairs, strict=True))
    }


def relative_steps(scale_of, controller):
    """RMS of each layer's step over that of its weights, `[step, layer]`, under gradients of noise."""
    params = network(jax.random.key(0))
    optimizer = ganno_jax.optimizer(STEPS, ganno_jax.load(controller))

    def step(carry, inputs):
        params, state = carry
        key, number = inputs
        scales = scale_of(key, number)
        gradient = {
            name: {"kernel": scales[i] * x["kernel"]}
            for i, (name, x) in enumerate(network(jax.random.fold_in(key, 1)).items())
        }
        updates, state = optimizer.update(gradient, state, params, value=1.0)
        ratios = [
            jnp.linalg.norm(u["kernel"]) / jnp.linalg.norm(params[name]["kernel"])
            for name, u in updates.items()
        ]
        return (optax.apply_updates(params, updates), state), jnp.stack(ratios)

    keys = jax.random.split(jax.random.key(1), STEPS)
    return jax.lax.scan(step, (params, optimizer.init(params)), (keys, jnp.arange(STEPS)))[1]


@pytest.mark.parametrize("controller", ["muon", "nadamw"])
@pytest.mark.parametrize(
    "scale_of",
    [
        lambda key, number: jnp.ones(3),
        lambda key, number: 10 ** jax.random.normal(key, (3,)),
        lambda key, number: jnp.where(number % 20 == 19, 1e4, 1.0) * jnp.array([1e-3, 1.0, 1e3]),
        lambda key, number: jnp.exp(-0.3 * number) * jnp.ones(3),
        lambda key, number: jnp.where(number < 30, 1e-6, 1.0) * jnp.ones(3),
    ],
    ids=["steady", "scattered", "outliers", "fading", "late"],
)
def test_steps_relative_to_weights_are_bounded_by_the_base_and_the_actions(scale_of, controller):
    largest, forgotten = {"muon": largest_of_muon, "nadamw": largest_of_nadamw}[controller]()
    ratios = np.asarray(jax.jit(lambda: relative_steps(scale_of, controller))())
    assert np.isfinite(ratios).all()
    assert (ratios > 0).any(0).all()
    # Directions of one step differ from the largest that was measured.
    assert ratios.max() < 1.5 * largest + forgotten


def largest_of_muon():
    """A step, and what is forgotten in it."""
    actions = ganno_jax.load("muon").policy.actions
    size = actions.size.relative_size * (REFERENCE_STEPS / STEPS) ** actions.size.horizon_exponent
    size *= actions.forgetting.kappa**actions.coupling  # of one pass
    forgotten = 2 * actions.forgetting.kappa * np.exp(actions.forgetting.alpha) / STEPS
    return size * np.exp(actions.size.alpha), forgotten


def largest_of_nadamw():
    """Layers share a part of their size: where directions have entries of 1, that of the most inputs is the largest."""
    actions = ganno_jax.load("nadamw").policy.actions
    ratios = np.sqrt(WIDTHS[:-1])
    share = (ratios.max() / np.exp(np.log(ratios).mean())) ** actions.sharing
    return actions.relative_size * np.exp(actions.alpha) * share, 0.0
