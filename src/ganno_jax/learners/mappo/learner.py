"""Multi-agent PPO over the layers of many trainings.

Yu et al. 2022, arXiv:2103.01955 (MAPPO); with a "local" critic it is independent PPO. Ratios are taken per agent and
never multiplied over agents.

All trainings are split over the devices of a mesh; a rollout needs no communication, a minibatch one gradient sum.
Which trainings form a minibatch does not depend on the number of devices.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.environment import Env
from ganno_jax.env.features import FEATURES
from ganno_jax.env.mapping import Mapping
from ganno_jax.env.mesh import AXIS, to_mesh
from ganno_jax.learners import carried
from ganno_jax.learners.mappo import config as settings
from ganno_jax.learners.mappo.baseline import Baseline
from ganno_jax.learners.mappo.config import MAPPOConfig
from ganno_jax.learners.mappo.epochs import (
    Learned,
    gradient_step,
    minibatch_order,
    optimizer,
    quieten,
)
from ganno_jax.learners.mappo.experience import (
    Experience,
    experience_metrics,
    join,
    judge,
    normalize_advantages,
    over_envs,
    with_features,
    with_targets,
)
from ganno_jax.learners.mappo.rollout import RolloutState, collect, pad_layers, start
from ganno_jax.learners.mappo.state import LearnerState
from ganno_jax.policies.agents import AgentPolicy, init_actor, shown_features
from ganno_jax.policies.networks import Actor, Critic, empty_memory
from ganno_jax.policies.normalizer import empty_normalizer


@struct.dataclass
class MAPPO:
    """The learner: envs of one or several architectures, agents shared by all of them.

    Made by `create`, which checks.
    """

    envs: tuple[Env, ...]
    actions: ActionSpace
    config: MAPPOConfig
    feature_mask: Float[Array, " feature"]
    actor: Actor = struct.field(pytree_node=False)
    critic: Critic | None = struct.field(pytree_node=False)  # None where it is no baseline
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
          critic: "central" (MAPPO) or "local" (IPPO), where `config.critic_baseline` asks for one.
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
        settings.check(config, envs)
        if not -20 <= initial_log_std <= 5:
            raise ValueError(f"`initial_log_std` must be in [-20, 5]; got {initial_log_std}.")
        if hidden < 1:
            raise ValueError(f"`hidden` must be at least 1; got {hidden}.")
        return cls(
            envs=tuple(envs),
            actions=actions,
            config=config,
            feature_mask=shown_features(hidden_features),
            actor=Actor(actions.num_actions, hidden, recurrent, initial_log_std, len(actions.sets)),
            critic=Critic(critic, hidden, recurrent) if config.critic_baseline else None,
            mapping=mapping,
        )

    @property
    def num_layers(self) -> int:
        """Of the deepest network."""
        return max(env.num_layers for env in self.envs)

    @property
    def continues(self) -> bool:
        """Whether some rollout is shorter than its episode, so that env states live on."""
        return carried.continues(self.envs, self.config.rollout_decisions)

    def init(self, key: PRNGKeyArray, mesh: Mesh | None = None) -> LearnerState:
        """Fresh agents, nothing learned. Env states are made by the first update.

        Args:
          key: decides everything that follows.
          mesh: put the state on all of its devices, as `train` returns it; without it `train` compiles its program
            a second time for the second chunk.
        """
        actor_key, critic_key, run_key = jax.random.split(key, 3)
        num_features = len(FEATURES)
        params = {"actor": init_actor(self.actor, num_features, actor_key)}
        if self.critic is not None:
            memory, features = empty_memory(self.critic, 1), jnp.zeros((1, num_features))
            params["critic"] = self.critic.init(critic_key, memory, features, jnp.ones(1, bool))
        init = optimizer(self.config.max_gradient_norm).init
        state = LearnerState(
            params=params,
            optimizer_state={name: init(weights) for name, weights in params.items()},
            normalizer=empty_normalizer(num_features),
            value_normalizer=None if self.critic is None else empty_normalizer(1),
            rollouts=None,
            update=jnp.zeros((), jnp.int32),
            key=run_key,
        )
        if mesh is None:
            return state
        state = to_mesh(state, mesh)
        return (
            jax.jit(MAPPO.started, static_argnums=2)(self, state, mesh) if self.continues else state
        )

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

    def baseline(self, state: LearnerState) -> Baseline:
        """The critic as it stands."""
        return Baseline(self.critic, state.params.get("critic"), state.value_normalizer)

    def started(self, state: LearnerState, mesh: Mesh) -> LearnerState:
        """The state with trainings that go on from update to update, where there are any."""
        settings.check_divisible(self.config, mesh)
        return carried.started(self, state, "rollouts", _fresh, mesh)

    def update(self, state: LearnerState, mesh: Mesh) -> tuple[LearnerState, dict[str, Array]]:
        """One rollout in every env and its epochs. Jittable; `train` repeats it."""
        state = self.started(state, mesh)
        return carried.updated(self, state, "rollouts", _update, mesh)


def _update(learner: MAPPO, state: LearnerState, num_devices: int):
    """One update on one device's share of the trainings."""
    numbers = range(len(learner.envs))
    ends, experiences = zip(*[gather(learner, state, n, num_devices) for n in numbers], strict=True)
    return learn_from(learner, state, ends, experiences, num_devices)


def gather(
    learner: MAPPO, state: LearnerState, number: int, num_devices: int
) -> tuple[RolloutState, Experience]:
    """Agents act in one env, on one device's share of its trainings, and are told what it was worth.

    Args:
      learner: with the env.
      state: of the learner.
      number: place of the env.
      num_devices: that share the trainings.

    Returns:
      The trainings as they stand at the end, and the experience. Its advantages are normalized apart for each env: an
      architecture whose losses vary more must not drown out the others.
    """
    config, baseline = learner.config, learner.baseline(state)
    end, rollout = collect(
        learner.envs[number],
        learner.policy(state),
        baseline,
        learner.mapping,
        _begin(learner, state, number, num_devices),
        config.rollout_decisions,
        _keys(state, 2 * number + 1, config.num_envs, 1, num_devices),
        config.noise_correlation,
        config.noise_shared,
    )
    rollout = pad_layers(rollout, learner.num_layers)
    return end, normalize_advantages(judge(config, baseline, rollout))


def learn_from(
    learner: MAPPO,
    state: LearnerState,
    ends: Sequence[RolloutState],
    experiences: Sequence[Experience],
    num_devices: int,
) -> tuple[LearnerState, dict[str, Array]]:
    """The state after some passes over the experience, on one device's share of it, and metrics.

    Args:
      learner: what is shared by all updates.
      state: of the learner, by which the experience was made.
      ends: trainings as they stand, by env.
      experiences: experience, by env.
      num_devices: that share the trainings.
    """
    config, policy, baseline = learner.config, learner.policy(state), learner.baseline(state)
    experience = join(experiences)

    # In minibatches, at a rate that falls to zero over the planned updates.
    learning_rate = config.learning_rate * jnp.clip(1 - state.update / config.num_updates, 0.0, 1.0)

    def epoch(learned: Learned, key: PRNGKeyArray):
        order = minibatch_order(
            key, config.num_envs, len(learner.envs), config.num_minibatches, num_devices
        )

        def minibatch(learned: Learned, chosen: Array):
            part = over_envs(lambda x, axis: jnp.take(x, chosen, axis=axis), experience)
            return gradient_step(config, policy, baseline, learned, part, learning_rate)

        return jax.lax.scan(minibatch, learned, order)

    before = Learned(state.params, state.optimizer_state, jnp.zeros((), bool))
    epoch_keys = jax.random.fold_in(state.key, 2 * state.update)
    after, steps = jax.lax.scan(epoch, before, jax.random.split(epoch_keys, config.num_epochs))

    # What the next update begins with, and what this one showed.
    values = state.value_normalizer
    new = LearnerState(
        params=quieten(after.params, config.noise_fall / config.num_updates),
        optimizer_state=after.optimizer_state,
        normalizer=with_features(state.normalizer, experience),
        value_normalizer=None if values is None else with_targets(values, experience),
        rollouts=tuple(ends) if learner.continues else None,
        update=state.update + 1,
        key=state.key,
    )
    return new, {name: jnp.mean(x) for name, x in steps.items()} | experience_metrics(experience)


def _begin(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Episodes of a batch end together: reset it where they have, at the cost of one branch."""
    fresh = partial(_fresh, learner, state, number, num_devices)
    old = None if state.rollouts is None else state.rollouts[number]
    return carried.begin(learner.envs[number], old, fresh)


def _fresh(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Fresh trainings of one env; those of a group share their key."""
    config = learner.config
    keys = _keys(state, 2 * number, config.num_envs, config.group_size, num_devices)
    policy, baseline = learner.policy(state), learner.baseline(state)
    return start(learner.envs[number], policy, baseline, learner.mapping, keys)


def _keys(
    state: LearnerState, stream: int, num_envs: int, group_size: int, num_devices: int
) -> PRNGKeyArray:
    """Keys of this device's trainings; the same for a training wherever it runs."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2 * state.update + 1), stream)
    local = num_envs // num_devices
    numbers = jax.lax.axis_index(AXIS) * local + jnp.arange(local)
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers // group_size)
