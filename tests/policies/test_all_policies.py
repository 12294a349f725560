"""Every policy keeps the same two promises: `init` and `act`, pure, under jit, vmap and scan."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import FEATURES, Observation
from ganno_jax.env.actions import DirectRate, RateMultipliers, ScheduleResidual
from ganno_jax.env.base_shapes import flat_shape, warmup_cosine_shape
from ganno_jax.env.whole_update import RelativeUpdate
from ganno_jax.policies import (
    SCHEDULES,
    AgentPolicy,
    FixedRates,
    NeutralPolicy,
    OpenLoop,
    RandomPolicy,
    ReduceOnPlateau,
    ScheduleBank,
    SchedulePolicy,
)
from ganno_jax.policies.agents import init_actor
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import empty_normalizer

from ..probes import quick_jit

NUM_LAYERS, INTERVAL, NUM_DECISIONS = 3, 4, 5
ACTIONS = {
    "multipliers": RateMultipliers(),
    "residual": ScheduleResidual(warmup_cosine_shape),
    "direct": DirectRate(),
    "relative": RelativeUpdate(flat_shape),
}


def agents(actions, recurrent: bool, greedy: bool) -> AgentPolicy:
    actor = Actor(actions.num_actions, hidden=4, recurrent=recurrent)
    num_features = len(FEATURES)
    return AgentPolicy(
        actor=actor,
        params=init_actor(actor, num_features, jax.random.key(0)),
        normalizer=empty_normalizer(num_features),
        feature_mask=jnp.ones(num_features),
        actions=actions,
        greedy=greedy,
    )


POLICIES: dict[str, Callable[[], Any]] = {
    **{f"schedule {n}": lambda f=f: SchedulePolicy(f, peak=0.3) for n, f in SCHEDULES.items()},
    "schedule from the initial rate": lambda: SchedulePolicy(SCHEDULES["cosine"]),
    "bank": lambda: ScheduleBank(jnp.asarray(2), jnp.asarray(0.3)),
    "plateau": ReduceOnPlateau,
    "fixed": lambda: FixedRates(jnp.asarray([0.1, 0.2, 0.3])),
    "open loop": lambda: OpenLoop(jnp.linspace(0.01, 1.0, 12).reshape(4, 3)),
    **{f"random {n}": lambda a=a: RandomPolicy(a) for n, a in ACTIONS.items()},
    **{f"neutral {n}": lambda a=a: NeutralPolicy(a) for n, a in ACTIONS.items()},
    **{
        f"agents {n}{' recurrent' * r}{' greedy' * g}": lambda a=a, r=r, g=g: agents(a, r, g)
        for n, a in ACTIONS.items()
        for r, g in ((True, False), (False, True))
    },
}


def observation(step):
    """At an inner step, traced."""
    return Observation(
        features=jnp.full((NUM_LAYERS, len(FEATURES)), 0.3),
        mask=jnp.ones(NUM_LAYERS, bool),
        rates=jnp.asarray([0.1, 0.2, 0.3]),
        largest_relative_steps=jnp.asarray([0.5, 1.0, 2.0]),
        initial_rate=jnp.asarray(0.1),
        loss=1.0 / (1.0 + step),
        step=step,
        total_steps=jnp.asarray(NUM_DECISIONS * INTERVAL),
        interval=INTERVAL,
    )


def follow(policy, key):
    """Rates of a whole training."""

    def decide(state, number):
        now = observation(number * INTERVAL)
        state, rates = policy.act(state, now, jax.random.fold_in(key, number))
        return state, rates

    return jax.lax.scan(
        decide, policy.init(observation(jnp.asarray(0))), jnp.arange(NUM_DECISIONS)
    )[1]


@pytest.mark.parametrize("make", [pytest.param(m, id=n) for n, m in POLICIES.items()])
def test_a_policy_sets_positive_rates_in_any_transformation(make):
    policy = make()
    keys = jax.random.split(jax.random.key(1), 2)
    together = quick_jit(jax.vmap(follow, (None, 0)))(policy, keys)
    assert together.shape[:2] == (2, NUM_DECISIONS)
    assert together.shape[2:] in ((NUM_LAYERS,), (INTERVAL, NUM_LAYERS))
    assert together.dtype == jnp.float32
    assert np.isfinite(together).all()
    # Schedules that anneal to zero may be there at the very last steps.
    assert (np.asarray(together)[:, :-1] > 0).all()
    assert (np.asarray(together) >= 0).all()
    state, rates = policy.act(
        policy.init(observation(jnp.asarray(0))),
        observation(jnp.asarray(0)),
        jax.random.fold_in(keys[0], 0),
    )
    np.testing.assert_allclose(together[0, 0], rates, rtol=1e-4, atol=1e-7)  # without jit and vmap
    before = policy.init(observation(jnp.asarray(0)))
    assert jax.tree.structure(before) == jax.tree.structure(state)
