"""A plain training loop as users of Optax write it: what any method does in many trainings.

Run r of every method is the same training: same task, initialization and batches, from the same key. All settings and
runs of a method are one compiled program.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ganno_jax.env.mapping import Mapping, auto_mapping, map_trainings
from ganno_jax.env.mesh import AXIS, padded_rows, to_host
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.inner.state import InnerState
from ganno_jax.inner.training import Training

Numbers = Any
"""A pytree of arrays with a leading setting axis; a program is told of one setting without it."""


@dataclasses.dataclass(frozen=True)
class LoopOptimizer:
    """A method as the loop takes it.

    Attributes:
      make_fn: `(numbers of one setting, state before the first step) -> transformation`, learning rate included,
        whose `update(grads, state, params, value=loss)` the loop calls.
      evaluation_params_fn: from optimizer state and trained parameters to those to evaluate, for methods that average.
      observe_fn: from the optimizer's state after a step to arrays, which are recorded for every step.
    """

    make_fn: Callable[[Numbers, InnerState], optax.GradientTransformationExtraArgs]
    evaluation_params_fn: Callable[[Any, Any], Any] | None = None
    observe_fn: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a training is and when it is looked at.

    Attributes:
      total_steps: of a training.
      num_marks: about so many times the report split is looked at on the way.
      mark_examples: of the report split, its first ones, per mark.
      chunk: examples per pass in evaluations, to bound the memory.

    Raises:
      ValueError: one of them is below 1.
    """

    total_steps: int
    num_marks: int = 30
    mark_examples: int = 256
    chunk: int = 1000

    def __post_init__(self):
        for name, count in dataclasses.asdict(self).items():
            if count < 1:
                raise ValueError(f"`{name}` must be at least 1; got {count}.")

    @property
    def segment(self) -> int:
        """Steps between two marks; the last segment may be shorter."""
        return math.ceil(self.total_steps / self.num_marks)

    @property
    def marks(self) -> Int[np.ndarray, " mark_plus_one"]:
        """Steps taken at every mark, 0 first."""
        inner = np.arange(0, self.total_steps, self.segment)
        return np.append(inner, self.total_steps)


def plan_of(training: Training, total_steps: int) -> Plan:
    """A plan whose marks cost a tenth of the steps at most: a step is counted as three passes forward."""
    examples = math.ceil(0.1 * 3 * training.batch_size * total_steps / 30)
    return Plan(total_steps, mark_examples=min(max(examples, 16), 2000))


@struct.dataclass
class LoopResult:
    """What happened in each run; losses are not logged. What was not asked for is NaN."""

    curve: Float[Array, "*run mark_plus_one"]  # report loss on `mark_examples`
    accuracy_curve: Float[Array, "*run mark_plus_one"]
    final_loss: Float[Array, "*run"]  # on the whole report split
    final_accuracy: Float[Array, "*run"]
    selection_loss: Float[Array, "*run"]  # on the whole selection split
    selection_accuracy: Float[Array, "*run"]
    first_loss: Float[Array, "*run"]  # training loss of the first batch, before any step
    observed: Any  # by `observe_fn` `[*run, step, ...]`, or None

    @property
    def diverged(self) -> Bool[np.ndarray, "*run"]:
        """Whether a final loss is not finite; NaN stands for a report loss that nobody asked for."""
        selection, report = np.asarray(self.selection_loss), np.asarray(self.final_loss)
        return ~np.isfinite(selection) | np.isinf(report)

    @property
    def selection_log_loss(self) -> Float[np.ndarray, "*run"]:
        """By which settings are chosen; a run that diverged costs its first training loss."""
        return log_losses(self.selection_loss, self.first_loss, self.diverged)


def train(
    training: Training,
    optimizer: LoopOptimizer,
    numbers: Numbers,
    key: PRNGKeyArray,
    plan: Plan,
    report: Bool[Array, ""] | bool = True,
) -> LoopResult:
    """One whole training.

    Args:
      training: the task family, the batch size; its own optimizer is used only if `make_fn` uses it.
      optimizer: the method.
      numbers: of one setting.
      key: decides the training; run r of `evaluate` has the same training for the same key.
      plan: its length and its marks.
      report: whether the report split is looked at; tuning does not.
    """
    family, dataset = training.family, training.family.dataset
    start = training.init(jax.random.fold_in(key, 0))
    transformation = optax.with_extra_args_support(optimizer.make_fn(numbers, start))
    evaluated = optimizer.evaluation_params_fn or (lambda state, params: params)

    def losses(state: InnerState, split: Any, count: int) -> tuple[Array, Array]:
        params = evaluated(state.optimizer_state, state.params)
        return training.evaluate(state.replace(params=params), split, count, plan.chunk)

    def reported(state: InnerState, count: int) -> tuple[Array, Array]:
        nothing = (jnp.float32(jnp.nan), jnp.float32(jnp.nan))
        return jax.lax.cond(report, lambda: losses(state, dataset.test, count), lambda: nothing)

    def step(number: Array, carry: Any, indices: Int[Array, "step batch"]) -> Any:
        state, first_loss, observed = carry
        loss, model_state, gradient = training.gradient(state, indices[number])
        updates, optimizer_state = transformation.update(
            gradient, state.optimizer_state, state.params, value=loss
        )
        if optimizer.observe_fn is not None:
            seen = optimizer.observe_fn(optimizer_state)
            observed = jax.tree.map(lambda all_, now: all_.at[state.step].set(now), observed, seen)
        first_loss = jnp.where(state.step == 0, loss, first_loss)
        state = state.replace(
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            optimizer_state=optimizer_state,
            step=state.step + 1,
        )
        return state, first_loss, observed

    def segment(carry: Any, length: Array) -> Any:
        # Indices of the whole segment before its loop, as in `Training.window`.
        indices = jax.vmap(
            lambda number: family.batch_indices(start.task, number, training.batch_size)
        )(carry[0].step + jnp.arange(plan.segment))
        carry = jax.lax.fori_loop(0, length, partial(step, indices=indices), carry)
        return carry, reported(carry[0], min(plan.mark_examples, dataset.count(dataset.test)))

    state = start.replace(optimizer_state=transformation.init(start.params))
    carry = (state, jnp.zeros((), jnp.float32), _room(optimizer, state, plan.total_steps))
    # The first segment is empty: every part of the program stands in it once, which compiles faster.
    lengths = jnp.asarray(np.diff(plan.marks, prepend=0))
    (state, first_loss, observed), curves = jax.lax.scan(segment, carry, lengths)
    selection = losses(state, dataset.validation, dataset.count(dataset.validation))
    final = reported(state, dataset.count(dataset.test))
    return LoopResult(
        curve=curves[0],
        accuracy_curve=curves[1],
        final_loss=final[0],
        final_accuracy=final[1],
        selection_loss=selection[0],
        selection_accuracy=selection[1],
        first_loss=first_loss,
        observed=observed,
    )


def run(
    training: Training,
    optimizer: LoopOptimizer,
    numbers: Numbers,
    keys: PRNGKeyArray,
    settings: Int[np.ndarray, " row"],
    runs: Int[np.ndarray, " row"],
    plan: Plan,
    mesh: Mesh,
    *,
    report: bool = True,
    block: int = 10,
    mapping: Mapping = "auto",
) -> LoopResult:
    """Rows of (setting, run), `block` at a time over all devices of the mesh; host arrays `[row, ...]` come back.

    Calls that differ in their rows alone share one compiled program.

    Args:
      training: whose trainings they are.
      optimizer: the method.
      numbers: of all its settings.
      keys: one per run, `[run]`.
      settings: of each row.
      runs: of each row, places in `keys`.
      plan: of a training.
      mesh: from `make_mesh`.
      report: whether the report split is looked at.
      block: rows per call; a last call is filled up with rows that are thrown away.
      mapping: over trainings.
    """
    block = padded_rows(block, mesh).size
    if mapping == "auto":
        mapping = _mapping(training, optimizer, numbers, block // mesh.size)
    parts = []
    for first in range(0, settings.size, block):
        rows = first + np.arange(block)
        rows = np.where(rows < settings.size, rows, first)
        part = _run(
            training, numbers, keys, jnp.asarray(settings[rows]), jnp.asarray(runs[rows]),
            jnp.asarray(report), optimizer=optimizer, plan=plan, mesh=mesh, mapping=mapping,
        )  # fmt: skip
        parts.append(to_host(part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: settings.size], *parts)


@partial(jax.jit, static_argnames=("optimizer", "plan", "mesh", "mapping"))
def _run(
    training: Training,
    numbers: Numbers,
    keys: PRNGKeyArray,
    settings: Int[Array, " row"],
    runs: Int[Array, " row"],
    report: Bool[Array, ""],
    *,
    optimizer: LoopOptimizer,
    plan: Plan,
    mesh: Mesh,
    mapping: Mapping,
) -> LoopResult:
    def share(training, numbers, keys, settings, runs, report):
        def one(setting: Array, number: Array) -> LoopResult:
            chosen = jax.tree.map(lambda x: x[setting], numbers)
            return train(training, optimizer, chosen, keys[number], plan, report)

        return map_trainings(one, mapping, settings, runs)

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(whole, whole, whole, split, split, whole),
        out_specs=split,
        check_vma=False,
    )(training, numbers, keys, settings, runs, report)


def _room(optimizer: LoopOptimizer, state: InnerState, total_steps: int) -> Any:
    """Where the observations of all steps are written."""
    if optimizer.observe_fn is None:
        return None
    shapes = jax.eval_shape(optimizer.observe_fn, state.optimizer_state)
    return jax.tree.map(lambda x: jnp.zeros((total_steps, *x.shape), x.dtype), shapes)


def _mapping(training: Training, optimizer: LoopOptimizer, numbers: Numbers, rows: int) -> Mapping:
    """`auto_mapping` of the parameters and the optimizer's state of these trainings."""

    def states() -> Any:
        state = training.init(jax.random.key(0))
        one = jax.tree.map(lambda x: x[0], numbers)
        return state.params, optimizer.make_fn(one, state).init(state.params)

    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((rows, *x.shape), x.dtype), jax.eval_shape(states)
    )
    return auto_mapping(shapes)
