"""Trained (or untrained) agents as a policy: one team, or the mean of several."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.features import FEATURES
from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import Decision
from ganno_jax.policies.distributions import Distribution, categorical, gaussian, gaussians
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

    @property
    def sets(self) -> tuple[str, ...]:
        """The hyperparameters that the agents set."""
        return self.actions.sets

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
        state, outputs = self._outputs(state, observation)
        return state, to_distribution(self.actor, outputs)

    def _outputs(
        self, state: Float[Array, "layer hidden"], observation: Observation
    ) -> tuple[Float[Array, "layer hidden"], tuple[Array, Array | None]]:
        """New memories, and what tells the distribution of the actions."""
        return self.actor.apply(self.params, state, self.prepare(observation.features))

    def act(
        self, state: Float[Array, "layer hidden"], observation: Observation, key: PRNGKeyArray
    ) -> tuple[Float[Array, "layer hidden"], Decision]:
        """Hyperparameters for the coming env step; the most likely action if `greedy`, else a sample.

        Args:
          state: memories after the last decision.
          observation: features, mask and what the actions start from.
          key: of the draw, for agents that are not `greedy`.
        """
        state, action = self.choose(state, observation, key)
        return state, self.decide(observation, action)

    def show(
        self, state: Float[Array, "layer hidden"], observation: Observation, key: PRNGKeyArray
    ) -> dict[str, Shaped[Array, " layer"]]:
        """For logs: the agents' actions at this decision.

        Args:
          state: memories after the last decision, as for `act`.
          observation: as for `act`.
          key: as for `act`.
        """
        return {"actions": self.choose(state, observation, key)[1]}

    def choose(
        self, state: Float[Array, "layer hidden"], observation: Observation, key: PRNGKeyArray
    ) -> tuple[Float[Array, "layer hidden"], Shaped[Array, "layer *number"]]:
        """New memories and the agents' actions.

        Args:
          state: memories after the last decision.
          observation: features of every layer.
          key: of the draw, for agents that are not `greedy`.

        Returns:
          New memories; action numbers `[layer]`, or real ones `[layer]` or `[layer, number]`.
        """
        if self.greedy:  # no distribution is made, so that a training loop need not import any
            state, (first, log_std) = self._outputs(state, observation)
            return state, jnp.argmax(first, axis=-1) if log_std is None else first
        state, distribution = self.distribution(state, observation)
        return state, distribution.sample(seed=key)

    def decide(self, observation: Observation, action: Shaped[Array, "layer *number"]) -> Decision:
        """What the actions mean."""
        return self.actions.apply(observation, action)


@struct.dataclass
class Ensemble:
    r"""Teams of agents that were trained apart; a layer's rate is the geometric mean of theirs.

    $\log \eta_l = \tfrac1M \sum_m \log \eta_l^{(m)}$

    What a single training of agents leaves to chance averages out (docs/notes/ablations.md).

    Attributes:
      members: given as several teams, kept as one whose arrays have a leading member axis.

    Raises:
      ValueError: there is no team, or their networks or action spaces are not of one kind.
    """

    members: AgentPolicy | Sequence[AgentPolicy]

    def __post_init__(self):
        if not isinstance(self.members, Sequence):  # JAX brings those that are together already
            return
        if not self.members:
            raise ValueError("an ensemble needs at least one member.")
        if len({jax.tree.structure(member) for member in self.members}) > 1:
            raise ValueError(
                "the members of an ensemble must have networks and action spaces of one kind."
            )
        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *self.members)
        object.__setattr__(self, "members", together)

    @property
    def num_members(self) -> int:
        """Teams of agents."""
        return self.members.feature_mask.shape[0]

    def split(self) -> list[AgentPolicy]:
        """The members, one by one."""
        return [jax.tree.map(lambda x, m=m: x[m], self.members) for m in range(self.num_members)]

    @property
    def sets(self) -> tuple[str, ...]:
        """The hyperparameters that every member sets."""
        return self.members.sets

    def init(self, observation: Observation) -> Float[Array, "member layer hidden"]:
        """Empty memories."""
        return jax.vmap(AgentPolicy.init, (0, None))(self.members, observation)

    def act(
        self,
        state: Float[Array, "member layer hidden"],
        observation: Observation,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, "member layer hidden"], Decision]:
        """Hyperparameters for the coming env step; members that sample do so independently.

        Args:
          state: memories of all members after the last decision.
          observation: the same for all members.
          key: of the draws, for members that are not `greedy`.
        """
        state, actions = self.choose(state, observation, key)
        return state, self.decide(observation, actions)

    def show(
        self,
        state: Float[Array, "member layer hidden"],
        observation: Observation,
        key: PRNGKeyArray,
    ) -> dict[str, Shaped[Array, "member layer"]]:
        """For logs: the actions of every member's agents at this decision.

        Args:
          state: memories after the last decision, as for `act`.
          observation: as for `act`.
          key: as for `act`.
        """
        return {"actions": self.choose(state, observation, key)[1]}

    def choose(
        self,
        state: Float[Array, "member layer hidden"],
        observation: Observation,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, "member layer hidden"], Shaped[Array, "member layer *number"]]:
        """New memories and the actions of every member's agents.

        Args:
          state: memories of all members after the last decision.
          observation: the same for all members.
          key: split into one per member.
        """
        keys = jax.random.split(key, self.num_members)
        choose = jax.vmap(AgentPolicy.choose, (0, 0, None, 0))
        return choose(self.members, state, observation, keys)

    def decide(
        self, observation: Observation, actions: Shaped[Array, "member layer *number"]
    ) -> Decision:
        """The geometric mean of what the actions mean."""
        decisions = jax.vmap(AgentPolicy.decide, (0, None, 0))(self.members, observation, actions)
        return jax.tree.map(lambda x: jnp.exp(jnp.mean(jnp.log(x), axis=0)), decisions)


Agents = TypeVar("Agents", AgentPolicy, Ensemble)
"""One team or several, of which a function returns as many as it was given."""


def as_one(teams: Sequence[AgentPolicy]) -> AgentPolicy | Ensemble:
    """Teams as one policy: a single team as it is, several as an `Ensemble`, with its errors."""
    return teams[0] if len(teams) == 1 else Ensemble(teams)


def to_distribution(actor: Actor, outputs: tuple[Array, Array | None]) -> Distribution:
    """The actor's outputs as a distribution over actions."""
    first, log_std = outputs
    if log_std is None:
        return categorical(first)
    return (gaussian if actor.num_numbers == 1 else gaussians)(first, log_std)


def untrained(policy: Agents, key: PRNGKeyArray) -> Agents:
    """The same agents with freshly initialized networks; the normalizer is kept."""
    if isinstance(policy, Ensemble):
        keys = jax.random.split(key, policy.num_members)
        return Ensemble(jax.vmap(untrained)(policy.members, keys))
    num_features = policy.feature_mask.shape[0]
    params = init_actor(policy.actor, num_features, key)
    return policy.replace(params=params)


def with_actions(policy: Agents, change: Callable[[Any], ActionSpace]) -> Agents:
    """The same agents with the action space that `change` makes of theirs, in every team."""
    if isinstance(policy, Ensemble):
        return Ensemble([with_actions(member, change) for member in policy.split()])
    return policy.replace(actions=change(policy.actions))


def teams_of(policy: Any) -> list[AgentPolicy]:
    """The teams of a policy of agents, one by one; none of any other policy."""
    if isinstance(policy, Ensemble):
        return policy.split()
    return [policy] if isinstance(policy, AgentPolicy) else []


def at_rest(policy: AgentPolicy | Ensemble) -> AgentPolicy | Ensemble:
    """The same agents with actions that are exactly the neutral one, 0 or the factor 1: the base that they correct."""
    if isinstance(policy, Ensemble):
        return Ensemble([at_rest(member) for member in policy.split()])
    params = jax.tree.map(jnp.zeros_like, policy.params)
    if policy.actions.num_actions is not None:
        chosen = jax.nn.one_hot(policy.actions.neutral, policy.actions.num_actions)
        params["params"]["logits"]["bias"] = chosen  # the most likely where all else is 0
    return policy.replace(params=params)


def init_actor(actor: Actor, num_features: int, key: PRNGKeyArray) -> Any:
    """Initial parameters of an actor.

    Args:
      actor: the network.
      num_features: of an observation, per layer.
      key: of the draw.
    """
    return actor.init(key, empty_memory(actor, 1), jnp.zeros((1, num_features)))


def shown_features(hidden: Sequence[str]) -> Float[Array, " feature"]:
    """The `feature_mask` of agents that must not see the features with these names; `("all",)` blinds them.

    Raises:
      ValueError: an unknown name, or one string instead of several.
    """
    if isinstance(hidden, str):
        raise ValueError(f"`hidden_features` is a tuple of names; got {hidden!r}.")
    unknown = set(hidden) - set(FEATURES) - {"all"}
    if unknown:
        raise ValueError(f"no feature {sorted(unknown)[0]!r}; there are: {', '.join(FEATURES)}")
    blind = "all" in hidden
    return jnp.asarray([float(not blind and name not in hidden) for name in FEATURES])
