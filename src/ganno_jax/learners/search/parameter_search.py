r"""Black-box search for the parameters of a policy: every sampled vector on every task, in one jitted call.

The return of a training of S inner steps is $R = \max(0, (\log E_0 - \log E_S) / S)$, where E is the loss over the
task's training examples: the published mean decrease of the log error, whose sum telescopes. A diverged training has
return 0 and no training less, as in the re-implementation of Adriaensen et al. 2022 (arXiv:2205.13881).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.environment import Env
from ganno_jax.env.mapping import Mapping, map_trainings
from ganno_jax.env.mesh import AXIS, padded_rows
from ganno_jax.inner.state import InnerState
from ganno_jax.inner.training import Training
from ganno_jax.policies.base import Policy
from ganno_jax.tasks import sampling

PolicyFn = Callable[[Float[Array, " weight"]], Policy]


class Strategy(Protocol):
    """How parameter vectors are proposed and judged: `REPS`, `CMAES`, `RandomSearch`."""

    def init(self) -> Any:
        """The state before the first iteration."""
        ...

    def ask(self, state: Any, key: PRNGKeyArray, count: int) -> Float[Array, "sample weight"]:
        """Parameter vectors to try.

        Args:
          state: of the strategy.
          key: of the draw.
          count: how many together, >= 1.
        """
        ...

    def tell(
        self,
        state: Any,
        samples: Float[Array, "sample weight"],
        returns: Float[Array, " sample"],
    ) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """The new state and metrics; a larger return is better.

        Args:
          state: from which the samples were drawn.
          samples: as `ask` gave them.
          returns: of each sample; a larger one is better.
        """
        ...

    def best(self, state: Any) -> Float[Array, " weight"]:
        """The parameter vector to use."""
        ...


@struct.dataclass
class SearchState:
    """Everything that changes during a search; save it and go on later."""

    strategy: Any
    iteration: Int[Array, ""]
    key: PRNGKeyArray


@struct.dataclass
class ParameterSearch:
    """A strategy, and the trainings on which it judges parameter vectors.

    Attributes:
      env: the trainings; its reward is not used.
      strategy: `REPS`, `CMAES` or `RandomSearch`.
      policy_fn: from a parameter vector to a policy, such as `StepSizePolicy`.
      num_samples: parameter vectors of an iteration, >= 4.
      num_tasks: of an iteration, >= 1; all vectors meet the same ones.
      fewest_decisions: if run lengths vary: each task's is uniform from there to the env's `num_decisions`.
      num_judged: how many training examples the loss E is taken over at most; all of the task's by default.
      mapping: over trainings, see `map_trainings`.

    Raises:
      ValueError: a count that cannot work.
    """

    env: Env
    strategy: Strategy
    policy_fn: PolicyFn = struct.field(pytree_node=False)
    num_samples: int = struct.field(pytree_node=False, default=64)
    num_tasks: int = struct.field(pytree_node=False, default=8)
    fewest_decisions: int | None = struct.field(pytree_node=False, default=None)
    num_judged: int | None = struct.field(pytree_node=False, default=None)
    mapping: Mapping = struct.field(pytree_node=False, default="vmap")

    def __post_init__(self):
        # Static numbers alone, which are numbers whatever JAX puts in the place of arrays.
        if self.num_samples < 4:
            raise ValueError(f"`num_samples` must be at least 4; got {self.num_samples}.")
        if self.num_tasks < 1:
            raise ValueError(f"`num_tasks` must be at least 1; got {self.num_tasks}.")
        fewest, most = self.fewest_decisions, self.env.num_decisions
        if fewest is not None and not 1 <= fewest <= most:
            raise ValueError(
                f"`fewest_decisions` must be between 1 and the env's {most}; got {fewest}."
            )

    def init(self, key: PRNGKeyArray) -> SearchState:
        """Nothing tried."""
        return SearchState(self.strategy.init(), jnp.zeros((), jnp.int32), key)

    def policy(self, state: SearchState) -> Policy:
        """What the search has found so far."""
        return self.policy_fn(self.strategy.best(state.strategy))


@partial(jax.jit, static_argnames=("num_iterations", "mesh"))
def search(
    problem: ParameterSearch, state: SearchState, num_iterations: int, mesh: Mesh
) -> tuple[SearchState, dict[str, Float[Array, "iteration ..."]]]:
    """A chunk of iterations in one jitted call; each draws new tasks.

    Args:
      problem: what is searched.
      state: from `ParameterSearch.init`, or of an earlier chunk.
      num_iterations: length of the chunk.
      mesh: devices, from `make_mesh`.

    Returns:
      The new state and metrics per iteration: `mean_return`, `highest_return`, `share_diverged`, the `best`
      parameter vector after it, and those of the strategy.
    """
    return jax.lax.scan(
        lambda state, _: iterate(problem, state, mesh), state, None, length=num_iterations
    )


def iterate(
    problem: ParameterSearch, state: SearchState, mesh: Mesh
) -> tuple[SearchState, dict[str, Array]]:
    """One iteration: ask, train with every parameter vector on every task, tell.

    Args:
      problem: what is searched for, where, and by which strategy.
      state: after the last iteration.
      mesh: devices over which the trainings are spread.

    Returns:
      The new state; metrics, among them `best`, the strategy's best parameter vector.
    """
    ask_key, task_key = jax.random.split(jax.random.fold_in(state.key, state.iteration))
    samples = problem.strategy.ask(state.strategy, ask_key, problem.num_samples)
    keys = jax.random.split(task_key, problem.num_tasks)
    returns, diverged = returns_of(problem, samples, keys, mesh)
    relative = relative_returns(returns)
    strategy, metrics = problem.strategy.tell(state.strategy, samples, relative)
    metrics = metrics | {
        "mean_return": jnp.mean(returns),
        "highest_return": jnp.max(jnp.mean(returns, axis=1)),
        "share_diverged": jnp.mean(diverged.astype(jnp.float32)),
        "best": problem.strategy.best(strategy),
    }
    return SearchState(strategy, state.iteration + 1, state.key), metrics


def relative_returns(returns: Float[Array, "sample task"]) -> Float[Array, " sample"]:
    """Mean over tasks of the return less the task's mean over all samples: an easy task favours nobody."""
    return jnp.mean(returns - jnp.mean(returns, axis=0, keepdims=True), axis=1)


def returns_of(
    problem: ParameterSearch,
    samples: Float[Array, "sample weight"],
    keys: PRNGKeyArray,
    mesh: Mesh,
) -> tuple[Float[Array, "sample task"], Bool[Array, "sample task"]]:
    """Returns of all parameter vectors on all tasks, and which trainings diverged; spread over the devices.

    Args:
      problem: the env, and how a parameter vector becomes a policy.
      samples: parameter vectors.
      keys: one per task; each vector meets the same tasks.
      mesh: devices over which the trainings are spread.
    """
    num_tasks = keys.shape[0]
    total = samples.shape[0] * num_tasks
    rows = jnp.asarray(padded_rows(total, mesh))

    def share(problem: Any, samples: Array, keys: Any, rows: Array):
        def one(row: Array):
            policy = problem.policy_fn(samples[row // num_tasks])
            return training_return(problem, policy, keys[row % num_tasks])

        return map_trainings(one, problem.mapping, rows)

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    returns, diverged = jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(whole, whole, whole, split),
        out_specs=split,
        check_vma=False,
    )(problem, samples, keys, rows)
    shape = (samples.shape[0], num_tasks)
    return returns[:total].reshape(shape), diverged[:total].reshape(shape)


def training_return(
    problem: ParameterSearch, policy: Policy, key: PRNGKeyArray
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The return of one training (see the module), and whether it diverged.

    The training of a task with fewer decisions than the env's goes on with rate 0: it stands still.

    Args:
      problem: the env, the number of judged examples, and the fewest decisions of a task.
      policy: sets the rates.
      key: of the task, its length and the policy.
    """
    env = problem.env
    env_key, policy_key, length_key = (jax.random.fold_in(key, n) for n in range(3))
    fewest = env.num_decisions if problem.fewest_decisions is None else problem.fewest_decisions
    length = jax.random.randint(length_key, (), fewest, env.num_decisions + 1)
    state, _ = env.reset(env_key)
    first = task_loss(env.training, state.inner, problem.num_judged)

    def decide(carry, number):
        state, memory = carry
        step_key = jax.random.fold_in(policy_key, number)
        memory, rates = policy.act(memory, state.observation, step_key)
        state, _ = env.step(state, jnp.where(number < length, rates, 0.0))
        return (state, memory), None

    carry = (state, policy.init(state.observation))
    (state, _), _ = jax.lax.scan(decide, carry, jnp.arange(env.num_decisions))
    last = task_loss(env.training, state.inner, problem.num_judged)
    return log_decrease(first, last, length * env.interval, state.outcome.diverged)


def log_decrease(
    first: Float[Array, ""],
    last: Float[Array, ""],
    num_steps: Int[Array, ""],
    diverged: Bool[Array, ""],
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    r"""$\max(0, (\log E_0 - \log E_S) / S)$, and 0 where the training diverged or the loss is not finite.

    Args:
      first: $E_0$, before the first step, in the task's unit of loss.
      last: $E_S$, after the last step.
      num_steps: $S$, >= 1.
      diverged: whether the training did.

    Returns:
      The value, >= 0, and whether it is 0 because the training failed.
    """
    failed = diverged | ~jnp.isfinite(last)
    decrease = jnp.log(jnp.maximum(first, 1e-8)) - jnp.log(jnp.maximum(last, 1e-8))
    value = jnp.maximum(decrease / num_steps, 0.0)
    return jnp.where(failed, 0.0, value), failed


def task_loss(
    training: Training, state: InnerState, num_examples: int | None = None
) -> Float[Array, ""]:
    """Mean loss over the task's own training examples, with its label noise.

    Args:
      training: the family.
      state: of one training.
      num_examples: at most so many, drawn at random by the task's key; all of them by default.
    """
    family, task = training.family, state.task
    total = family.num_examples
    count = total if num_examples is None else min(num_examples, total)
    indices = sampling.subset(jnp.arange(count), total, task.key)
    batch = family.train_batch(task, family.of_set(task, family.dataset.train, indices))
    losses, _ = task.example_losses(state.params, state.model_state, batch, state.key, False)
    in_use = total if task.num_examples is None else task.num_examples
    weights = (jnp.arange(count) < in_use).astype(jnp.float32)
    return jnp.sum(losses * weights) / jnp.sum(weights)
