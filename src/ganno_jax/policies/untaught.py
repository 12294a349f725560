"""What agents are compared with: those that act at random, and the action that changes nothing."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import PRNGKeyArray

from ganno_jax.env.actions import ActionSpace, action_shape
from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import Decision


class _Untaught:
    """What policies without weights share."""

    actions: ActionSpace

    @property
    def sets(self) -> tuple[str, ...]:
        """The hyperparameters that the actions set."""
        return self.actions.sets

    def init(self, observation: Observation) -> tuple[()]:
        """No memory."""
        del observation
        return ()


@struct.dataclass
class RandomPolicy(_Untaught):
    """Agents that act at random: uniform over action numbers, or standard normal."""

    actions: ActionSpace

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Decision]:
        """Random actions, independent for each layer.

        Args:
          state: there is none.
          observation: what the actions start from.
          key: of the draw.
        """
        shape = action_shape(self.actions, observation.rates.shape[0])
        if self.actions.num_actions is None:
            action = jax.random.normal(key, shape)
        else:
            action = jax.random.randint(key, shape, 0, self.actions.num_actions)
        return state, self.actions.apply(observation, action)


@struct.dataclass
class NeutralPolicy(_Untaught):
    """What agents stand on, without them: the action that changes nothing, in every layer at every decision."""

    actions: ActionSpace

    def act(
        self, state: tuple[()], observation: Observation, key: PRNGKeyArray
    ) -> tuple[tuple[()], Decision]:
        """The hyperparameters of the base.

        Args:
          state: there is none.
          observation: what the actions start from.
          key: not used.
        """
        del key
        shape = action_shape(self.actions, observation.rates.shape[0])
        return state, self.actions.apply(observation, jnp.full(shape, self.actions.neutral))
