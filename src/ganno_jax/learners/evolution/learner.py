r"""Evolution strategies over the weights of agents: no gradients through trainings, no noise in actions, no critic.

An update draws $\epsilon_p \sim N(0, I)$ for each of P pairs. Agents with the weights $\theta + \sigma\epsilon_p$ and
others with $\theta - \sigma\epsilon_p$ act greedily in the same trainings, the *members* of the update (same tasks,
seeds, batches). With $f^\pm_p$ their fitness, Adam moves $\theta$ up

$$g = \frac{1}{2 P \sigma} \sum_p \xi_p\,(f^+_p - f^-_p), \quad \xi_p = \epsilon_p .$$

The fitness is the return (with `TerminalLogLoss` minus the log loss at the end, on reward examples) compared with that
of the other candidates in the same member, by rank or in standard deviations, and the mean over members: how members
differ does not drown what decisions do.

Rollouts may be shorter than the episode. Trainings then go on from update to update under new perturbations, and
$\xi_p$ is the sum of all that acted in the episode so far: persistent evolution strategies, whose gradient is that of
whole episodes and not that of the rollout. They need a reward at every rollout (`LogLossDecrease`).

References:
  Salimans et al. 2017, arXiv:1703.03864; persistent: Vicol, Metz and Sohl-Dickstein 2021, arXiv:2112.13835.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.environment import Env
from ganno_jax.env.features import FEATURES
from ganno_jax.env.mapping import Mapping, map_trainings
from ganno_jax.env.mesh import AXIS, to_mesh
from ganno_jax.learners import carried
from ganno_jax.learners.evolution.config import EvolutionConfig, check, check_divisible
from ganno_jax.learners.evolution.estimate import (
    antithetic_gradient,
    centered_ranks,
    standardized,
)
from ganno_jax.learners.evolution.rollout import Unroll, unroll
from ganno_jax.policies.agents import AgentPolicy, init_actor, shown_features
from ganno_jax.policies.networks import Actor, empty_memory
from ganno_jax.policies.normalizer import Normalizer, empty_normalizer


@struct.dataclass
class EvolutionState:
    """Everything that changes while learning."""

    params: Any
    optimizer_state: Any
    normalizer: Normalizer
    unrolls: tuple[Unroll, ...] | None  # None where every rollout is a whole episode
    update: Int[Array, ""]
    key: PRNGKeyArray


@struct.dataclass
class Evolution:
    """The learner: envs of one or several architectures, agents shared by all of them.

    Made by `create`, which checks.
    """

    envs: tuple[Env, ...]
    actions: ActionSpace
    config: EvolutionConfig
    feature_mask: Float[Array, " feature"]
    actor: Actor = struct.field(pytree_node=False)
    mapping: Mapping = struct.field(pytree_node=False, default="auto")

    @classmethod
    def create(
        cls,
        envs: tuple[Env, ...],
        actions: ActionSpace,
        config: EvolutionConfig | None = None,
        *,
        recurrent: bool = False,
        hidden: int = 64,
        hidden_features: tuple[str, ...] = (),
        mapping: Mapping = "auto",
    ) -> "Evolution":
        """Check the settings.

        Args:
          envs: one per architecture.
          actions: the action space.
          config: settings.
          recurrent: GRU memories instead of a feed-forward network.
          hidden: width of the network.
          hidden_features: names in `FEATURES` that the agents must not see; `("all",)` blinds them.
          mapping: over trainings, see `map_trainings`.

        Raises:
          ValueError: counts that do not fit each other, a number out of its range, or an unknown name.
        """
        config = config or EvolutionConfig()
        if not envs:
            raise ValueError("a learner needs at least one env.")
        check(config, envs)
        if hidden < 1:
            raise ValueError(f"`hidden` must be at least 1; got {hidden}.")
        return cls(
            envs=tuple(envs),
            actions=actions,
            config=config,
            feature_mask=shown_features(hidden_features),
            actor=Actor(actions.num_actions, hidden, recurrent),
            mapping=mapping,
        )

    @property
    def continues(self) -> bool:
        """Whether some rollout is shorter than its episode, so that env states live on."""
        return carried.continues(self.envs, self.config.rollout_decisions)

    def init(self, key: PRNGKeyArray, mesh: Mesh | None = None) -> EvolutionState:
        """Fresh agents, nothing learned; with a mesh on all of its devices, as `train` returns them."""
        actor_key, run_key = jax.random.split(key)
        params = init_actor(self.actor, len(FEATURES), actor_key)
        state = EvolutionState(
            params=params,
            optimizer_state=optax.scale_by_adam().init(params),
            normalizer=empty_normalizer(len(FEATURES)),
            unrolls=None,
            update=jnp.zeros((), jnp.int32),
            key=run_key,
        )
        if mesh is None:
            return state
        state = to_mesh(state, mesh)
        if not self.continues:
            return state
        return jax.jit(Evolution.started, static_argnums=2)(self, state, mesh)

    def policy(self, state: EvolutionState) -> AgentPolicy:
        """The agents as they stand, as a policy."""
        return AgentPolicy(
            actor=self.actor,
            params=state.params,
            normalizer=state.normalizer,
            feature_mask=self.feature_mask,
            actions=self.actions,
        )

    def started(self, state: EvolutionState, mesh: Mesh) -> EvolutionState:
        """The state with trainings that go on from update to update, where there are any."""
        check_divisible(self.config, mesh)
        return carried.started(self, state, "unrolls", _fresh, mesh)

    def update(self, state: EvolutionState, mesh: Mesh) -> tuple[EvolutionState, dict[str, Array]]:
        """All candidates in every member, and one step of Adam. Jittable; `train` repeats it."""
        state = self.started(state, mesh)
        return carried.updated(self, state, "unrolls", _update, mesh)


def _update(learner: Evolution, state: EvolutionState, num_devices: int):
    """One update on one device's share of the pairs."""
    config, policy = learner.config, learner.policy(state)
    noise = _noise(learner, state, num_devices)
    candidates = jax.tree.map(
        lambda w, e: w + config.deviation * jnp.concatenate([e, -e], axis=1).reshape(-1, *w.shape),
        state.params,
        jax.tree.map(lambda e: e[:, None], noise),
    )

    # Candidates act in the members of every env; each env has its own gradient, all count the same.
    ends, gradients, sums, seen = [], [], [], []
    for number, env in enumerate(learner.envs):
        begin = _begin(learner, state, number, num_devices)
        end, returns, features = unroll(
            env,
            policy,
            candidates,
            config.num_members,
            learner.mapping,
            begin,
            config.rollout_decisions,
        )
        perturbation = jax.tree.map(jnp.add, begin.perturbation, noise)
        fitness = jnp.mean(_fitness(returns, config.by_rank), axis=1).reshape(-1, 2)
        difference = fitness[:, 0] - fitness[:, 1]
        gradients.append(antithetic_gradient(perturbation, difference, config.deviation))
        ends.append(end.replace(perturbation=perturbation))
        seen.append(features)
        sums.append((jnp.mean(returns), jnp.mean(end.env.outcome.diverged)))
    gradient = jax.tree.map(lambda *parts: sum(parts) / len(parts), *gradients)
    gradient, means = jax.lax.pmean((gradient, sums), AXIS)
    features = jax.lax.psum(jax.tree.map(lambda *parts: sum(parts), *seen), AXIS)

    # One step up, at a rate that falls to zero over the planned updates.
    learning_rate = config.learning_rate * jnp.clip(1 - state.update / config.num_updates, 0.0, 1.0)
    direction, optimizer_state = optax.scale_by_adam().update(gradient, state.optimizer_state)
    new = EvolutionState(
        params=jax.tree.map(lambda w, d: w + learning_rate * d, state.params, direction),
        optimizer_state=optimizer_state,
        normalizer=state.normalizer.merged(*features, 1e6),
        unrolls=tuple(ends) if learner.continues else None,
        update=state.update + 1,
        key=state.key,
    )
    returned, diverged = (sum(parts) / len(parts) for parts in zip(*means, strict=True))
    metrics = {"return": returned, "share_diverged": diverged}
    return new, metrics | {"gradient_norm": optax.tree.norm(gradient)}


def _noise(learner: Evolution, state: EvolutionState, num_devices: int) -> Any:
    """Standard normal numbers in the shape of the weights for each of this device's pairs; the same wherever it is.

    The spread of sampled actions takes no part: candidates act greedily.
    """
    key = jax.random.fold_in(state.key, 2 * state.update)
    local = learner.config.num_pairs // num_devices
    numbers = jax.lax.axis_index(AXIS) * local + jnp.arange(local)

    def one(number: Int[Array, ""]) -> Any:
        leaves = jax.tree_util.tree_leaves_with_path(state.params)
        keys = jax.random.split(jax.random.fold_in(key, number), len(leaves))
        return jax.tree.unflatten(
            jax.tree.structure(state.params),
            [
                jax.random.normal(k, x.shape) * (getattr(path[-1], "key", None) != "log_std")
                for k, (path, x) in zip(keys, leaves, strict=True)
            ],
        )

    return jax.vmap(one)(numbers)


def _fitness(returns: Float[Array, "candidate member"], by_rank: bool) -> Array:
    """Of this device's candidates, among those of all devices."""
    everyone = jax.lax.all_gather(returns, AXIS, tiled=True)
    fitness = centered_ranks(everyone) if by_rank else standardized(everyone)
    first = jax.lax.axis_index(AXIS) * returns.shape[0]
    return jax.lax.dynamic_slice_in_dim(fitness, first, returns.shape[0])


def _begin(learner: Evolution, state: EvolutionState, number: int, num_devices: int) -> Unroll:
    """Episodes of a batch end together: reset it where they have, at the cost of one branch."""
    fresh = partial(_fresh, learner, state, number, num_devices)
    old = None if state.unrolls is None else state.unrolls[number]
    return carried.begin(learner.envs[number], old, fresh)


def _fresh(learner: Evolution, state: EvolutionState, number: int, num_devices: int) -> Unroll:
    """Fresh members of one env, the same ones for every candidate."""
    env, pairs = learner.envs[number], learner.config.num_pairs // num_devices
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2 * state.update + 1), number)
    keys = jax.random.split(key, learner.config.num_members)
    members, _ = map_trainings(env.reset, learner.mapping, keys)
    env_state = jax.tree.map(lambda x: jnp.tile(x, (2 * pairs, *[1] * (x.ndim - 1))), members)
    rows = 2 * pairs * learner.config.num_members
    return Unroll(
        env=env_state,
        memory=empty_memory(learner.actor, rows, env.num_layers),
        alive=jnp.ones(rows, bool),
        perturbation=jax.tree.map(lambda x: jnp.zeros((pairs, *x.shape)), state.params),
    )
