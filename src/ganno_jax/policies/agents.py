"""A trained (or untrained) team of agents as a policy."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.observation import Observation
from ganno_jax.policies.distributions import Distribution, categorical, gaussian
from ganno_jax.policies.networks import Actor, empty_memory
from ganno_jax.policies.normalizer import Normalizer


@struct.dataclass
class AgentPolicy:
    """One network shared by the agents of all layers."""

    actor: Actor = struct.field(pytree_node=False)
    params: Any
    normalizer: Normalizer
    feature_mask: Float[
        Array, " feature"
    ]  # 0 hides a feature from the agents (ablations), 1 shows it
    actions: ActionSpace
    greedy: bool = struct.field(pytree_node=False, default=True)

    def init(self, observation: Observation) -> Float[Array, "layer hidden"]:
        """Empty memories."""
        return empty_memory(self.actor, observation.rates.shape[0])

    def prepare(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
        """What the networks read: normalized features, hidden ones zero."""
        return self.normalizer(features) * self.feature_mask

    def distribution(
        self, state: Float[Array, "layer hidden"], observation: Observation
    ) -> tuple[Float[Array, "layer hidden"], Distribution]:
        """New memories and the distribution of the agents' actions."""
        state, outputs = self.actor.apply(self.params, state, self.prepare(observation.features))
        return state, to_distribution(outputs)

    def act(
        self, state: Float[Array, "layer hidden"], observation: Observation, key: PRNGKeyArray
    ) -> tuple[Float[Array, "layer hidden"], Float[Array, " layer"]]:
        """Learning rates for the coming env step; the most likely action if `greedy`, else a sample."""
        state, distribution = self.distribution(state, observation)
        action = distribution.mode() if self.greedy else distribution.sample(seed=key)
        return state, self.actions.apply(observation, action)


@struct.dataclass
class RandomPolicy:
    """Agents that act at random: uniform over action numbers, or standard normal."""

    actions: ActionSpace

    def init(self, observation: Observation) -> tuple[()]:
        """No memory."""
        del observation
        return ()

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Float[Array, " layer"]]:
        """Random actions, independent for each layer."""
        shape = observation.rates.shape
        if self.actions.num_actions is None:
            action = jax.random.normal(key, shape)
        else:
            action = jax.random.randint(key, shape, 0, self.actions.num_actions)
        return state, self.actions.apply(observation, action)


def to_distribution(outputs: tuple[Array, Array | None]) -> Distribution:
    """The actor's outputs as a distribution over actions."""
    first, log_std = outputs
    return categorical(first) if log_std is None else gaussian(first, log_std)


def untrained(policy: AgentPolicy, key: PRNGKeyArray) -> AgentPolicy:
    """The same agents with freshly initialized networks; the normalizer is kept."""
    num_features = policy.feature_mask.shape[0]
    params = init_actor(policy.actor, num_features, key)
    return policy.replace(params=params)


def init_actor(actor: Actor, num_features: int, key: PRNGKeyArray) -> Any:
    """Initial parameters of an actor."""
    return actor.init(key, empty_memory(actor, 1), jnp.zeros((1, num_features)))
