"""How one training advances: state, one step, a window of steps."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.inner.chunks import mean_in_chunks
from ganno_jax.inner.directions import InnerOptimizer
from ganno_jax.inner.example_statistics import example_features, example_features_by_layer
from ganno_jax.inner.hyperparameters import (
    Decision,
    LayerHyperparameters,
    as_hyperparameters,
    forget,
)
from ganno_jax.inner.layers import LayerMap, apply_rates, by_module
from ganno_jax.inner.sizes import sizes_in_use
from ganno_jax.inner.state import InnerMetrics, InnerState
from ganno_jax.inner.statistics import (
    LayerRecord,
    LossRecord,
    Summary,
    empty_layer_record,
    empty_loss_record,
    record_layers,
    record_loss,
    summarize,
)
from ganno_jax.inner.window import walk
from ganno_jax.tasks.dataset import Batch, Split
from ganno_jax.tasks.family import TaskFamily
from ganno_jax.tasks.task import Params, Task


@struct.dataclass
class Training:
    """The rules by which trainings of a family advance; shared by all of them. Made by `create`, which checks."""

    family: TaskFamily
    optimizer: InnerOptimizer
    batch_size: int = struct.field(pytree_node=False)
    layers: LayerMap
    # What step-size controllers see (`inner.example_statistics`): off or on; along each layer's update; of how many.
    example_features: bool = struct.field(pytree_node=False, default=False)
    example_features_by_layer: bool = struct.field(pytree_node=False, default=False)
    example_features_limit: int | None = struct.field(pytree_node=False, default=None)

    @classmethod
    def create(
        cls,
        family: TaskFamily,
        optimizer: InnerOptimizer,
        batch_size: int,
        layers: LayerMap | None = None,
    ) -> "Training":
        """Check the settings against the data and find the layers.

        Args:
          family: the trainings' problems and their data.
          optimizer: direction, and distributions of its numbers.
          batch_size: examples per step, from 1 to those of the training split.
          layers: which leaves form a layer; by default each module is one.

        Raises:
          ValueError: the batch is empty or larger than the training split, or `optimizer` is none of this library.
        """
        if not isinstance(optimizer, InnerOptimizer):
            raise ValueError(
                "`optimizer` must be an `InnerOptimizer`, such as "
                f"`directions.named('adam', LogUniform(1e-4, 0.1))`; got {type(optimizer).__name__}."
            )
        if not 1 <= batch_size <= family.num_examples:
            raise ValueError(
                f"the batch size must be between 1 and the {family.num_examples} training examples of "
                f"{family.dataset.name}; got {batch_size}."
            )
        if layers is None:
            shapes = jax.eval_shape(lambda key: family.sample(key).init(key)[0], jax.random.key(0))
            layers = by_module(shapes)
        return cls(family, optimizer, batch_size, layers)

    @property
    def num_layers(self) -> int:
        """Of the inner network."""
        return self.layers.num_layers

    def steps_per_epoch(self, task: Task) -> Float[Array, ""]:
        """Inner steps in which this task's training examples are seen once."""
        total = self.family.num_trainable if task.num_examples is None else task.num_examples
        return jnp.asarray(total, jnp.float32) / self.batch_size

    def with_example_features(
        self, *, by_layer: bool = False, limit: int | None = None
    ) -> "Training":
        """The same training, with what step-size controllers see: `inner.example_statistics`.

        They are taken in the last step of each window and cost up to two more forward passes there.

        Args:
          by_layer: the change along each layer's own update instead of the whole one.
          limit: use only so many examples of the batch, which makes them cheaper and noisier; all by default.

        Raises:
          ValueError: `limit` is below 2.
        """
        if limit is not None and limit < 2:
            raise ValueError(
                f"a variance over examples needs a `limit` of at least 2; got {limit}."
            )
        return self.replace(
            example_features=True,
            example_features_by_layer=by_layer,
            example_features_limit=limit,
        )

    def init(self, key: PRNGKeyArray, initial_rate: Float[Array, ""] | None = None) -> InnerState:
        """Draw a task, an optimizer's numbers and initial parameters; `initial_rate` overrides the drawn one."""
        task_key, numbers_key, init_key, step_key = jax.random.split(key, 4)
        task = self.family.sample(task_key)
        hyperparameters = self.optimizer.sample(numbers_key)
        if initial_rate is not None:
            hyperparameters = hyperparameters.replace(initial_rate=initial_rate)
        params, model_state = task.init(init_key)
        return InnerState(
            params=params,
            model_state=model_state,
            optimizer_state=self.optimizer.transformation(hyperparameters).init(params),
            step=jnp.zeros((), jnp.int32),
            task=task,
            hyperparameters=hyperparameters,
            key=step_key,
        )

    def gradient(
        self, state: InnerState, indices: Int[Array, " batch"]
    ) -> tuple[Float[Array, ""], Any, Params]:
        """Loss, new model state and gradient on the training examples at `indices`."""
        batch = self.family.train_batch(state.task, indices, state.step)
        key = jax.random.fold_in(state.key, state.step)
        (loss, (model_state, _)), gradient = jax.value_and_grad(state.task.loss, has_aux=True)(
            state.params, state.model_state, batch, key
        )
        return loss, model_state, gradient

    def inner_step(
        self, state: InnerState, decision: Decision, total_steps: int = 1
    ) -> tuple[InnerState, InnerMetrics]:
        """One optimizer step under hyperparameters `[layer]`; forgetting is spread over `total_steps`.

        Args:
          state: after the last step.
          decision: rates, or all hyperparameters, `[layer]`.
          total_steps: of the training, >= 1.
        """
        indices = self.family.batch_indices(state.task, state.step, self.batch_size)
        return self._step(state, as_hyperparameters(decision), indices, total_steps)

    def _step(
        self,
        state: InnerState,
        chosen: LayerHyperparameters,
        indices: Int[Array, " batch"],
        total_steps: int,
    ) -> tuple[InnerState, InnerMetrics]:
        loss, model_state, gradient = self.gradient(state, indices)
        transformation = self.optimizer.transformation(state.hyperparameters)
        direction, optimizer_state = transformation.update(
            gradient, state.optimizer_state, state.params, value=loss
        )
        updates = self._updates(state, direction, chosen.rates)
        if chosen.forgetting is not None:
            forgotten = forget(state.params, self.layers, chosen.forgetting, total_steps)
            updates = jax.tree.map(jnp.add, updates, forgotten)
        state = state.replace(
            params=jax.tree.map(lambda w, u: w + u.astype(w.dtype), state.params, updates),
            model_state=model_state,
            optimizer_state=optimizer_state,
            step=state.step + 1,
        )
        return state, InnerMetrics(loss, gradient, direction)

    def _updates(
        self, state: InnerState, direction: Params, rates: Float[Array, " layer"]
    ) -> Params:
        decays = self.optimizer.decays(state.hyperparameters, self.num_layers)
        return apply_rates(direction, self.layers, rates, state.params, decays)

    def window(
        self, state: InnerState, decision: Decision, num_measured: int, total_steps: int = 1
    ) -> tuple[InnerState, Summary]:
        """As many inner steps as `decision` has rows, `[inner_step, layer]`; the last `num_measured` are measured.

        Args:
          state: after the last window.
          decision: rates, or all hyperparameters; a weight change per unit of direction, >= 0.
          num_measured: from 1 to the number of rows.
          total_steps: of the training, >= 1, over which forgetting is spread.
        """
        chosen = as_hyperparameters(decision)
        # All of the window's indices before its loop: inside, XLA fuses their computation into the gather and
        # repeats it for every pixel, which doubles the step time of the digits MLP on a CPU.
        indices = jax.vmap(
            lambda step: self.family.batch_indices(state.task, step, self.batch_size)
        )(state.step + jnp.arange(chosen.rates.shape[0]))
        walked = walk(
            partial(self._step, total_steps=total_steps),
            state,
            chosen,
            indices,
            num_measured=num_measured,
            layers=self.layers,
            with_last_step=self.example_features,
        )
        summary = self._summarize(walked.losses, walked.record, walked.state)
        if walked.last_step is not None:
            rates, apart = chosen.rates[-1], len(indices) > 1
            features = self._example_features(*walked.last_step, rates, indices[-1], apart)
            summary = summary.replace(example_features=features)
        return walked.state, summary

    def _summarize(self, losses: LossRecord, record: LayerRecord, state: InnerState) -> Summary:
        # Where units are masked, features are those of the network that is really narrower.
        masked = self.family.width is not None
        sizes = sizes_in_use(state.params, self.layers) if masked else None
        return summarize(losses, record, state.params, self.layers, sizes)

    def _example_features(
        self,
        state: InnerState,
        direction: Params,
        rates: Float[Array, " layer"],
        indices: Int[Array, " batch"],
        apart: bool,
    ) -> Float[Array, "layer 2"]:
        """Of the step from `state` along `-rates * direction`, on its own batch; `apart` from a longer window."""
        # Gathered once more; in one program with the step, XLA keeps a single copy of the forward pass.
        indices = indices[: self.example_features_limit]
        batch = self.family.train_batch(state.task, indices, state.step)
        key = jax.random.fold_in(state.key, state.step)

        def losses(params: Params) -> Array:
            return state.task.example_losses(params, state.model_state, batch, key, True)[0]

        updates = self._updates(state, direction, rates)
        features = example_features_by_layer if self.example_features_by_layer else example_features
        take = partial(features, losses, state.params, updates, self.layers)
        if self.example_features_limit is None or not apart:
            return take()
        # Always taken, which XLA does not know: features of a part of the batch share nothing with the step, and among
        # its operations they made the CPU's schedule of a window of ten steps worse by more than they cost themselves.
        return jax.lax.cond(state.step >= 0, take, lambda: jnp.zeros((self.num_layers, 2)))

    def first_look(self, state: InnerState) -> Summary:
        """A summary before the first step: the loss and gradient of the first batch, no step taken."""
        indices = self.family.batch_indices(state.task, state.step, self.batch_size)
        loss, _, gradient = self.gradient(state, indices)
        transformation = self.optimizer.transformation(state.hyperparameters)
        direction, _ = transformation.update(
            gradient, state.optimizer_state, state.params, value=loss
        )
        record = empty_layer_record(state.params, self.layers)
        record = record_layers(record, gradient, direction, self.layers)
        losses = record_loss(empty_loss_record(), loss)
        summary = self._summarize(losses, record, state)
        if self.example_features:  # none before the first step
            summary = summary.replace(example_features=jnp.zeros((self.num_layers, 2)))
        return summary

    def measure(self, state: InnerState, batch: Batch) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean loss and accuracy of these examples; the accuracy is NaN where the task has none."""
        params, evaluation_params_fn = state.params, self.optimizer.evaluation_params_fn
        if evaluation_params_fn is not None:
            params = evaluation_params_fn(state.optimizer_state, params)
        loss, (_, metrics) = state.task.loss(params, state.model_state, batch, state.key, False)
        return loss, metrics.get("accuracy", jnp.full((), jnp.nan))

    def evaluate(
        self, state: InnerState, split: Split, num_examples: int, chunk: int | None = None
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean loss and accuracy over the first `num_examples` of a split; accuracy is NaN without one.

        Args:
          state: whose parameters are evaluated.
          split: of the data set.
          num_examples: from 1 to those of the split, or of the task's own data set in it.
          chunk: so many examples are evaluated at a time, what is left over after them, which bounds the memory; None
            for all.
        """

        def means(indices: Int[Array, " example"]) -> tuple[Array, Array]:
            own = self.family.of_set(state.task, split, indices)
            return self.measure(state, self.family.dataset.gather(split, own))

        return mean_in_chunks(means, num_examples, chunk)
