"""Candidates act in the members of an update, all inside one scan."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from ganno_jax.env.environment import Env, EnvState
from ganno_jax.env.features import FEATURES
from ganno_jax.env.mapping import Mapping, advance_trainings
from ganno_jax.policies.agents import AgentPolicy
from ganno_jax.policies.normalizer import deviation_sums


@struct.dataclass
class Unroll:
    """The trainings of one env between two updates. Rows are pairs, each first with +, then with -, and members."""

    env: EnvState
    memory: Float[Array, "row layer hidden"]
    alive: Bool[Array, " row"]
    perturbation: Any  # of the weights, over the episode so far: [pair, ...]


def unroll(
    env: Env,
    policy: AgentPolicy,
    candidates: Any,
    num_members: int,
    mapping: Mapping,
    begin: Unroll,
    num_decisions: int,
) -> tuple[Unroll, Float[Array, "candidate member"], tuple[Array, ...]]:
    """Let every candidate act in its trainings.

    Args:
      env: the env of one training.
      policy: the agents; their weights are not read.
      candidates: weights, `[candidate, ...]`.
      num_members: trainings of each candidate.
      mapping: over trainings.
      begin: where the trainings stand.
      num_decisions: length of the rollout.

    Returns:
      Where they stand after it, the returns of the rollout, and `deviation_sums` of the features that were seen.
    """
    unused = jax.random.key(0)  # greedy

    def act(params: Any, memory: Array, observation: Any):
        return policy.replace(params=params).act(memory, observation, unused)

    by_candidate = partial(jax.tree.map, lambda x: x.reshape(-1, num_members, *x.shape[1:]))
    by_row = partial(jax.tree.map, lambda x: x.reshape(-1, *x.shape[2:]))

    def decide(carry: Any, _: None):
        u, returns, sums = carry
        observation = u.env.observation
        acting = jax.vmap(jax.vmap(act, (None, 0, 0)))
        memory, rates = by_row(acting(candidates, *by_candidate((u.memory, observation))))
        state, timestep = advance_trainings(env.step, mapping, u.env, rates)
        counts = (u.alive[:, None] & observation.mask).astype(jnp.float32)
        seen = deviation_sums(observation.features, policy.normalizer.mean, counts)
        returns += u.alive * jnp.mean(timestep.reward, axis=-1)
        after = u.replace(env=state, memory=memory, alive=u.alive & ~timestep.terminated)
        return (after, returns, jax.tree.map(jnp.add, sums, seen)), None

    zeros = deviation_sums(
        jnp.zeros((1, len(FEATURES))), policy.normalizer.mean, jnp.zeros(1)
    )  # all zero
    start = (begin, jnp.zeros(begin.alive.shape), zeros)
    (end, returns, sums), _ = jax.lax.scan(decide, start, length=num_decisions)
    return end, returns.reshape(-1, num_members), sums
