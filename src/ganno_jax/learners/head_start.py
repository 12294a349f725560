r"""A head start: agents fitted to trainings under constant actions, before they learn by trial and error.

In a training under constant actions agent $l$ of $L$ takes $a + k\,p_l$ throughout, where $p_l$ falls from $1/2$ at
the first layer to $-1/2$ at the last: $a$ says how large all updates are, the contrast $k$ how much larger those of
early layers. A training that is run at several pairs shows its return as a function of both, $\hat R_i(a, k)$,
bilinear between them. Agents with mean actions $\mu_l(x)$ are fitted to all of them by gradient ascent on

$$-\frac{1}{\sum_j w_j} \sum_j w_j \left[\rho_{i_j}(\bar\mu, \kappa) +
\frac{1}{L} \sum_l (\mu_l - \bar\mu - \kappa\,p_l)^2\right], \quad w_j = \exp(-\rho_{i_j}(a_j, k_j) / \tau), \quad
\rho_i(a, k) = \log(1 + \max_{a', k'} \hat R_i(a', k') - \hat R_i(a, k))$$

where decision $j$ is one of training $i_j$ while its agents took $a_j + k_j\,p_l$, $\mu_l$ the means at the features
that they saw then, $\bar\mu$ and $\kappa$ the straight line through them by least squares, and $\rho$ the regret, whose
logarithm keeps trainings that wrong actions ruin from drowning out the others. Outside of the pairs that were run
$\rho$ is that of the nearest one and the squared distance to it. There is no noise to explore with and
no credit to assign, so it takes few trainings to learn what two numbers for all decisions can give
(docs/ablations.md). What changes over time, and all other differences of layers, are left to `MAPPO`.
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
from ganno_jax.env.batching import AXIS, Mapping, map_trainings, padded_rows
from ganno_jax.env.environment import Env
from ganno_jax.learners.mappo import MAPPO
from ganno_jax.learners.state import LearnerState
from ganno_jax.policies.networks import empty_memory
from ganno_jax.policies.normalizer import deviation_sums

TEMPERATURE = 0.3  # tau, in units of the return
WEIGHT_DECAY = 1e-3


@struct.dataclass
class Sweep:
    """Trainings of one env, each at every constant action. Arrays on the host."""

    features: Float[np.ndarray, "training action contrast time layer feature"]
    alive: Float[
        np.ndarray, "training action contrast time"
    ]  # 1 until the training has ended, then 0
    returns: Float[np.ndarray, "training action contrast"]


def positions(num_layers: int) -> Float[np.ndarray, " layer"]:
    """From 1/2 at the first layer to -1/2 at the last; 0 for a single one."""
    return np.linspace(0.5, -0.5, num_layers) if num_layers > 1 else np.zeros(1)


def sweep(
    env: Env,
    space: ActionSpace,
    actions: Sequence[float],
    contrasts: Sequence[float],
    keys: PRNGKeyArray,
    mesh: Mesh,
    mapping: Mapping = "auto",
) -> Sweep:
    """Run each training at each pair of an action and a contrast, held from its start to its end.

    Args:
      env: whose trainings they are.
      space: what an action means; one real number per agent.
      actions: of the middle of the layers, rising.
      contrasts: action of the first layer minus that of the last, rising.
      keys: one per training, `[training]`.
      mesh: devices of this process; the trainings are split over them.
      mapping: over trainings.
    """
    shape = keys.shape[0], len(actions), len(contrasts)
    count = int(np.prod(shape))
    trainings, action, contrast = np.unravel_index(padded_rows(count, mesh), shape)
    where = positions(env.num_layers)
    held = np.asarray(actions)[action][:, None] + np.asarray(contrasts)[contrast][:, None] * where
    held = jnp.asarray(held, jnp.float32)
    found = jax.device_get(_sweep(env, space, keys[trainings], held, mesh, mapping))
    return jax.tree.map(lambda x: x[:count].reshape(*shape, *x.shape[1:]), found)


@partial(jax.jit, static_argnames=("mesh", "mapping"))
def _sweep(
    env: Env, space: ActionSpace, keys: PRNGKeyArray, actions: Array, mesh: Mesh, mapping: Mapping
) -> Sweep:
    def share(env: Env, space: ActionSpace, keys: PRNGKeyArray, actions: Array) -> Sweep:
        def one(key: PRNGKeyArray, actions: Array) -> Sweep:
            def decide(carry: Any, _: None):
                state, timestep, alive = carry
                observation = timestep.observation
                state, timestep = env.step(state, space.apply(observation, actions))
                reward = alive * jnp.mean(timestep.reward)
                seen = observation.features, alive, reward
                return (state, timestep, alive * (1.0 - timestep.terminated)), seen

            start = (*env.reset(key), jnp.ones(()))
            _, (features, alive, rewards) = jax.lax.scan(decide, start, length=env.num_decisions)
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
    contrasts: Sequence[float],
    key: PRNGKeyArray,
    *,
    num_steps: int = 2000,
    batch_size: int = 1024,
    learning_rate: float = 2e-3,
) -> LearnerState:
    """Fit the agents of a learner to sweeps; the spread of their actions stays as it is.

    Args:
      learner: whose agents they are; of one real-valued action and without memory.
      state: of the learner, before its first update.
      sweeps: one per env, all with these actions and contrasts.
      actions: of the sweeps.
      contrasts: of the sweeps.
      key: decides the minibatches.
      num_steps: of Adam, whose learning rate falls to zero over them.
      batch_size: decisions, of all agents of a training, in a minibatch.
      learning_rate: in the beginning.

    Returns:
      The state with other actor parameters and a feature normalizer of what the sweeps saw.

    Raises:
      ValueError: the agents have a memory or choose among several actions.
    """
    if learner.actor.recurrent or learner.actor.num_actions is not None:
        raise ValueError("only agents of one real-valued action and without memory can be fitted.")
    samples = _samples(sweeps)
    alive = samples["alive"][:, None] * samples["mask"]
    sums = jax.jit(deviation_sums)(samples["features"], state.normalizer.mean, alive)
    normalizer = state.normalizer.merged(*sums, 1e6)
    samples["features"] = normalizer(samples["features"]) * learner.feature_mask
    fitted = _ascend(
        learner,
        state.params["actor"],
        samples,
        jnp.asarray(actions),
        jnp.asarray(contrasts),
        key,
        learning_rate,
        num_steps=num_steps,
        batch_size=batch_size,
    )
    return state.replace(params=state.params | {"actor": fitted}, normalizer=normalizer)


def _samples(sweeps: Sequence[Sweep]) -> dict[str, Array]:
    """Decisions side by side `[sample, ...]`, layers padded, and `returns` `[training, action, contrast]` of all."""
    parts: dict[str, list[np.ndarray]] = {
        name: []
        for name in ("features", "mask", "position", "alive", "weight", "training", "returns")
    }
    most = max(s.features.shape[-2] for s in sweeps)
    first = 0
    for s in sweeps:
        num_layers = s.features.shape[-2]
        regret = np.log1p(s.returns.max((1, 2), keepdims=True) - s.returns)
        near = np.exp(-regret / TEMPERATURE)[..., None]
        numbers = first + np.arange(len(regret))[:, None, None, None]
        first += len(regret)
        count, padding = s.alive.size, (0, most - num_layers)
        features = s.features.reshape(count, *s.features.shape[-2:])
        parts["features"].append(np.pad(features, ((0, 0), padding, (0, 0))))
        parts["mask"].append(np.tile(np.arange(most) < num_layers, (count, 1)).astype(np.float32))
        where = np.pad(positions(num_layers), padding).astype(np.float32)
        parts["position"].append(np.tile(where, (count, 1)))
        parts["alive"].append(s.alive.ravel())
        parts["weight"].append((s.alive * near).ravel())
        parts["training"].append(np.broadcast_to(numbers, s.alive.shape).ravel())
        parts["returns"].append(-regret)
    return {name: jnp.asarray(np.concatenate(arrays)) for name, arrays in parts.items()}


def straight_line(
    means: Float[Array, "sample layer"],
    position: Float[Array, "sample layer"],
    mask: Float[Array, "sample layer"],
) -> tuple[Float[Array, " sample"], Float[Array, " sample"], Float[Array, " sample"]]:
    """Level and contrast of actions by least squares, and the mean square of what is left; padding has mask 0.

    Positions of a sample must sum to 0. A single layer has contrast 0.
    """
    count = mask.sum(-1)
    level = (mask * means).sum(-1) / count
    spread = (position**2).sum(-1)
    contrast = (position * means).sum(-1) / jnp.where(spread > 0, spread, 1.0)
    rest = mask * (means - level[:, None] - contrast[:, None] * position)
    return level, contrast, (rest**2).sum(-1) / count


@partial(jax.jit, static_argnames=("num_steps", "batch_size"))
def _ascend(
    learner: MAPPO,
    params: Any,
    samples: dict[str, Array],
    actions: Float[Array, " action"],
    contrasts: Float[Array, " contrast"],
    key: PRNGKeyArray,
    learning_rate: float,
    *,
    num_steps: int,
    batch_size: int,
) -> Any:
    def return_at(returns: Array, level: Array, contrast: Array) -> Array:
        at_level = jax.vmap(lambda column: jnp.interp(level, actions, column))(returns.T)
        far = level - jnp.clip(level, actions[0], actions[-1])
        askew = contrast - jnp.clip(contrast, contrasts[0], contrasts[-1])
        return jnp.interp(contrast, contrasts, at_level) - far**2 - askew**2

    def loss(params: Any, rows: Array) -> Array:
        batch = {name: values[rows] for name, values in samples.items() if name != "returns"}
        features = batch["features"]
        flat = features.reshape(-1, features.shape[-1])
        memory = empty_memory(learner.actor, flat.shape[0])
        _, (means, _) = learner.actor.apply(params, memory, flat)
        line = straight_line(means.reshape(features.shape[:-1]), batch["position"], batch["mask"])
        level, contrast, rest = line
        returns = jax.vmap(return_at)(samples["returns"][batch["training"]], level, contrast)
        return jnp.sum(batch["weight"] * (rest - returns)) / jnp.sum(batch["weight"])

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
