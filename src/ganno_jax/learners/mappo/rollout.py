"""Collect experience: agents act in a batch of trainings, all inside one scan."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.environment import Env, EnvState
from ganno_jax.env.mapping import Mapping, advance_trainings, map_trainings
from ganno_jax.learners.mappo.baseline import Baseline
from ganno_jax.policies.agents import AgentPolicy
from ganno_jax.policies.distributions import sample_correlated
from ganno_jax.policies.networks import empty_memory


@struct.dataclass
class Trajectory:
    """Experience of a batch of trainings."""

    features: Float[Array, "time env layer feature"]  # as observed, before the normalizer
    mask: Bool[Array, "time env layer"]  # False for padding
    action: (
        Array  # [time env layer], or [time env layer number] where an agent names several numbers
    )
    log_prob: Float[Array, "time env layer"]
    value: Float[Array, "time env layer"]  # normalized units
    reward: Float[Array, "time env layer"]
    terminated: Bool[Array, "time env"]
    diverged: Bool[Array, "time env"]  # by the end of the decision; stays true
    alive: Bool[Array, "time env"]  # the training had not ended before this decision


@struct.dataclass
class RolloutState:
    """A batch of trainings between two rollouts, with the agents' memories."""

    env: EnvState
    actor_memory: Float[Array, "env layer hidden"]
    critic_memory: Float[Array, "env layer hidden"]
    alive: Bool[Array, " env"]


@struct.dataclass
class Rollout:
    """One rollout: what happened, and what the learner needs besides."""

    trajectory: Trajectory
    last_value: Float[Array, "env layer"]  # normalized units
    actor_memory: Float[Array, "env layer hidden"]  # at the start
    critic_memory: Float[Array, "env layer hidden"]


def start(
    env: Env, policy: AgentPolicy, baseline: Baseline, mapping: Mapping, keys: PRNGKeyArray
) -> RolloutState:
    """Reset a batch of trainings, one per key.

    Args:
      env: of the trainings.
      policy: the agents, for the shape of their memories.
      baseline: the critic, likewise.
      mapping: how the trainings are batched.
      keys: one per training.
    """
    state, _ = map_trainings(env.reset, mapping, keys)
    shape = (keys.shape[0], env.num_layers)
    return RolloutState(
        env=state,
        actor_memory=empty_memory(policy.actor, *shape),
        critic_memory=baseline.init(*shape),
        alive=jnp.ones(keys.shape[0], bool),
    )


def collect(
    env: Env,
    policy: AgentPolicy,
    baseline: Baseline,
    mapping: Mapping,
    state: RolloutState,
    num_decisions: int,
    keys: PRNGKeyArray,
    noise_correlation: Float[Array, ""] | float = 0.0,
    noise_shared: Float[Array, ""] | float = 0.0,
) -> tuple[RolloutState, Rollout]:
    """Let the agents act for `num_decisions` env steps in every training.

    Args:
      env: the env of one training.
      policy: the agents; actions are sampled.
      baseline: whose values are recorded.
      mapping: over trainings.
      state: where the trainings stand.
      num_decisions: length of the rollout.
      keys: one per training.
      noise_correlation: of the noise of successive real-valued actions, [0, 1).
      noise_shared: share of its variance that all agents of a training have in common, [0, 1].
    """

    def decide(memory, observation, noise, number, key):
        memory, distribution = policy.distribution(memory, observation)
        correlation = jnp.where(number == 0, 0.0, noise_correlation)
        action, noise = sample_correlated(distribution, noise, correlation, key, noise_shared)
        decision = policy.actions.apply(observation, action)
        return memory, noise, action, distribution.log_prob(action), decision

    def evaluate(memory, observation):
        features = policy.prepare(observation.features)
        return baseline(memory, features, observation.mask)

    def one_decision(carry, number: Int[Array, ""]):
        state, noise = carry
        observation = state.env.observation
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
        actor_memory, noise, action, log_prob, decision = jax.vmap(decide, (0, 0, 0, None, 0))(
            state.actor_memory, observation, noise, number, step_keys
        )
        critic_memory, value = evaluate(state.critic_memory, observation)
        env_state, timestep = advance_trainings(env.step, mapping, state.env, decision)
        record = Trajectory(
            features=observation.features,
            mask=observation.mask,
            action=action,
            log_prob=log_prob,
            value=value,
            reward=timestep.reward,
            terminated=timestep.terminated,
            diverged=env_state.outcome.diverged,
            alive=state.alive,
        )
        state = RolloutState(
            env=env_state,
            actor_memory=actor_memory,
            critic_memory=critic_memory,
            alive=state.alive & ~timestep.terminated,
        )
        return (state, noise), record

    memories = state.actor_memory, state.critic_memory
    numbers = policy.actor.num_numbers
    shape = (keys.shape[0], env.num_layers)
    noise = jnp.zeros((*shape, numbers) if numbers > 1 else shape)
    (state, _), trajectory = jax.lax.scan(one_decision, (state, noise), jnp.arange(num_decisions))
    _, last_value = evaluate(state.critic_memory, state.env.observation)
    return state, Rollout(trajectory, last_value, *memories)


def pad_layers(rollout: Rollout, num_layers: int) -> Rollout:
    """Pad the layer axis with masked-out layers."""

    def pad(x: Array, axis: int) -> Array:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, num_layers - x.shape[axis])
        return jnp.pad(x, widths)

    t = rollout.trajectory
    trajectory = t.replace(
        **{
            name: pad(getattr(t, name), 2)
            for name in ("features", "mask", "action", "log_prob", "value", "reward")
        }
    )
    return Rollout(
        trajectory,
        pad(rollout.last_value, 1),
        pad(rollout.actor_memory, 1),
        pad(rollout.critic_memory, 1),
    )
