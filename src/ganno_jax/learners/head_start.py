r"""A head start: agents fitted to trainings under constant actions, before they learn by trial and error.

A training that is run at several constant actions shows its return as a function of the action, $\hat R_i(a)$, linear
between them. Agents with mean action $\mu(x)$ are fitted to all of them by gradient ascent on

$$-\frac{1}{\sum_j w_j} \sum_j w_j\, \rho_{i_j}(\mu(x_j)), \quad w_j = \exp(-\rho_{i_j}(a_j) / \tau), \quad
\rho_i(a) = \log(1 + \max_{a'} \hat R_i(a') - \hat R_i(a))$$

where $x_j$ are the features that an agent saw in training $i_j$ while all agents took the action $a_j$, and $\rho$ is
the regret, whose logarithm keeps trainings that a wrong action ruins from drowning out the others; outside of the
actions that were run it is that of the nearest one and the squared distance to it. There is no
noise to explore with and no credit to assign, so it takes few trainings to learn what one number for all decisions and
layers can give (docs/notes/ablations.md). What changes over time and between layers is left to `MAPPO`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.environment import Env
from ganno_jax.env.mapping import Mapping, map_trainings
from ganno_jax.env.mesh import AXIS, padded_rows
from ganno_jax.learners.mappo import MAPPO, LearnerState
from ganno_jax.policies.networks import empty_memory
from ganno_jax.policies.normalizer import deviation_sums

TEMPERATURE = 0.3
"""$\\tau$, in units of the return."""
WEIGHT_DECAY = 1e-3
"""Of the fit, decoupled, per unit of its learning rate."""


@struct.dataclass
class Sweep:
    """Trainings of one env, each at every constant action. Arrays on the host."""

    features: Float[np.ndarray, "training action time layer feature"]
    alive: Float[np.ndarray, "training action time"]  # 1 until the training has ended, then 0
    returns: Float[np.ndarray, "training action"]


def sweep(
    env: Env,
    space: ActionSpace,
    actions: Sequence[float] | Float[np.ndarray, "action number"],
    keys: PRNGKeyArray,
    mesh: Mesh,
    mapping: Mapping = "auto",
) -> Sweep:
    """Run each training at each of the actions, held by all agents from its start to its end.

    Args:
      env: whose trainings they are.
      space: what an action means; one or several real numbers per agent.
      actions: numbers, for `fit` rising ones; rows of them where an agent names several.
      keys: one per training, `[training]`.
      mesh: devices of this process; the trainings are split over them.
      mapping: over trainings.
    """
    count = keys.shape[0] * len(actions)
    rows = padded_rows(count, mesh)
    trainings, chosen = rows // len(actions), np.asarray(actions, np.float32)[rows % len(actions)]
    found = jax.device_get(_sweep(env, space, keys[trainings], jnp.asarray(chosen), mesh, mapping))
    shape = keys.shape[0], len(actions)
    return jax.tree.map(lambda x: x[:count].reshape(*shape, *x.shape[1:]), found)


@partial(jax.jit, static_argnames=("mesh", "mapping"))
def _sweep(
    env: Env, space: ActionSpace, keys: PRNGKeyArray, actions: Array, mesh: Mesh, mapping: Mapping
) -> Sweep:
    def share(env: Env, space: ActionSpace, keys: PRNGKeyArray, actions: Array) -> Sweep:
        def one(key: PRNGKeyArray, action: Array) -> Sweep:
            def decide(carry: Any, _: None):
                state, alive = carry
                observation = state.observation
                rates = space.apply(
                    observation, jnp.broadcast_to(action, (env.num_layers, *action.shape))
                )
                state, timestep = env.step(state, rates)
                reward = alive * jnp.mean(timestep.reward)
                seen = observation.features, alive, reward
                return (state, alive * (1.0 - timestep.terminated)), seen

            start, _ = env.reset(key)
            _, (features, alive, rewards) = jax.lax.scan(
                decide, (start, jnp.ones(())), length=env.num_decisions
            )
            return Sweep(features, alive, jnp.sum(rewards))

        return map_trainings(one, mapping, keys, actions)

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        share, mesh=mesh, in_specs=(whole, whole, split, split), out_specs=split, check_vma=False
    )(env, space, keys, actions)


def fit(
    learner: MAPPO,
    state: LearnerState,
    sweeps: Sequence[Sweep],
    actions: Sequence[float],
    key: PRNGKeyArray,
    *,
    num_steps: int = 2000,
    batch_size: int = 4096,
    learning_rate: float = 2e-3,
) -> LearnerState:
    """Fit the agents of a learner to sweeps; the spread of their actions stays as it is.

    Args:
      learner: whose agents they are; of one real-valued action and without memory.
      state: of the learner, before its first update.
      sweeps: one per env, all with these actions.
      actions: of the sweeps.
      key: decides the minibatches.
      num_steps: of Adam, whose learning rate falls to zero over them.
      batch_size: decisions of agents in a minibatch.
      learning_rate: in the beginning.

    Returns:
      The state with other actor parameters and a feature normalizer of what the sweeps saw.

    Raises:
      ValueError: the agents have a memory or choose among several actions.
    """
    if learner.actor.recurrent or learner.actor.num_actions is not None:
        raise ValueError("only agents of one real-valued action and without memory can be fitted.")
    samples = _samples(sweeps)
    sums = jax.jit(deviation_sums)(samples["features"], state.normalizer.mean, samples["alive"])
    normalizer = state.normalizer.merged(*sums, 1e6)
    samples["features"] = normalizer(samples["features"]) * learner.feature_mask
    fitted = _ascend(
        learner,
        state.params["actor"],
        samples,
        jnp.asarray(actions),
        key,
        learning_rate,
        num_steps=num_steps,
        batch_size=batch_size,
    )
    return state.replace(params=state.params | {"actor": fitted}, normalizer=normalizer)


def _samples(sweeps: Sequence[Sweep]) -> dict[str, Array]:
    """Decisions of agents side by side `[sample, ...]`, and `returns` `[training, action]` of all sweeps."""
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("features", "alive", "weight", "training", "returns")
    }
    first = 0
    for s in sweeps:
        shape = s.features.shape[:-1]
        regret = np.log1p(s.returns.max(1, keepdims=True) - s.returns)
        alive = np.broadcast_to(s.alive[..., None], shape)
        near = np.exp(-regret / TEMPERATURE)[:, :, None, None]
        numbers = first + np.arange(shape[0])[:, None, None, None]
        first += shape[0]
        parts["features"].append(s.features.reshape(-1, s.features.shape[-1]))
        parts["alive"].append(alive.ravel())
        parts["weight"].append((alive * near / shape[-1]).ravel())  # layers of deep networks less
        parts["training"].append(np.broadcast_to(numbers, shape).ravel())
        parts["returns"].append(-regret)
    return {name: jnp.asarray(np.concatenate(arrays)) for name, arrays in parts.items()}


@partial(jax.jit, static_argnames=("num_steps", "batch_size"))
def _ascend(
    learner: MAPPO,
    params: Any,
    samples: dict[str, Array],
    actions: Float[Array, " action"],
    key: PRNGKeyArray,
    learning_rate: float,
    *,
    num_steps: int,
    batch_size: int,
) -> Any:
    def loss(params: Any, rows: Array) -> Array:
        features = samples["features"][rows]
        _, (means, _) = learner.actor.apply(
            params, empty_memory(learner.actor, batch_size), features
        )
        returns = jax.vmap(jnp.interp, (0, None, 0))(
            means, actions, samples["returns"][samples["training"][rows]]
        )
        far = jnp.subtract(means, jnp.clip(means, actions[0], actions[-1]))
        weight = samples["weight"][rows]
        return jnp.sum(weight * (far**2 - returns)) / jnp.sum(weight)

    schedule = optax.linear_schedule(learning_rate, 0.0, num_steps)
    kernels = jax.tree.map(lambda w: w.ndim > 1, params)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, weight_decay=WEIGHT_DECAY, mask=kernels),
    )

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (batch_size,), 0, samples["weight"].shape[0])
        updates, state = optimizer.update(jax.grad(loss)(params, rows), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, num_steps)
    (fitted, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return fitted
