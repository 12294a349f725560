"""A policy that balances a pole on a cart, with the episodes in which it is tried: a policy gradient as a task."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from ganno_jax.tasks.networks.mlp import MLP

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s^2, kg, kg, m
FORCE, SECONDS = 10.0, 0.02  # N, per step
# From the middle, beyond which the pole has fallen; 12 degrees.
FARTHEST, STEEPEST = 2.4, 0.2094  # m, rad
STATE = 4  # place, speed, angle, angular speed

State = Float[Array, "episode 4"]


def push(state: State, right: Bool[Array, " episode"]) -> State:
    """One Euler step of the cart and the pole, pushed to the right or to the left.

    Source: Barto, Sutton, Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems",
    1983, without friction.

    Args:
      state: place in m, speed in m/s, angle in rad, angular speed in rad/s.
      right: whether the force is to the right.
    """
    speed, angle, turning = state[..., 1], state[..., 2], state[..., 3]
    force = jnp.where(right, FORCE, -FORCE)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    mass, moment = CART_MASS + POLE_MASS, POLE_MASS * HALF_LENGTH
    pushed = (force + moment * turning**2 * sine) / mass
    turn = (GRAVITY * sine - cosine * pushed) / (
        HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / mass)
    )
    acceleration = pushed - moment * turn * cosine / mass
    change = jnp.stack([speed, acceleration, turning, turn], -1)
    return state + SECONDS * change


def cost(state: State) -> tuple[Float[Array, " episode"], Bool[Array, " episode"]]:
    """What a step costs, in [0, 1], and whether the pole stands: the mean square of place and angle, 1 once it fell."""
    place, angle = state[..., 0] / FARTHEST, state[..., 2] / STEEPEST
    stands = (jnp.abs(place) < 1) & (jnp.abs(angle) < 1)
    return jnp.where(stands, (place**2 + angle**2) / 2, 1.0), stands


class CartPole(nn.Module):
    """An MLP that pushes left or right, tried in episodes whose chances are the inputs.

    An input is a start, 4 numbers, and a uniform number for each step, which decides the action. An episode goes on
    after a fall, at cost 1 a step. In training the first output is what REINFORCE (Williams 1992) descends,
    `sum_t log p(action_t) A_t / steps`, with `A_t` the cost from step t on minus its mean over the batch: it can be
    negative, has no lower bound, and says little of how good the policy is. Otherwise it is the mean cost of a step.

    Attributes:
      features: units of the hidden layers.
      activation: one of `layers.ACTIVATIONS`.
    """

    features: tuple[int, ...] = (32, 32)
    activation: str = "tanh"

    @nn.compact
    def __call__(
        self, x: Float[Array, "episode chance"], *, train: bool = False
    ) -> Float[Array, "episode 2"]:
        """Loss of each episode, and the share of its steps in which the pole stands.

        Args:
          x: start and chances of each episode.
          train: whether the loss is the one to descend.
        """
        policy = MLP(self.features, 1, self.activation, name="policy")
        policy(x[:, :STATE])  # makes the parameters
        free = policy.clone(parent=None, name=None)
        acting = jax.lax.stop_gradient(policy.variables)  # no derivative through the episode

        def step(carry, chance):
            state, standing = carry
            right = chance < jax.nn.sigmoid(jnp.asarray(free.apply(acting, state))[:, 0])
            after = push(state, right)
            after_cost, stands = cost(after)
            standing &= stands
            after = jnp.where(standing[:, None], after, state)  # numbers stay small after a fall
            seen = (state, right, jnp.where(standing, after_cost, 1.0), standing)
            return (after, standing), seen

        start = (x[:, :STATE], jnp.ones(len(x), bool))
        _, (states, right, costs, stands) = jax.lax.scan(step, start, x[:, STATE:].T)
        share = stands.mean(0)
        if not train:
            return jnp.stack([costs.mean(0), share], -1)
        to_come = jnp.cumsum(costs[::-1], 0)[::-1]
        advantage = to_come - to_come.mean(1, keepdims=True)
        logits = policy(states.reshape(-1, STATE)).reshape(right.shape)
        log_chance = jax.nn.log_sigmoid(jnp.where(right, 1.0, -1.0) * logits)
        # What is done after a fall changes nothing.
        acted = jnp.concatenate([jnp.ones((1, len(x)), bool), stands[:-1]])
        loss = jnp.where(acted, log_chance * advantage, 0.0).mean(0)
        return jnp.stack([loss, share], -1)
