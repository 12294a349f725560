"""Ways to search: each proposes a batch of rules and learns from their rewards.

A method is a frozen pytree of settings with three pure functions: `init(key)`,
`propose(state, key)` and `learn(state, tables, rewards)`. It knows nothing of how a reward comes
about; `search.py` does the asking. Random search and evolution are the controls of the two that
train a controller.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.rules import controller
from ganno_jax.rules.controller import Controller
from ganno_jax.rules.language import ROW, row_sizes

Tables = Int[Array, "rule step 5"]
Rewards = Float[Array, " rule"]
Metrics = dict[str, Float[Array, ""]]


@runtime_checkable
class Method(Protocol):
    """What `search.py` needs of a way to search."""

    @property
    def num_steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    def init(self, key: PRNGKeyArray) -> Any: ...
    def propose(self, state: Any, key: PRNGKeyArray) -> Tables: ...
    def learn(self, state: Any, tables: Tables, rewards: Rewards) -> tuple[Any, Metrics]: ...


def random_tables(num_rules: int, num_steps: int, key: PRNGKeyArray) -> Tables:
    """Tables whose tokens are uniform over what their place allows."""
    sizes = jnp.asarray(row_sizes(num_steps))
    return jax.random.randint(key, (num_rules, num_steps, ROW), 0, sizes, dtype=jnp.int32)


LARGEST_ADVANTAGE = 3.0
"""Of `PPO`, in deviations of the batch's rewards."""


@struct.dataclass
class RandomSearch:
    """Uniform tokens, learning nothing."""

    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)

    def init(self, key: PRNGKeyArray) -> Any:
        del key
        return ()

    def propose(self, state: Any, key: PRNGKeyArray) -> Tables:
        del state
        return random_tables(self.batch_size, self.num_steps, key)

    def learn(self, state: Any, tables: Tables, rewards: Rewards) -> tuple[Any, Metrics]:
        del tables, rewards
        return state, {}


@struct.dataclass
class Population:
    """The living of an evolution, a ring: the next child takes the place of the oldest."""

    tables: Int[Array, "member step 5"]
    rewards: Float[Array, " member"]
    num_born: Int[Array, ""]


@struct.dataclass
class RegularizedEvolution:
    """Aging evolution (Real et al. 2019, arXiv:1802.01548), a batch of children at a time.

    Until the population is full, members are uniform tables, or mutations of `warm_start` where
    that is given. A child differs from its parent in one to `most_changes` tokens: with one, most children of a
    grown population are rules that it has had already.
    """

    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)
    population_size: int = struct.field(pytree_node=False, default=64)
    tournament_size: int = struct.field(pytree_node=False, default=8)
    most_changes: int = struct.field(pytree_node=False, default=4)
    warm_start: Int[Array | np.ndarray, "step 5"] | None = None

    def __post_init__(self):
        if self.population_size < self.batch_size:
            raise ValueError(
                "`population_size` must hold a batch of children: at least "
                f"{self.batch_size}; got {self.population_size}."
            )

    def init(self, key: PRNGKeyArray) -> Population:
        del key
        return Population(
            jnp.zeros((self.population_size, self.num_steps, ROW), jnp.int32),
            jnp.full((self.population_size,), -jnp.inf),
            jnp.int32(0),
        )

    def propose(self, state: Population, key: PRNGKeyArray) -> Tables:
        fresh_key, tournament_key, mutation_key, count_key = jax.random.split(key, 4)
        shape = (self.batch_size, self.tournament_size)
        contestants = jax.random.randint(tournament_key, shape, 0, self.population_size)
        best = jnp.argmax(state.rewards[contestants], axis=1)
        parents = state.tables[jnp.take_along_axis(contestants, best[:, None], axis=1)[:, 0]]
        filling = state.num_born < self.population_size
        if self.warm_start is not None:
            start = jnp.asarray(self.warm_start, jnp.int32)
            parents = jnp.where(filling, start[None], parents)
        changes = jax.random.randint(count_key, (self.batch_size,), 1, self.most_changes + 1)
        children = parents
        for number in range(self.most_changes):
            keys = jax.random.split(jax.random.fold_in(mutation_key, number), self.batch_size)
            changed = jax.vmap(mutate)(children, keys)
            children = jnp.where((number < changes)[:, None, None], changed, children)
        if self.warm_start is not None:
            return children
        fresh = random_tables(self.batch_size, self.num_steps, fresh_key)
        return jnp.where(filling, fresh, children)

    def learn(
        self, state: Population, tables: Tables, rewards: Rewards
    ) -> tuple[Population, Metrics]:
        places = (state.num_born + jnp.arange(tables.shape[0])) % self.population_size
        state = Population(
            state.tables.at[places].set(tables),
            state.rewards.at[places].set(rewards),
            state.num_born + tables.shape[0],
        )
        alive = jnp.isfinite(state.rewards)
        mean = jnp.where(alive, state.rewards, 0.0).sum() / jnp.maximum(alive.sum(), 1)
        return state, {"population_mean": mean}


def mutate(table: Int[Array, "step 5"], key: PRNGKeyArray) -> Int[Array, "step 5"]:
    """Change one token, uniform over places, to another id that its place allows."""
    sizes = jnp.asarray(row_sizes(table.shape[0])).reshape(-1)
    tokens = table.reshape(-1)
    place_key, token_key = jax.random.split(key)
    place = jax.random.randint(place_key, (), 0, tokens.size)
    shift = jax.random.randint(token_key, (), 1, sizes[place])
    return tokens.at[place].set((tokens[place] + shift) % sizes[place]).reshape(table.shape)


@struct.dataclass
class ControllerState:
    """The controller, its optimizer and the moving average of the rewards."""

    controller: Controller
    opt_state: Any
    baseline: Float[Array, ""]
    num_updates: Int[Array, ""]


class _Written:
    """What methods share whose rules are written by the LSTM controller."""

    num_steps: int
    batch_size: int
    hidden: int

    def init(self, key: PRNGKeyArray) -> ControllerState:
        return _init(key, self.hidden)

    def propose(self, state: ControllerState, key: PRNGKeyArray) -> Tables:
        return controller.sample(state.controller, self.batch_size, self.num_steps, key)


@struct.dataclass
class Reinforce(_Written):
    r"""REINFORCE with a moving baseline: ascends $E[(r - b) \log \pi(\text{rule})]$ plus
    entropy."""

    learning_rate: float | Array = 1e-3
    entropy_weight: float | Array = 0.5
    """Times the mean entropy of a token's choice, in nats; far below, it repeats itself soon."""
    baseline_decay: float | Array = 0.9
    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)
    hidden: int = struct.field(pytree_node=False, default=150)

    def learn(
        self, state: ControllerState, tables: Tables, rewards: Rewards
    ) -> tuple[ControllerState, Metrics]:
        baseline = _baseline(state, rewards, self.baseline_decay)
        advantages = rewards - jnp.where(state.num_updates == 0, baseline, state.baseline)
        grads, entropy = jax.grad(reinforce_loss, has_aux=True)(
            state.controller, tables, advantages, self.entropy_weight
        )
        new, opt_state = _apply(state.controller, state.opt_state, grads, self.learning_rate)
        state = ControllerState(new, opt_state, baseline, state.num_updates + 1)
        return state, {"baseline": baseline, "entropy": entropy}


@struct.dataclass
class PPO(_Written):
    """Proximal policy optimization of the tokens, the rule's advantage standing at each of them."""

    learning_rate: float | Array = 1e-3
    entropy_weight: float | Array = 3.0
    """As in `Reinforce`, against advantages of unit deviation, which is why it is larger."""
    baseline_decay: float | Array = 0.9
    clip: float | Array = 0.2
    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)
    num_epochs: int = struct.field(pytree_node=False, default=4)
    hidden: int = struct.field(pytree_node=False, default=150)

    def learn(
        self, state: ControllerState, tables: Tables, rewards: Rewards
    ) -> tuple[ControllerState, Metrics]:
        baseline = _baseline(state, rewards, self.baseline_decay)
        advantages = rewards - jnp.where(state.num_updates == 0, baseline, state.baseline)
        advantages = scaled_advantages(advantages, rewards)
        old_log_probs = controller.choices(state.controller, tables).log_probs

        def epoch(carry, _):
            grads, entropy = jax.grad(ppo_loss, has_aux=True)(
                carry[0], tables, advantages, old_log_probs, self.clip, self.entropy_weight
            )
            return _apply(*carry, grads, self.learning_rate), entropy

        (new, opt_state), entropy = jax.lax.scan(
            epoch, (state.controller, state.opt_state), length=self.num_epochs
        )
        state = ControllerState(new, opt_state, baseline, state.num_updates + 1)
        return state, {"baseline": baseline, "entropy": entropy[0]}


def scaled_advantages(advantages: Rewards, rewards: Rewards) -> Rewards:
    """Advantages over the rewards' deviation, within `[-LARGEST_ADVANTAGE, LARGEST_ADVANTAGE]`.

    A batch that repeats one rule has no deviation; unbounded, its advantages would drown out the entropy just where it
    is needed.
    """
    scaled = advantages / (rewards.std() + 1e-6)
    return jnp.clip(scaled, -LARGEST_ADVANTAGE, LARGEST_ADVANTAGE)


def reinforce_loss(
    params: Controller, tables: Tables, advantages: Rewards, entropy_weight: float | Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss whose gradient is the policy gradient, and the mean entropy per token."""
    seen = controller.choices(params, tables)
    gain = jnp.mean(advantages * seen.log_probs.sum(axis=1))
    return -gain - entropy_weight * seen.entropy.mean(), seen.entropy.mean()


def ppo_loss(
    params: Controller,
    tables: Tables,
    advantages: Rewards,
    old_log_probs: Float[Array, "rule position"],
    clip: float | Array,
    entropy_weight: float | Array,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The clipped surrogate, one ratio per token, summed over a rule; and the mean entropy."""
    seen = controller.choices(params, tables)
    ratio = jnp.exp(seen.log_probs - old_log_probs)
    gain = advantages[:, None] * ratio
    clipped = advantages[:, None] * jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    surrogate = jnp.minimum(gain, clipped).sum(axis=1).mean()
    return -surrogate - entropy_weight * seen.entropy.mean(), seen.entropy.mean()


def _init(key: PRNGKeyArray, hidden: int) -> ControllerState:
    params = controller.init(key, hidden)
    return ControllerState(
        params, optax.scale_by_adam().init(params), jnp.float32(0.0), jnp.int32(0)
    )


def _baseline(state: ControllerState, rewards: Rewards, decay: float | Array) -> Float[Array, ""]:
    moved = decay * state.baseline + (1.0 - decay) * rewards.mean()
    return jnp.where(state.num_updates == 0, rewards.mean(), moved)


def _apply(params: Controller, opt_state: Any, grads: Controller, learning_rate: float | Array):
    direction, opt_state = optax.scale_by_adam().update(grads, opt_state)
    return jax.tree.map(lambda p, d: p - learning_rate * d, params, direction), opt_state
