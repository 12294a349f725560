"""Ways to search: each proposes a batch of rules and learns from their rewards.

A method is a frozen pytree of settings with three pure functions: `init(key)`,
`propose(state, key)` and `learn(state, tables, rewards)`. It knows nothing of how a reward comes
about; `search.py` does the asking. Uniform rules and evolution, here, are the controls of the two that
train a writer of rules, in `written`.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.rules.language import ROW, row_sizes

Tables = Int[Array, "rule step 5"]
Rewards = Float[Array, " rule"]
Metrics = dict[str, Float[Array, ""]]


@runtime_checkable
class RuleMethod(Protocol):
    """What `search.py` needs of a way to search."""

    @property
    def num_steps(self) -> int:
        """Rows of a rule."""
        ...

    @property
    def batch_size(self) -> int:
        """Rules of a proposal."""
        ...

    def init(self, key: PRNGKeyArray) -> Any:
        """The state before the first proposal."""
        ...

    def propose(self, state: Any, key: PRNGKeyArray) -> Tables:
        """Rules to evaluate."""
        ...

    def learn(self, state: Any, tables: Tables, rewards: Rewards) -> tuple[Any, Metrics]:
        """From the rewards of what was proposed.

        Args:
          state: of the method.
          tables: the rules that were proposed.
          rewards: of each, finite; 0 for a rule that is dead.

        Returns:
          The new state and metrics.
        """
        ...


def random_tables(num_rules: int, num_steps: int, key: PRNGKeyArray) -> Tables:
    """Tables whose tokens are uniform over what their place allows.

    Args:
      num_rules: how many.
      num_steps: rows of each rule, >= 1.
      key: of the draw.
    """
    sizes = jnp.asarray(row_sizes(num_steps))
    return jax.random.randint(key, (num_rules, num_steps, ROW), 0, sizes, dtype=jnp.int32)


@struct.dataclass
class UniformRules:
    """Uniform tokens, learning nothing."""

    num_steps: int = struct.field(pytree_node=False, default=2)
    batch_size: int = struct.field(pytree_node=False, default=16)

    def init(self, key: PRNGKeyArray) -> Any:
        """There is no state."""
        del key
        return ()

    def propose(self, state: Any, key: PRNGKeyArray) -> Tables:
        """Uniform tables."""
        del state
        return random_tables(self.batch_size, self.num_steps, key)

    def learn(self, state: Any, tables: Tables, rewards: Rewards) -> tuple[Any, Metrics]:
        """Nothing.

        Args:
          state: there is none.
          tables: not used.
          rewards: not used.
        """
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
        """An empty ring: every place has the reward minus infinity."""
        del key
        return Population(
            jnp.zeros((self.population_size, self.num_steps, ROW), jnp.int32),
            jnp.full((self.population_size,), -jnp.inf),
            jnp.int32(0),
        )

    def propose(self, state: Population, key: PRNGKeyArray) -> Tables:
        """Children of the winners of tournaments; while the ring fills, fresh members."""
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
        """Take the children in, in the places of the oldest.

        Args:
          state: the population.
          tables: children.
          rewards: of each.

        Returns:
          The new population, and the mean reward of its members.
        """
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
