"""Multi-agent PPO over the layers of many trainings: one jitted call per chunk of updates.

Yu et al. 2022, arXiv:2103.01955 (MAPPO); with `critic.kind="local"` it is independent PPO. Ratios are taken per agent
and never multiplied over agents.

All trainings are split over the devices of a mesh; a rollout needs no communication, a minibatch one gradient sum.
Which trainings form a minibatch does not depend on the number of devices.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.batching import AXIS, Mapping, to_mesh
from ganno_jax.env.environment import Env
from ganno_jax.env.observation import FEATURES
from ganno_jax.learners.experience import (
    experience_metrics,
    gather,
    join,
    normalize_advantages,
    over_envs,
    prepare,
    reset,
    update_normalizers,
)
from ganno_jax.learners.minibatch import minibatch_order, minibatch_step
from ganno_jax.learners.state import LearnerState, MAPPOConfig, check_divisible
from ganno_jax.policies.agents import AgentPolicy, init_actor
from ganno_jax.policies.networks import Actor, Critic, empty_memory
from ganno_jax.policies.normalizer import Normalizer


@struct.dataclass
class MAPPO:
    """The learner: envs of one or several architectures, agents shared by all of them."""

    envs: tuple[Env, ...]
    actions: ActionSpace
    config: MAPPOConfig
    feature_mask: Float[Array, " feature"]
    actor: Actor = struct.field(pytree_node=False)
    critic: Critic = struct.field(pytree_node=False)
    mapping: Mapping = struct.field(pytree_node=False, default="auto")

    @classmethod
    def create(
        cls,
        envs: tuple[Env, ...],
        actions: ActionSpace,
        config: MAPPOConfig | None = None,
        *,
        critic: str = "central",
        recurrent: bool = False,
        hidden: int = 64,
        hidden_features: tuple[str, ...] = (),
        initial_log_std: float = -0.7,
        mapping: Mapping = "auto",
    ) -> "MAPPO":
        """Check the settings.

        Args:
          envs: one per architecture.
          actions: the action space.
          config: settings.
          critic: "central" (MAPPO) or "local" (IPPO).
          recurrent: GRU memories instead of feed-forward networks.
          hidden: width of the networks.
          hidden_features: names in `FEATURES` that the agents must not see; `("all",)` blinds them.
          initial_log_std: of real-valued actions.
          mapping: over trainings, see `map_trainings`.

        Raises:
          ValueError: counts that do not fit each other, a number out of its range, or an unknown name.
        """
        config = config or MAPPOConfig()
        if not envs:
            raise ValueError("a learner needs at least one env.")
        if critic not in ("central", "local"):
            raise ValueError(f"no critic {critic!r}; there are: central, local")
        for name in (
            "num_envs",
            "rollout_decisions",
            "num_epochs",
            "num_minibatches",
            "group_size",
        ):
            if getattr(config, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(config, name)}.")
        for env in envs:
            if env.episode_decisions % config.rollout_decisions:
                raise ValueError(
                    f"an episode of {env.episode_decisions} decisions is not a whole number of "
                    f"rollouts of {config.rollout_decisions}."
                )
        if not (0 < config.learning_rate < math.inf and 0 < config.clip < math.inf):
            raise ValueError(
                "`learning_rate` and `clip` must be above 0 and finite; "
                f"got {config.learning_rate} and {config.clip}."
            )
        for name in ("discount", "trace_decay"):
            if not 0 <= getattr(config, name) <= 1:
                raise ValueError(f"`{name}` must be in [0, 1]; got {getattr(config, name)}.")
        if not -20 <= initial_log_std <= 5:
            raise ValueError(f"`initial_log_std` must be in [-20, 5]; got {initial_log_std}.")
        if hidden < 1:
            raise ValueError(f"`hidden` must be at least 1; got {hidden}.")
        if isinstance(hidden_features, str):
            raise ValueError(f"`hidden_features` is a tuple of names; got {hidden_features!r}.")
        if config.group_size == 1 and not config.critic_baseline:
            raise ValueError(
                "without the critic's baseline `group_size` must be at least 2; got 1."
            )
        unknown = set(hidden_features) - set(FEATURES) - {"all"}
        if unknown:
            raise ValueError(f"no feature {sorted(unknown)[0]!r}; there are: {', '.join(FEATURES)}")
        blind = "all" in hidden_features
        shown = [float(not blind and name not in hidden_features) for name in FEATURES]
        return cls(
            envs=tuple(envs),
            actions=actions,
            config=config,
            feature_mask=jnp.asarray(shown),
            actor=Actor(actions.num_actions, hidden, recurrent, initial_log_std),
            critic=Critic(critic, hidden, recurrent),
            mapping=mapping,
        )

    @property
    def num_layers(self) -> int:
        """Of the deepest network."""
        return max(env.num_layers for env in self.envs)

    def init(self, key: PRNGKeyArray, mesh: Mesh | None = None) -> LearnerState:
        """Fresh agents, nothing learned. Env states are made by the first update.

        Args:
          key: decides everything that follows.
          mesh: put the state on all of its devices, as `train` returns it; without it `train` compiles its program
            a second time for the second chunk.
        """
        actor_key, critic_key, run_key = jax.random.split(key, 3)
        num_features = len(FEATURES)
        params = {
            "actor": init_actor(self.actor, num_features, actor_key),
            "critic": self.critic.init(
                critic_key,
                empty_memory(self.critic, 1),
                jnp.zeros((1, num_features)),
                jnp.ones(1, bool),
            ),
        }
        state = LearnerState(
            params=params,
            optimizer_state=self.optimizer().init(params),
            normalizer=Normalizer.create(num_features),
            value_normalizer=Normalizer.create(1),
            rollouts=None,
            update=jnp.zeros((), jnp.int32),
            key=run_key,
        )
        if mesh is None:
            return state
        state = to_mesh(state, mesh)
        if not self.continues:
            return state
        check_divisible(self.config, mesh)
        return jax.jit(MAPPO._start, static_argnums=2)(self, state, mesh)

    def policy(self, state: LearnerState, greedy: bool = True) -> AgentPolicy:
        """The agents as they stand, as a policy."""
        return AgentPolicy(
            actor=self.actor,
            params=state.params["actor"],
            normalizer=state.normalizer,
            feature_mask=self.feature_mask,
            actions=self.actions,
            greedy=greedy,
        )

    def update(self, state: LearnerState, mesh: Mesh) -> tuple[LearnerState, dict[str, Array]]:
        """One rollout in every env and its epochs. Jittable; `train` scans it."""
        check_divisible(self.config, mesh)
        rollouts = PartitionSpec(AXIS)
        specs = jax.tree.map(lambda _: PartitionSpec(), state.replace(rollouts=None))
        if self.continues:
            if state.rollouts is None:
                state = self._start(state, mesh)
            specs = specs.replace(rollouts=rollouts)
        update = jax.shard_map(
            partial(_update, num_devices=mesh.size),
            mesh=mesh,
            in_specs=(PartitionSpec(), specs),
            out_specs=(specs, PartitionSpec()),
            check_vma=False,
        )
        return update(self, state)

    @property
    def continues(self) -> bool:
        """Whether some rollout is shorter than its episode, so that env states live on."""
        return any(env.episode_decisions != self.config.rollout_decisions for env in self.envs)

    def _start(self, state: LearnerState, mesh: Mesh) -> LearnerState:
        numbers = range(len(self.envs))
        make = jax.shard_map(
            lambda learner, state: tuple(reset(learner, state, n, mesh.size) for n in numbers),
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec()),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )
        return state.replace(rollouts=make(self, state))

    def optimizer(self) -> optax.GradientTransformation:
        """Of the agents and the critic, without its rate: clipped gradients, then Adam's direction."""
        return optax.chain(
            optax.clip_by_global_norm(self.config.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
        )


@partial(jax.jit, static_argnames=("num_updates", "mesh"), donate_argnames=("state",))
def train(
    learner: MAPPO, state: LearnerState, num_updates: int, mesh: Mesh
) -> tuple[LearnerState, dict[str, Float[Array, " update"]]]:
    """A chunk of updates in one jitted call.

    Args:
      learner: what is shared by all updates.
      state: donated; do not use it afterwards.
      num_updates: length of the chunk.
      mesh: from `make_mesh`.

    Returns:
      The new state and metrics, one value per update.
    """
    if learner.continues and state.rollouts is None:
        check_divisible(learner.config, mesh)
        state = learner._start(state, mesh)  # before the scan, whose carry keeps its structure
    return jax.lax.scan(
        lambda state, _: learner.update(state, mesh), state, None, length=num_updates
    )


def _update(learner: MAPPO, state: LearnerState, num_devices: int):
    """One update on one device's share of the trainings."""
    config = learner.config
    state, rollouts = gather(learner, state, num_devices)
    # Apart for each env: an architecture whose losses vary more must not drown out the others.
    batch = join([normalize_advantages(prepare(learner, state, r)) for r in rollouts])
    learning_rate = config.learning_rate * jnp.clip(1 - state.update / config.num_updates, 0.0, 1.0)

    epoch_keys = jax.random.split(
        jax.random.fold_in(state.key, 2 * state.update), config.num_epochs
    )
    device = jax.lax.axis_index(AXIS)

    def epoch(carry, key):
        order = minibatch_order(learner, key, device, num_devices)

        def minibatch(carry, chosen):
            part = over_envs(lambda x, axis: jnp.take(x, chosen, axis=axis), batch)
            return minibatch_step(learner, state, carry, part, learning_rate)

        return jax.lax.scan(minibatch, carry, order)

    carry = (state.params, state.optimizer_state, jnp.zeros((), bool))
    (params, optimizer_state, _), learning = jax.lax.scan(epoch, carry, epoch_keys)
    params = _quieten(params, config.noise_fall / config.num_updates)
    state = update_normalizers(learner, state, rollouts, batch)
    metrics = {name: jnp.mean(value) for name, value in learning.items()}
    metrics |= experience_metrics(learner, state, rollouts)
    state = state.replace(params=params, optimizer_state=optimizer_state, update=state.update + 1)
    return state, metrics


def _quieten(params: Any, fall: Float[Array, ""] | float) -> Any:
    """Lower the log standard deviation of the agents' actions, where they have one: what is best under noise is not
    what is best without it, so noise that was needed to learn should be gone in the end."""

    def lower(path: tuple[Any, ...], value: Array) -> Array:
        return value - fall if getattr(path[-1], "key", None) == "log_std" else value

    return jax.tree_util.tree_map_with_path(lower, params)
