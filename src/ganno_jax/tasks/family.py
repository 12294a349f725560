"""A family of training problems: same shapes, sampled numbers, one data set on the device."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.tasks import sampling
from ganno_jax.tasks.augmentation import CropsAndFlips
from ganno_jax.tasks.dataset import Batch, Dataset, Split, place
from ganno_jax.tasks.distributions import Distribution
from ganno_jax.tasks.example_losses import cross_entropy, squared_error
from ganno_jax.tasks.task import InitFn, LossFn, ModelState, Params, Task


@struct.dataclass
class TaskFamily:
    """Draws training problems and their batches.

    The data set is a leaf of the family and never of a task: a `vmap` over tasks shares it. With `num_reward` every
    task sets that many examples of the training split aside, others than the next task: they are in none of its
    batches, and what is learned about the examples of one task is of no use in another.
    """

    init_fn: InitFn = struct.field(pytree_node=False)
    loss_fn: LossFn = struct.field(pytree_node=False)
    dataset: Dataset
    data_fraction: Distribution | None = None  # share of the training split in use, (0, 1]
    # Probability of a wrong training label, at most 1; below 0 is none: half of the tasks of Uniform(-0.2, 0.2).
    label_noise: Distribution | None = None
    width: Distribution | None = None  # share of hidden units in use, (0, 1]
    weight_scale: Distribution | None = None  # factor on the initial kernels, > 0
    rescaling: Distribution | None = None  # see `Task.init`, > 0
    augmentation: CropsAndFlips | None = None  # of training batches, other ones in each step
    name: str = struct.field(pytree_node=False, default="task")
    # Training examples of each task that only pay whoever trains it; below the size of the split.
    num_reward: int = struct.field(pytree_node=False, default=0)

    @property
    def num_trainable(self) -> int:
        """Training examples that a task may use: all but those it sets aside."""
        return self.num_examples - self.num_reward

    @property
    def num_examples(self) -> int:
        """Training examples of one of the family's data sets, of which most families have one."""
        return self.dataset.count(self.dataset.train)

    @property
    def has_accuracy(self) -> bool:
        """Whether losses come with an accuracy."""

        def metrics(key: PRNGKeyArray) -> dict[str, Array]:
            task = self.sample(key)
            batch = self.dataset.gather(self.dataset.train, jnp.arange(1))
            params, model_state = task.init(key)
            return task.loss(params, model_state, batch, key, False)[1][1]

        return "accuracy" in jax.eval_shape(metrics, jax.random.key(0))

    def sample(self, key: PRNGKeyArray) -> Task:
        """Draw one training problem."""
        data_key, fraction_key, noise_key, width_key, scale_key, rescaling_key = jax.random.split(
            key, 6
        )
        num_examples = None
        if self.data_fraction is not None:
            fraction = self.data_fraction.sample(fraction_key)
            total = self.num_trainable
            num_examples = jnp.clip(jnp.round(fraction * total), 1, total).astype(jnp.int32)
        return Task(
            init_fn=self.init_fn,
            loss_fn=self.loss_fn,
            key=data_key,
            num_examples=num_examples,
            set_number=self.dataset.draw_set(jax.random.fold_in(key, 6)),
            label_noise=_draw(self.label_noise, noise_key),
            width=_draw(self.width, width_key),
            weight_scale=_draw(self.weight_scale, scale_key),
            rescaling=_draw(self.rescaling, rescaling_key),
        )

    def batch_indices(
        self, task: Task, step: Int[Array, ""], batch_size: int
    ) -> Int[Array, " batch"]:
        """Which training examples inner step `step` uses: a pure function of the task and the step.

        Each epoch visits every example in use exactly once, in a new order.

        Args:
          task: whose batches these are.
          step: the inner step, from 0.
          batch_size: examples per step.
        """
        total, some = self.num_examples, task.num_examples
        num_examples = jnp.int32(self.num_trainable) if some is None else some
        indices = sampling.batch_indices(step, batch_size, num_examples, task.key)
        if some is not None or self.num_reward:
            indices = sampling.subset(indices, total, task.key)
        return self.of_set(task, self.dataset.train, indices)

    def of_set(
        self, task: Task, split: Split, numbers: Int[Array, " example"]
    ) -> Int[Array, " example"]:
        """Where in a split some examples of the task's own data set stand.

        Args:
          task: which data set.
          split: of the family's data.
          numbers: of the examples, from 0 in each data set.
        """
        if task.set_number is None:
            return numbers
        return numbers + self.dataset.count(split) * task.set_number

    def reward_indices(self, task: Task) -> Int[Array, " reward"]:
        """Which training examples the task sets aside: the last places of the permutation whose first it uses."""
        total = self.num_examples
        numbers = sampling.subset(jnp.arange(self.num_trainable, total), total, task.key)
        return self.of_set(task, self.dataset.train, numbers)

    def reward_batch(self, task: Task) -> Batch:
        """The examples that the task sets aside, with their true labels."""
        return self.dataset.gather(self.dataset.train, self.reward_indices(task))

    def train_batch(
        self, task: Task, indices: Int[Array, " batch"], step: Int[Array, ""] | int = 0
    ) -> Batch:
        """These training examples as they are seen in a step, with the task's label noise.

        Args:
          task: whose training it is.
          indices: from `batch_indices`.
          step: the inner step, from 0; only an augmentation depends on it.
        """
        batch = self.dataset.gather(self.dataset.train, indices)
        if self.augmentation is not None:
            words = sampling.visit_words(step, indices.shape[0], task.key)
            batch = batch.replace(inputs=self.augmentation(batch.inputs, words))
        if task.label_noise is None:
            return batch
        targets = sampling.noisy_targets(
            batch.targets, indices, task.label_noise, self.dataset.num_classes, task.key
        )
        return batch.replace(targets=targets)


def _draw(distribution: Distribution | None, key: PRNGKeyArray) -> Float[Array, "..."] | None:
    return None if distribution is None else distribution.sample(key)


def _family(
    init_fn: Callable[..., Any],
    loss_fn: Callable[..., Any],
    dataset: Dataset,
    variation: Mapping[str, Any],
) -> TaskFamily:
    """Put the data in place, after a look at what cannot vary.

    Raises:
      ValueError: wrong labels are asked for where targets are no classes, or crops where inputs are no images.
    """
    if variation.get("augmentation") is not None:
        variation["augmentation"].check(dataset)
    if variation.get("label_noise") is not None and not dataset.num_classes:
        raise ValueError(
            f"`label_noise` draws other classes, but {dataset.name} has none: its targets are no class numbers."
        )
    return TaskFamily(init_fn, loss_fn, place(dataset), **variation)


def from_functions(
    init: Callable[[PRNGKeyArray], Params],
    loss: Callable[..., Any],
    dataset: Dataset,
    **variation: Any,
) -> TaskFamily:
    """A family from plain functions.

    Args:
      init: `init(key) -> params`.
      loss: `loss(params, batch)` or `loss(params, batch, key)`, the loss of each example `[batch]` or its mean;
        or a pair of that and a dict of metrics such as `{"accuracy": ...}`.
      dataset: what batches are drawn from.
      **variation: further fields of `TaskFamily`.
    """
    _require_parameters(jax.eval_shape(init, jax.random.key(0)))
    takes_key = len(inspect.signature(loss).parameters) > 2

    def init_fn(key: PRNGKeyArray, width: Array | None) -> tuple[Params, ModelState]:
        del width
        return init(key), {}

    def loss_fn(params, model_state, batch, key, train, width):
        del train, width
        result = loss(params, batch, key) if takes_key else loss(params, batch)
        losses, metrics = result if isinstance(result, tuple) else (result, {})
        return losses, (model_state, metrics)

    return _family(init_fn, loss_fn, dataset, variation)


def from_linen(
    module: nn.Module,
    dataset: Dataset,
    example_loss: Callable[..., tuple[Array, dict[str, Array]]] | None = None,
    **variation: Any,
) -> TaskFamily:
    """A family that trains a Linen module, by default as a classifier, or on squared errors for a regression.

    Args:
      module: called as `module(inputs)`; a `train` argument and a `width` argument are passed where it has them.
      dataset: what batches are drawn from.
      example_loss: `(outputs, batch) -> (losses [batch], metrics)`; by default `cross_entropy`, and
        `squared_error` where the data set has no classes.
      **variation: further fields of `TaskFamily`.
    """
    example_loss = example_loss or (cross_entropy if dataset.num_classes else squared_error)
    accepted = inspect.signature(type(module).__call__).parameters

    def options(train: bool, width: Array | None) -> dict[str, Any]:
        given = {"train": train, "width": width}
        return {name: value for name, value in given.items() if name in accepted}

    def init_fn(key: PRNGKeyArray, width: Array | None) -> tuple[Params, ModelState]:
        example = dataset.normalize(
            jnp.zeros((1, *dataset.input_shape), dataset.train.inputs.dtype)
        )
        variables = module.init({"params": key, "dropout": key}, example, **options(False, width))
        params = variables.get("params", {})
        return params, {name: value for name, value in variables.items() if name != "params"}

    def loss_fn(params, model_state, batch, key, train, width):
        variables = {"params": params, **model_state}
        mutable = list(model_state) if train else False
        result = module.apply(
            variables, batch.inputs, rngs={"dropout": key}, mutable=mutable, **options(train, width)
        )
        outputs, model_state = result if train else (result, model_state)
        losses, metrics = example_loss(outputs, batch)
        return losses, (model_state, metrics)

    _require_parameters(jax.eval_shape(lambda key: init_fn(key, None)[0], jax.random.key(0)))
    if variation.get("width") is not None and "width" not in accepted:
        raise ValueError(
            f"`width` varies, so {type(module).__name__}.__call__ needs a `width` argument."
        )
    return _family(init_fn, loss_fn, dataset, variation)


def from_nnx(
    make_module: Callable[[Any], Any],
    dataset: Dataset,
    example_loss: Callable[..., tuple[Array, dict[str, Array]]] | None = None,
    **variation: Any,
) -> TaskFamily:
    """A family that trains an NNX module, by default as a classifier, or on squared errors for a regression.

    Args:
      make_module: `make_module(nnx.Rngs) -> module`; the module is called with the inputs alone.
      dataset: what batches are drawn from.
      example_loss: as in `from_linen`.
      **variation: further fields of `TaskFamily`.
    """
    from flax import nnx

    example_loss = example_loss or (cross_entropy if dataset.num_classes else squared_error)
    graph, *shapes = nnx.split(nnx.eval_shape(lambda: make_module(nnx.Rngs(0))), nnx.Param, ...)

    def init_fn(key: PRNGKeyArray, width: Array | None) -> tuple[Params, ModelState]:
        del width
        _, params, rest = nnx.split(make_module(nnx.Rngs(key)), nnx.Param, ...)
        return nnx.to_pure_dict(params), {"rest": nnx.to_pure_dict(rest)}

    def loss_fn(params, model_state, batch, key, train, width):
        del key, width
        # Variables of their own in each call: NNX lets nobody change those made outside of a gradient.
        states = jax.tree.map(lambda x: x, shapes)
        for variables, values in zip(states, (params, model_state["rest"]), strict=True):
            nnx.replace_by_pure_dict(variables, values)
        module = nnx.merge(graph, *states)
        module.train() if train else module.eval()
        losses, metrics = example_loss(module(batch.inputs), batch)
        _, _, rest = nnx.split(module, nnx.Param, ...)
        return losses, ({"rest": nnx.to_pure_dict(rest)} if train else model_state, metrics)

    _require_parameters(jax.eval_shape(lambda key: init_fn(key, None)[0], jax.random.key(0)))
    return _family(init_fn, loss_fn, dataset, variation)


def _require_parameters(params: Params) -> None:
    if not jax.tree.leaves(params):
        raise ValueError(
            "the network has no parameters: there is no layer whose learning rate could be set."
        )
