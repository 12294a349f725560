"""What a policy does in many trainings: any policy, any env, one jitted call.

Run r of every policy is the same training: same task, initialization and batches, from the same key.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ganno_jax.env.environment import Env, EnvState
from ganno_jax.env.mapping import Mapping, map_trainings
from ganno_jax.env.mesh import AXIS, padded_rows, to_host
from ganno_jax.evaluation.programs import let_go
from ganno_jax.inner.hyperparameters import LayerHyperparameters
from ganno_jax.policies.base import Policy
from ganno_jax.policies.simple import mean_schedule


@struct.dataclass
class Curves:
    """What happened in each run; losses are not logged. Curves start before the first step.

    What is reported and what may choose are kept apart: a choice between policies or settings looks at
    `selection_loss` and `selection_accuracy` alone.
    """

    train_loss: Float[Array, "*run decision_plus_one"]
    report_loss: Float[Array, "*run decision_plus_one"]  # on the first examples of the report split
    report_accuracy: Float[Array, "*run decision_plus_one"]
    rates: Float[Array, "*run decision layer"]  # at the end of each window
    forgetting: Float[Array, "*run decision layer"]  # likewise
    diverged: Bool[Array, "*run"]  # stopped by the env, or without a finite loss at the end
    initial_rate: Float[Array, "*run"]
    final_loss: Float[Array, "*run"]  # on the whole report split, `Dataset.test`
    final_accuracy: Float[Array, "*run"]
    selection_loss: Float[Array, "*run"]  # on the whole selection split, `Dataset.validation`
    selection_accuracy: Float[Array, "*run"]

    def mean_hyperparameters(self) -> LayerHyperparameters:
        """Of one policy's runs `[run]`: the table that `OpenLoop` replays, without diverged runs unless all are."""
        kept = ~np.asarray(self.diverged)
        include = kept if kept.any() else ~kept

        def mean(values: Float[Array, "run decision layer"]) -> Float[np.ndarray, "decision layer"]:
            return np.asarray(mean_schedule(np.swapaxes(values, 0, 1), include))

        return LayerHyperparameters(mean(self.rates), mean(self.forgetting))


def run_training(
    env: Env,
    policy: Policy,
    key: PRNGKeyArray,
    initial_rate: Float[Array, ""] | None = None,
    chunk: int | None = None,
) -> Curves:
    """One whole training under a policy, on all training examples: none is set aside for rewards.

    The points of the curves are taken on as many examples of the report split as the env has reward examples, the
    final numbers on the whole splits.

    Args:
      env: whose training it is.
      policy: sets the rates.
      key: decides the training; the policy's own randomness comes from it as well.
      initial_rate: instead of the drawn one.
      chunk: examples per pass in the final evaluation, to bound the memory.
    """
    dataset = env.training.family.dataset
    num_shown = min(env.num_reward or dataset.count(dataset.test), dataset.count(dataset.test))
    env = env.for_evaluation()
    state, _ = env.reset(jax.random.fold_in(key, 0), initial_rate)
    policy_key = jax.random.fold_in(key, 1)

    def shown(state: EnvState) -> dict[str, Array]:
        """One point of every curve; NaN once the training has diverged."""
        loss, accuracy = env.training.evaluate(state.inner, dataset.test, num_shown)
        point = {
            "train_loss": state.outcome.train_loss,
            "report_loss": loss,
            "report_accuracy": accuracy,
        }
        return {name: jnp.where(state.outcome.diverged, jnp.nan, x) for name, x in point.items()}

    def decide(carry, number):
        state, memory = carry
        step_key = jax.random.fold_in(policy_key, number)
        memory, decision = policy.act(memory, state.observation, step_key)
        state, _ = env.step(state, decision)
        seen = state.observation
        return (state, memory), (shown(state), seen.rates, seen.forgetting)

    memory, first = policy.init(state.observation), shown(state)
    (state, _), (points, rates, forgetting) = jax.lax.scan(
        decide, (state, memory), jnp.arange(env.num_decisions)
    )
    final_loss, final_accuracy = env.training.evaluate(
        state.inner, dataset.test, dataset.count(dataset.test), chunk
    )
    selection_loss, selection_accuracy = env.training.evaluate(
        state.inner, dataset.validation, dataset.count(dataset.validation), chunk
    )
    return Curves(
        **{name: jnp.concatenate([x[None], points[name]]) for name, x in first.items()},
        rates=rates,
        forgetting=forgetting,
        diverged=state.outcome.diverged | ~jnp.isfinite(selection_loss),
        initial_rate=state.inner.hyperparameters.initial_rate,
        final_loss=final_loss,
        final_accuracy=final_accuracy,
        selection_loss=selection_loss,
        selection_accuracy=selection_accuracy,
    )


def evaluate(
    env: Env,
    policies: Policy,
    keys: PRNGKeyArray,
    mesh: Mesh,
    *,
    initial_rates: Float[Array, " run"] | None = None,
    num_policies: int | None = None,
    mapping: Mapping = "auto",
    chunk: int | None = None,
) -> Curves:
    """Every policy in every run, in one jitted call over all devices; host arrays come back.

    The programs of the last few structures of networks and policies are kept (`programs.KEPT`).

    Args:
      env: whose trainings they are.
      policies: one policy, or (with `num_policies`) one whose leaves have a leading policy axis.
      keys: one per run, `[run]`.
      mesh: from `make_mesh`.
      initial_rates: one per run, instead of drawn ones.
      num_policies: size of the leading policy axis, None if there is none.
      mapping: over trainings.
      chunk: examples per pass in the final evaluation.

    Returns:
      Curves `[run, ...]`, or `[policy, run, ...]`.

    Raises:
      ValueError: `keys` is a single key.
    """
    if keys.ndim != 1:
        raise ValueError(
            f"`keys` must be one typed key per run, `[run]`; got the shape {keys.shape}: "
            "`jax.random.split(key, num_runs)` makes them."
        )
    runs, count = keys.shape[0], num_policies or 1
    total = runs * count
    rows = padded_rows(total, mesh)
    curves = _evaluate(
        env, policies, keys, initial_rates, jnp.asarray(rows // runs), jnp.asarray(rows % runs),
        mesh=mesh, batched=num_policies is not None, mapping=mapping, chunk=chunk,
    )  # fmt: skip
    let_go(_evaluate)
    shape = (runs,) if num_policies is None else (count, runs)
    return jax.tree.map(lambda x: x[:total].reshape(*shape, *x.shape[1:]), to_host(curves))


@partial(jax.jit, static_argnames=("mesh", "batched", "mapping", "chunk"))
def _evaluate(
    env: Env,
    policies: Policy,
    keys: PRNGKeyArray,
    initial_rates: Float[Array, " run"] | None,
    policy_rows: Array,
    run_rows: Array,
    *,
    mesh: Mesh,
    batched: bool,
    mapping: Mapping,
    chunk: int | None,
) -> Curves:
    def share(env: Any, policies: Any, keys: Any, rates: Any, policy_rows: Array, run_rows: Array):
        def one(policy_row: Array, run_row: Array) -> Curves:
            policy = jax.tree.map(lambda x: x[policy_row], policies) if batched else policies
            rate = None if rates is None else rates[run_row]
            return run_training(env, policy, keys[run_row], rate, chunk)

        return map_trainings(one, mapping, policy_rows, run_rows)

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(whole, whole, whole, whole, split, split),
        out_specs=split,
        check_vma=False,
    )(env, policies, keys, initial_rates, policy_rows, run_rows)
