"""All policies of a comparison as one, so that tuning, learning curve and report share a program.

Compiling an evaluation takes far longer than running it on small networks. So the kind of policy is
a number: every kind says its rates at every decision and one is taken, which costs little beside
the inner training. A block of runs may mix policies.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.env import Env, Mapping, Observation, map_trainings
from ganno_jax.env.mesh import AXIS, to_host, to_mesh
from ganno_jax.evaluation.evaluate import Curves, run_training
from ganno_jax.inner import InnerState
from ganno_jax.inner.hyperparameters import Decision, LayerHyperparameters, by_inner_step
from ganno_jax.policies import (
    SCHEDULES,
    AgentPolicy,
    NeutralPolicy,
    OpenLoop,
    RandomPolicy,
    ReduceOnPlateau,
    ScheduleBank,
)

AGENTS, SCHEDULE, PLATEAU, RANDOM, REPLAY, BASE = range(6)


@struct.dataclass
class ComparedPolicy:
    """A policy of any kind; what its kind does not use is there for the structure only."""

    kind: Int[Array, "..."]
    agents: AgentPolicy
    schedule: Int[Array, "..."]  # index into SCHEDULES
    peak: Float[Array, "..."]  # > 0; 0 takes the training's initial rate
    forgetting: Float[
        Array, "..."
    ]  # of schedules, over the whole training at a rate of half the peak
    table: LayerHyperparameters  # [... decision layer]

    def init(self, observation: Observation) -> Any:
        """The memories of all kinds."""
        return self.agents.init(observation), ReduceOnPlateau().init(observation)

    def act(self, state: Any, observation: Observation, key: PRNGKeyArray) -> tuple[Any, Decision]:
        """What this policy's kind decides; where the agents set forgetting too, so do the others.

        Args:
          state: the memories of all kinds after the last decision.
          observation: of the last env step.
          key: of the draws, for kinds that draw.
        """
        memory, plateau = state
        memory, by_agents = self.agents.act(memory, observation, key)
        peak = jnp.where(self.peak > 0, self.peak, observation.initial_rate)
        _, by_schedule = ScheduleBank(self.schedule, peak).act((), observation, key)
        plateau, by_plateau = ReduceOnPlateau(peak=peak).act(plateau, observation, key)
        _, by_chance = RandomPolicy(self.agents.actions).act((), observation, key)
        _, by_replay = OpenLoop(self.table.rates, self.table.forgetting).act((), observation, key)
        _, by_base = NeutralPolicy(self.agents.actions).act((), observation, key)
        forgets = "forgetting" in self.agents.sets
        shape = (observation.interval, observation.rates.shape[0])
        decisions = [
            by_agents,
            self._with_forgetting(by_schedule, peak),
            self._with_forgetting(by_plateau, peak),
            by_chance,
            by_replay,
            by_base,
        ]
        rows = [by_inner_step(decision, *shape) for decision in decisions]
        if not forgets:
            rows = [row.replace(forgetting=None) for row in rows]
        chosen = jax.tree.map(lambda *x: jnp.take(jnp.stack(x), self.kind, axis=0), *rows)
        return (memory, plateau), chosen

    def _with_forgetting(
        self, rates: Float[Array, "*inner_step layer"], peak: Float[Array, ""]
    ) -> LayerHyperparameters:
        """Decay in proportion to the rate, as decoupled decay has it."""
        return LayerHyperparameters(rates, 2 * self.forgetting * rates / peak)


def agents(policy: AgentPolicy, num_decisions: int, num_layers: int) -> ComparedPolicy:
    """The agents; the others are made from it by the functions below.

    Args:
      policy: of the agents.
      num_decisions: of a training.
      num_layers: of the network.
    """
    return ComparedPolicy(
        kind=np.int32(AGENTS),
        agents=jax.tree.map(np.asarray, policy),
        schedule=np.int32(0),
        peak=np.float32(1.0),
        forgetting=np.float32(0.0),
        table=LayerHyperparameters(
            *[np.ones((num_decisions, num_layers), np.float32) for _ in range(2)]
        ),
    )


def tuned(base: ComparedPolicy, name: str, peak: float, forgetting: float = 0.0) -> ComparedPolicy:
    """A schedule of `SCHEDULES`, or "plateau", at a peak rate (0: each run's initial one) and a forgetting.

    Args:
      base: from `agents`.
      name: of the schedule.
      peak: rate, >= 0.
      forgetting: over the whole training at a rate of half the peak, >= 0.
    """
    numbers = {"peak": np.float32(peak), "forgetting": np.float32(forgetting)}
    if name == "plateau":
        return base.replace(kind=np.int32(PLATEAU), **numbers)
    index = np.int32(list(SCHEDULES).index(name))
    return base.replace(kind=np.int32(SCHEDULE), schedule=index, **numbers)


def at_random(base: ComparedPolicy) -> ComparedPolicy:
    """Agents that act at random."""
    return base.replace(kind=np.int32(RANDOM))


def neutral(base: ComparedPolicy) -> ComparedPolicy:
    """What the agents stand on: their action space with the action that changes nothing."""
    return base.replace(kind=np.int32(BASE))


def replay(base: ComparedPolicy, table: LayerHyperparameters) -> ComparedPolicy:
    """The open-loop replay of a table of hyperparameters `[decision, layer]`."""
    return base.replace(kind=np.int32(REPLAY), table=jax.tree.map(np.float32, table))


class Evaluator:
    """Every policy in every run, `block` trainings at a time through one compiled program.

    Args:
      env: whose trainings they are.
      mesh: with one axis "trainings".
      block: trainings per call; rounded up to the number of devices.
      mapping: over trainings.
      chunk: examples per pass in the final evaluation.
    """

    def __init__(
        self, env: Env, mesh: Mesh, *, block: int, mapping: Mapping, chunk: int | None = None
    ):
        self._env = to_mesh(env, mesh)
        self._block = -(-block // mesh.size) * mesh.size
        self._settings = {"mesh": mesh, "mapping": mapping, "chunk": chunk}
        self._program: Any = None
        self.seconds_compile = 0.0

    def __call__(
        self,
        policies: Sequence[ComparedPolicy],
        keys: PRNGKeyArray,
        initial_rates: Float[np.ndarray, " run"],
        done_fn: Callable[[int], None] = lambda done: None,
    ) -> Curves:
        """Curves `[policy, run, ...]`, host arrays.

        Args:
          policies: of one structure.
          keys: one per run: run r of all policies is the same training.
          initial_rates: one per run.
          done_fn: told the number of trainings done, after each block.
        """
        num_runs, total = keys.shape[0], keys.shape[0] * len(policies)
        rows = np.arange(-(-total // self._block) * self._block) % total
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *policies)
        data = np.asarray(jax.random.key_data(keys))
        rates = np.asarray(initial_rates, np.float32)
        parts = []
        for start in range(0, len(rows), self._block):
            numbers, runs = np.divmod(rows[start : start + self._block], num_runs)
            block = jax.tree.map(lambda x, chosen=numbers: x[chosen], stacked)
            part = self._run(block, jax.random.wrap_key_data(data[runs]), rates[runs])
            parts.append(to_host(part))
            done_fn(min(start + self._block, total))
        curves = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:total], *parts)
        return jax.tree.map(lambda x: x.reshape(len(policies), num_runs, *x.shape[1:]), curves)

    def compile(self, policy: ComparedPolicy) -> None:
        """Compile ahead for policies that look like this one. May run in a thread of its own."""
        block = jax.tree.map(lambda x: np.stack([x] * self._block), policy)
        keys = jax.random.split(jax.random.key(0), self._block)
        self._compile(block, keys, np.ones(self._block, np.float32))

    def _compile(self, *block: Any) -> Any:
        start = time.monotonic()
        self._program = _evaluate_block.lower(self._env, *block, **self._settings).compile()
        self.seconds_compile += time.monotonic() - start
        return self._program

    def _run(self, *block: Any) -> Curves:
        program = self._compile(*block) if self._program is None else self._program
        return program(self._env, *block)


@partial(jax.jit, static_argnames=("mesh", "mapping", "chunk"))
def _evaluate_block(
    env: Env,
    policies: ComparedPolicy,
    keys: PRNGKeyArray,
    initial_rates: Float[Array, " row"],
    *,
    mesh: Mesh,
    mapping: Mapping,
    chunk: int | None,
) -> Curves:
    def share(env: Env, policies: ComparedPolicy, keys: PRNGKeyArray, rates: Array) -> Curves:
        def one(policy: ComparedPolicy, key: PRNGKeyArray, rate: Array) -> Curves:
            return run_training(env, policy, key, rate, chunk)

        return map_trainings(one, mapping, policies, keys, rates)

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        share, mesh=mesh, in_specs=(whole, split, split, split), out_specs=split, check_vma=False
    )(env, policies, keys, initial_rates)


@jax.jit
def _replay(env: Env, key: PRNGKeyArray, rate: Array, table: LayerHyperparameters) -> Array:
    training = env.for_evaluation().training
    state = training.init(jax.random.fold_in(key, 0), rate)  # as `run_training` resets

    def step(state: InnerState, chosen: LayerHyperparameters) -> tuple[InnerState, Array]:
        state, metrics = training.inner_step(state, chosen, env.total_steps)
        return state, metrics.loss

    rows = jax.tree.map(
        lambda x: jnp.repeat(x, env.interval, axis=0, total_repeat_length=env.total_steps), table
    )
    return jax.lax.scan(step, state, rows)[1]


def losses_by_step(
    env: Env, key: PRNGKeyArray, initial_rate: float, table: LayerHyperparameters
) -> Float[np.ndarray, " inner_step"]:
    """The training loss of every inner step of one evaluated run, found by repeating it.

    Args:
      env: whose training it was.
      key: of the run.
      initial_rate: of the run.
      table: hyperparameters `[decision, layer]`, held for an env step each, as the agents set them.
    """
    table = jax.tree.map(np.float32, table)
    return np.asarray(_replay(env, key, np.float32(initial_rate), table))
