"""One training as a multi-agent environment with JaxMARL's interface: dicts keyed by agent.

For outside learners; our own learners use `Env` itself, which resets where a batch of episodes ends and not, as here,
inside every step.

References:
  The interface: Rutherford et al. 2024, "JaxMARL", arXiv:2311.10090.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.actions import ActionSpace
from ganno_jax.env.environment import Env, EnvState
from ganno_jax.env.features import FEATURES
from ganno_jax.inner.state import select


@struct.dataclass
class Discrete:
    """The numbers 0 to n - 1."""

    n: int = struct.field(pytree_node=False)
    shape: tuple[int, ...] = struct.field(pytree_node=False, default=())
    dtype: Any = struct.field(pytree_node=False, default=jnp.int32)

    def sample(self, key: PRNGKeyArray) -> Int[Array, ""]:
        """Uniform."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: Int[Array, ""]) -> Bool[Array, ""]:
        """Whether `x` is one of the numbers."""
        return (x >= 0) & (x < self.n)


@struct.dataclass
class Box:
    """Arrays with all entries in [low, high]."""

    low: float = struct.field(pytree_node=False)
    high: float = struct.field(pytree_node=False)
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    dtype: Any = struct.field(pytree_node=False, default=jnp.float32)

    def sample(self, key: PRNGKeyArray) -> Float[Array, "..."]:
        """Uniform."""
        return jax.random.uniform(key, self.shape, self.dtype, self.low, self.high)

    def contains(self, x: Float[Array, "..."]) -> Bool[Array, ""]:
        """Whether all entries are within the bounds."""
        return jnp.all((x >= self.low) & (x <= self.high))


@struct.dataclass
class MultiAgentEnv:
    """The agents are named after the layers; each sees its own features and shares nothing.

    An episode ends for all agents at once, when the training has diverged, used up its budget or reached the env's
    `episode_decisions`. `infos` tell the first two (`terminated`) from the last (`truncated`), after which a learner
    should bootstrap.
    """

    env: Env
    actions: ActionSpace

    @property
    def name(self) -> str:
        """Of the inner problem."""
        return self.env.training.family.name

    @property
    def agents(self) -> list[str]:
        """One per layer, first to last."""
        return list(self.env.training.layers.names)

    @property
    def num_agents(self) -> int:
        """Layers of the network."""
        return self.env.num_layers

    def observation_space(self, agent: str) -> Box:
        """The features of one layer, in the order of `FEATURES`."""
        self._check(agent)
        return Box(-3.0, 3.0, (len(FEATURES),))

    def action_space(self, agent: str) -> Discrete | Box:
        """Action numbers, or one real number `[1]`; larger ones than the box holds are taken as they are."""
        self._check(agent)
        num_actions = self.actions.num_actions
        return Box(-3.0, 3.0, (1,)) if num_actions is None else Discrete(num_actions)

    @property
    def observation_spaces(self) -> dict[str, Box]:
        """Of every agent."""
        return {agent: self.observation_space(agent) for agent in self.agents}

    @property
    def action_spaces(self) -> dict[str, Discrete | Box]:
        """Of every agent."""
        return {agent: self.action_space(agent) for agent in self.agents}

    def reset(self, key: PRNGKeyArray) -> tuple[dict[str, Array], EnvState]:
        """Start a training."""
        state, _ = self.env.reset(key)
        return self.get_obs(state), state

    def step(
        self,
        key: PRNGKeyArray,
        state: EnvState,
        actions: dict[str, Array],
        reset_state: EnvState | None = None,
    ) -> tuple[dict[str, Array], EnvState, dict[str, Array], dict[str, Array], dict[str, Array]]:
        """One env step; where the episode ends, observations and state are already those of the next.

        Args:
          key: of the next training, should one begin.
          state: of the training.
          actions: one per agent.
          reset_state: the next training's, instead of a fresh one.

        Returns:
          Observations, state, rewards, dones (with "__all__") and infos.
        """
        observations, state, rewards, dones, infos = self.step_env(key, state, actions)
        if reset_state is None:
            fresh_observations, fresh = self.reset(key)
        else:
            fresh_observations, fresh = self.get_obs(reset_state), reset_state
        done = dones["__all__"]
        observations = select(done, fresh_observations, observations)
        return observations, select(done, fresh, state), rewards, dones, infos

    def step_env(
        self, key: PRNGKeyArray, state: EnvState, actions: dict[str, Array]
    ) -> tuple[dict[str, Array], EnvState, dict[str, Array], dict[str, Array], dict[str, Array]]:
        """One env step without a reset.

        Args:
          key: not used; here because of the interface.
          state: of the last step or reset.
          actions: by agent a scalar, or an array with one entry, as `action_space` says.

        Returns:
          Observations, state, rewards, dones and infos as of JaxMARL; `dones` has `__all__` too.
        """
        del key
        chosen = jnp.stack([jnp.reshape(actions[agent], ()) for agent in self.agents])
        rates = self.actions.apply(state.observation, chosen)
        state, timestep = self.env.step(state, rates)
        rewards = {agent: timestep.reward[i] for i, agent in enumerate(self.agents)}
        done = timestep.terminated | timestep.truncated
        dones = dict.fromkeys((*self.agents, "__all__"), done)
        infos = {
            "terminated": timestep.terminated,
            "truncated": timestep.truncated,
            "diverged": state.outcome.diverged,
            "train_loss": state.outcome.train_loss,
            "reward_loss": state.outcome.reward_loss,
            "reward_accuracy": state.outcome.reward_accuracy,
        }
        return self.get_obs(state), state, rewards, dones, infos

    def get_obs(self, state: EnvState) -> dict[str, Array]:
        """What every agent sees now."""
        return {agent: state.observation.features[i] for i, agent in enumerate(self.agents)}

    def get_avail_actions(self, state: EnvState) -> dict[str, Array]:
        """All actions are always allowed: ones, for action numbers only."""
        del state
        if self.actions.num_actions is None:
            raise ValueError("real-valued actions have no list of available ones.")
        return {agent: jnp.ones(self.actions.num_actions) for agent in self.agents}

    def _check(self, agent: str) -> None:
        if agent not in self.agents:
            raise ValueError(f"no agent {agent!r}; there are: {', '.join(self.agents)}")
