"""Multi-agent PPO over the layers of many trainings: one jitted call per chunk of updates.

Yu et al. 2022, arXiv:2103.01955 (MAPPO); with `critic.kind="local"` it is independent PPO. Ratios are taken per agent
and never multiplied over agents.

All trainings are split over the devices of a mesh; a rollout needs no communication, a minibatch one gradient sum.
Which trainings form a minibatch does not depend on the number of devices.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.batching import Mapping
from ganno_jax.env.environment import Env
from ganno_jax.env.observation import FEATURES
from ganno_jax.learners.advantages import generalized_advantages, subtract_group_mean
from ganno_jax.learners.losses import approximate_kl, clipped_policy_loss, clipped_value_loss
from ganno_jax.learners.rollout import Rollout, RolloutState, collect, pad_layers, start
from ganno_jax.policies.agents import AgentPolicy, init_actor, to_distribution
from ganno_jax.policies.networks import Actor, Critic, empty_memory, unroll
from ganno_jax.policies.normalizer import Normalizer, deviation_sums

AXIS = "trainings"


@struct.dataclass
class MAPPOConfig:
    """Settings of the learner; numbers are leaves, counts are static."""

    learning_rate: float = 1e-3  # of Adam, falling linearly to zero over `num_updates`
    discount: float = 1.0
    trace_decay: float = 0.95
    clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.001
    max_gradient_norm: float = 0.5
    target_kl: float = 0.05  # no further epochs in this update once the mean KL is above this
    num_updates: int = 300
    num_envs: int = struct.field(pytree_node=False, default=128)  # per env of the tuple
    rollout_decisions: int = struct.field(pytree_node=False, default=30)
    num_epochs: int = struct.field(pytree_node=False, default=4)
    num_minibatches: int = struct.field(pytree_node=False, default=4)
    group_size: int = struct.field(pytree_node=False, default=1)  # envs that share a training


@struct.dataclass
class LearnerState:
    """Everything that changes while learning."""

    params: Any  # {"actor": ..., "critic": ...}
    optimizer_state: Any
    normalizer: Normalizer
    value_normalizer: Normalizer
    rollouts: tuple[RolloutState, ...] | None  # None where every rollout is a whole episode
    update: Int[Array, ""]
    key: PRNGKeyArray


@struct.dataclass
class Minibatch:
    """Experience with its advantages, [time, env, layer, ...]."""

    rollout: Rollout
    advantage: Float[Array, "time env layer"]
    target: Float[Array, "time env layer"]  # normalized units
    weight: Float[Array, "time env layer"]


@struct.dataclass
class MAPPO:
    """The learner: envs of one or several architectures, agents shared by all of them."""

    envs: tuple[Env, ...]
    actions: ActionSpace
    config: MAPPOConfig
    feature_mask: Float[Array, " feature"]
    actor: Actor = struct.field(pytree_node=False)
    critic: Critic = struct.field(pytree_node=False)
    mapping: Mapping = struct.field(pytree_node=False, default="vmap")

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
        mapping: Mapping = "vmap",
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
          mapping: over trainings, see `map_trainings`.

        Raises:
          ValueError: counts that do not fit each other, or an unknown name.
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
            actor=Actor(actions.num_actions, hidden, recurrent),
            critic=Critic(critic, hidden, recurrent),
            mapping=mapping,
        )

    @property
    def num_layers(self) -> int:
        """Of the deepest network."""
        return max(env.num_layers for env in self.envs)

    def init(self, key: PRNGKeyArray) -> LearnerState:
        """Fresh agents, nothing learned. Env states are made by the first update."""
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
        return LearnerState(
            params=params,
            optimizer_state=self._optimizer().init(params),
            normalizer=Normalizer.create(num_features),
            value_normalizer=Normalizer.create(1),
            rollouts=None,
            update=jnp.zeros((), jnp.int32),
            key=run_key,
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

    def update(self, state: LearnerState, mesh: Mesh) -> tuple[LearnerState, dict[str, Array]]:
        """One rollout in every env and its epochs. Jittable; `train` scans it."""
        check_divisible(self.config, mesh)
        rollouts = PartitionSpec(AXIS)
        specs = jax.tree.map(lambda _: PartitionSpec(), state.replace(rollouts=None))
        if self._continues:
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
    def _continues(self) -> bool:
        """Whether some rollout is shorter than its episode, so that env states live on."""
        return any(env.episode_decisions != self.config.rollout_decisions for env in self.envs)

    def _start(self, state: LearnerState, mesh: Mesh) -> LearnerState:
        numbers = range(len(self.envs))
        make = jax.shard_map(
            lambda learner, state: tuple(_reset(learner, state, n, mesh.size) for n in numbers),
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec()),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )
        return state.replace(rollouts=make(self, state))

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self.config.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
        )


def check_divisible(config: MAPPOConfig, mesh: Mesh) -> None:
    """Raise a `ValueError` unless the trainings divide over devices, groups and minibatches."""
    unit = mesh.size * math.lcm(config.num_minibatches, config.group_size)
    if config.num_envs % unit:
        higher = -(-config.num_envs // unit) * unit
        raise ValueError(
            f"{config.num_envs} trainings do not divide over {mesh.size} devices, "
            f"{config.num_minibatches} minibatches and groups of {config.group_size}; "
            f"the next number that does is {higher}."
        )


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All devices in one axis over trainings."""
    return jax.make_mesh(
        (len(devices or jax.devices()),),
        (AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
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
    return jax.lax.scan(
        lambda state, _: learner.update(state, mesh), state, None, length=num_updates
    )


def _update(learner: MAPPO, state: LearnerState, num_devices: int):
    """One update on one device's share of the trainings."""
    config = learner.config
    state, rollouts = _collect(learner, state, num_devices)
    batch = _join([_prepare(learner, state, rollout) for rollout in rollouts])
    batch = _normalize_advantages(batch)
    learning_rate = config.learning_rate * jnp.clip(1 - state.update / config.num_updates, 0.0, 1.0)

    epoch_keys = jax.random.split(
        jax.random.fold_in(state.key, 2 * state.update), config.num_epochs
    )
    device = jax.lax.axis_index(AXIS)

    def epoch(carry, key):
        order = _minibatch_order(learner, key, device, num_devices)

        def minibatch(carry, chosen):
            part = _over_envs(lambda x, axis: jnp.take(x, chosen, axis=axis), batch)
            return _minibatch_step(learner, state, carry, part, learning_rate)

        return jax.lax.scan(minibatch, carry, order)

    carry = (state.params, state.optimizer_state, jnp.zeros((), bool))
    (params, optimizer_state, _), learning = jax.lax.scan(epoch, carry, epoch_keys)
    state = _update_normalizers(learner, state, rollouts, batch)
    metrics = {name: jnp.mean(value) for name, value in learning.items()}
    metrics |= _experience_metrics(learner, state, rollouts)
    state = state.replace(params=params, optimizer_state=optimizer_state, update=state.update + 1)
    return state, metrics


def _collect(
    learner: MAPPO, state: LearnerState, num_devices: int
) -> tuple[LearnerState, list[Rollout]]:
    config = learner.config
    policy = learner.policy(state)
    rollouts, states = [], []
    for number, env in enumerate(learner.envs):
        begin = _begin(learner, state, number, num_devices)
        action_keys = _keys(state, 2 * number + 1, config.num_envs, 1, num_devices)
        after, rollout = collect(
            env,
            policy,
            learner.critic,
            state.params["critic"],
            learner.mapping,
            begin,
            config.rollout_decisions,
            action_keys,
        )
        states.append(after)
        rollouts.append(pad_layers(rollout, learner.num_layers))
    if learner._continues:
        state = state.replace(rollouts=tuple(states))
    return state, rollouts


def _reset(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Fresh trainings of one env; those of a group share their key."""
    config = learner.config
    keys = _keys(state, 2 * number, config.num_envs, config.group_size, num_devices)
    policy = learner.policy(state)
    return start(learner.envs[number], policy, learner.critic, learner.mapping, keys)


def _begin(learner: MAPPO, state: LearnerState, number: int, num_devices: int) -> RolloutState:
    """Episodes of a batch end together: reset it where they have, at the cost of one branch."""
    reset = partial(_reset, learner, state, number, num_devices)
    if state.rollouts is None:
        return reset()
    old = state.rollouts[number]
    done = old.env.decision[0] >= learner.envs[number].episode_decisions
    return jax.lax.cond(done, reset, lambda: old)


def _keys(
    state: LearnerState, stream: int, num_envs: int, group_size: int, num_devices: int
) -> PRNGKeyArray:
    """Keys of this device's trainings; the same for a training wherever it runs."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, 2 * state.update + 1), stream)
    local = num_envs // num_devices
    numbers = jax.lax.axis_index(AXIS) * local + jnp.arange(local)
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers // group_size)


def _prepare(learner: MAPPO, state: LearnerState, rollout: Rollout) -> Minibatch:
    """Advantages and value targets of one env's rollout."""
    config, t = learner.config, rollout.trajectory
    values = state.value_normalizer.invert(
        jnp.concatenate([t.value, rollout.last_value[None]], axis=0)
    )
    discounts = config.discount * (1.0 - t.terminated.astype(jnp.float32))
    discounts = jnp.broadcast_to(discounts[..., None], t.reward.shape)
    over_batch = jax.vmap(jax.vmap(generalized_advantages, (1, 1, 1, None), 1), (1, 1, 1, None), 1)
    advantage = over_batch(t.reward, values, discounts, config.trace_decay)
    weight = (t.alive[..., None] & t.mask).astype(jnp.float32)
    target = advantage + values[:-1]
    if config.group_size > 1:
        advantage = subtract_group_mean(advantage, weight, config.group_size)
    return Minibatch(rollout, advantage, target, weight)


def _over_envs(function: Any, *batches: Minibatch) -> Minibatch:
    """Apply `function(*leaves, axis)` to all leaves, where `axis` is that of the envs."""

    def at(axis: int, *trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: function(*leaves, axis), *trees)

    rollouts = [b.rollout for b in batches]
    rollout = Rollout(
        trajectory=at(1, *[r.trajectory for r in rollouts]),
        last_value=at(0, *[r.last_value for r in rollouts]),
        actor_memory=at(0, *[r.actor_memory for r in rollouts]),
        critic_memory=at(0, *[r.critic_memory for r in rollouts]),
    )
    rest = [(b.advantage, b.target, b.weight) for b in batches]
    return Minibatch(rollout, *at(1, *rest))


def _join(batches: list[Minibatch]) -> Minibatch:
    """The envs' experience side by side."""
    return _over_envs(lambda *parts: jnp.concatenate(parts[:-1], axis=parts[-1]), *batches)


def _normalize_advantages(batch: Minibatch) -> Minibatch:
    """Advantages to zero mean and unit variance over all devices; targets to the critic's units."""
    total = jax.lax.psum(jnp.sum(batch.weight), AXIS)
    mean = jax.lax.psum(jnp.sum(batch.advantage * batch.weight), AXIS) / jnp.maximum(total, 1.0)
    centered = batch.advantage - mean
    variance = jax.lax.psum(jnp.sum(jnp.square(centered) * batch.weight), AXIS)
    scale = jnp.sqrt(variance / jnp.maximum(total, 1.0)) + 1e-8
    return batch.replace(advantage=centered / scale)


def _minibatch_order(
    learner: MAPPO, key: PRNGKeyArray, device: Int[Array, ""], num_devices: int
) -> Int[Array, "minibatch env"]:
    """Which of this device's trainings go into which minibatch of an epoch.

    Trainings lie in lanes of `num_minibatches` neighbours; each lane gives one training to each minibatch, in an
    order of its own, so the composition is the same for any number of devices.
    """
    size = learner.config.num_minibatches
    local = learner.config.num_envs // num_devices
    lanes = local // size
    orders = []
    for number in range(len(learner.envs)):
        lane_numbers = number * (learner.config.num_envs // size) + device * lanes
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(lane_numbers + jnp.arange(lanes))
        within = jax.vmap(lambda k: jax.random.permutation(k, size))(keys)
        order = within + size * jnp.arange(lanes)[:, None] + number * local
        orders.append(order.T)
    return jnp.concatenate(orders, axis=1)


def _minibatch_step(
    learner: MAPPO,
    state: LearnerState,
    carry: tuple[Any, Any, Array],
    batch: Minibatch,
    learning_rate: Float[Array, ""],
):
    """One gradient step, skipped once the policy has moved too far from the one that acted."""
    config = learner.config
    params, optimizer_state, stopped = carry
    (_, sums), gradient = jax.value_and_grad(_loss_sums, argnums=2, has_aux=True)(
        learner, state, params, batch
    )
    gradient, sums = jax.lax.psum((gradient, sums), AXIS)
    count = jnp.maximum(sums.pop("count"), 1.0)
    gradient = jax.tree.map(lambda g: g / count, gradient)
    metrics = {name: value / count for name, value in sums.items()}
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    direction, new_optimizer_state = learner._optimizer().update(gradient, optimizer_state, params)
    new_params = jax.tree.map(lambda w, d: w - learning_rate * d, params, direction)
    stopped = stopped | (metrics["kl"] > config.target_kl)
    metrics["stopped"] = stopped.astype(jnp.float32)
    keep = partial(jax.tree.map, lambda old, new: jnp.where(stopped, old, new))
    carry = (keep(params, new_params), keep(optimizer_state, new_optimizer_state), stopped)
    return carry, metrics


def _loss_sums(
    learner: MAPPO, state: LearnerState, params: Any, batch: Minibatch
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Sum of the losses over the agents and decisions of a minibatch, with sums of metrics."""
    config, t = learner.config, batch.rollout.trajectory
    features = state.normalizer(t.features) * learner.feature_mask
    outputs = unroll(learner.actor, params["actor"], batch.rollout.actor_memory, features)
    value = unroll(learner.critic, params["critic"], batch.rollout.critic_memory, features, t.mask)
    distribution = to_distribution(outputs)
    log_ratio = jnp.where(batch.weight > 0, distribution.log_prob(t.action) - t.log_prob, 0.0)
    target = state.value_normalizer(batch.target[..., None])[..., 0]
    terms = {
        "policy_loss": clipped_policy_loss(log_ratio, batch.advantage, config.clip),
        "value_loss": clipped_value_loss(value, t.value, target, 1.0),
        "entropy": distribution.entropy() * jnp.ones_like(value),
        "kl": approximate_kl(log_ratio),
        "clipped": (jnp.abs(jnp.exp(log_ratio) - 1) > config.clip).astype(jnp.float32),
    }
    sums = {name: jnp.sum(term * batch.weight) for name, term in terms.items()}
    loss = (
        sums["policy_loss"]
        + config.value_coefficient * sums["value_loss"]
        - config.entropy_coefficient * sums["entropy"]
    )
    return loss, sums | {"count": jnp.sum(batch.weight)}


def _update_normalizers(
    learner: MAPPO, state: LearnerState, rollouts: list[Rollout], batch: Minibatch
) -> LearnerState:
    """Add this update's experience; diverged trainings and padding do not count."""
    normalizer, values = state.normalizer, state.value_normalizer
    feature_sums = [
        deviation_sums(
            r.trajectory.features,
            normalizer.mean,
            (r.trajectory.alive[..., None] & r.trajectory.mask).astype(jnp.float32),
        )
        for r in rollouts
    ]
    feature_sums = jax.tree.map(lambda *parts: sum(parts), *feature_sums)
    value_sums = deviation_sums(batch.target[..., None], values.mean, batch.weight)
    feature_sums, value_sums = jax.lax.psum((feature_sums, value_sums), AXIS)
    return state.replace(
        normalizer=normalizer.merged(*feature_sums, 1e6),
        value_normalizer=values.merged(*value_sums, 2.0 * value_sums[0]),
    )


def _experience_metrics(
    learner: MAPPO, state: LearnerState, rollouts: list[Rollout]
) -> dict[str, Float[Array, ""]]:
    """Means over trainings, reduced here so that nothing grows with the number of updates."""
    returns, lengths, diverged, count = 0.0, 0.0, 0.0, 0.0
    for rollout in rollouts:
        t = rollout.trajectory
        weight = t.alive[..., None] & t.mask
        agents = jnp.maximum(jnp.sum(t.mask[0], -1), 1)
        returns += jnp.sum(jnp.sum(t.reward * weight, (0, 2)) / agents)
        lengths += jnp.sum(t.alive)
        ended_early = t.terminated[:-1] & t.alive[:-1]
        diverged += jnp.sum(ended_early)
        count += t.alive.shape[1]
    sums = jax.lax.psum(
        {"return": returns, "episode_length": lengths, "share_diverged": diverged, "count": count},
        AXIS,
    )
    total = sums.pop("count")
    return {name: value / total for name, value in sums.items()}
