"""One training problem: a network's initialization and what it minimizes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ganno_jax.tasks.dataset import Batch

Params = Any
ModelState = Any
Metrics = dict[str, Array]
# (key, width) -> (params, model_state)
InitFn = Callable[[PRNGKeyArray, Array | None], tuple[Params, ModelState]]
# (params, model_state, batch, key, train, width) -> (losses, (model_state, metrics)); `losses` is the loss of
# each example, `[batch]`, or one number.
LossFn = Callable[..., tuple[Array, tuple[ModelState, Metrics]]]


@struct.dataclass
class Task:
    """A member of a family: the sampled numbers are arrays, the functions are shared by the family.

    `None` means that the family does not vary that number, and its code is left out of the program.
    """

    init_fn: InitFn = struct.field(pytree_node=False)
    loss_fn: LossFn = struct.field(pytree_node=False)
    key: PRNGKeyArray  # of the data: subset, order, label noise
    num_examples: Int[Array, ""] | None = None  # training examples in use, of those not set aside
    set_number: Int[Array, ""] | None = None  # of the family's data sets, where it has several
    label_noise: Float[Array, ""] | None = None  # probability of a wrong label; below 0 is none
    width: Float[Array, "..."] | None = None  # share of hidden units in use, in (0, 1]
    weight_scale: Float[Array, ""] | None = None  # factor on the initial kernels, > 0
    rescaling: Float[Array, ""] | None = None  # the network computes with `rescaling * params`, > 0

    def init(self, key: PRNGKeyArray) -> tuple[Params, ModelState]:
        """Initial parameters and model state (such as batch statistics).

        With `rescaling` s the parameters are divided by s, and multiplied by s in the loss: the same function,
        another sensitivity to steps (the augmentation of Metz et al. 2022, arXiv:2211.09760).
        """
        params, model_state = self.init_fn(key, self.width)
        if self.weight_scale is not None:
            params = jax.tree.map(lambda w: w * self.weight_scale if w.ndim > 1 else w, params)
        if self.rescaling is not None:
            params = jax.tree.map(lambda w: w / self.rescaling, params)
        return params, model_state

    def example_losses(
        self, params: Params, model_state: ModelState, batch: Batch, key: PRNGKeyArray, train: bool
    ) -> tuple[Array, tuple[ModelState, Metrics]]:
        """The loss of each example, `[batch]` (or one number, if the task gives only that).

        Args:
          params: of the network.
          model_state: what the network keeps beside them, such as running means; empty for most.
          batch: inputs and targets `[batch, ...]`.
          key: for dropout and noise.
          train: whether the network is trained, not evaluated.

        Returns:
          The losses, and the new model state with metrics such as the accuracy.
        """
        if self.rescaling is not None:
            params = jax.tree.map(lambda w: w * self.rescaling, params)
        return self.loss_fn(params, model_state, batch, key, train, self.width)

    def loss(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        key: PRNGKeyArray,
        train: bool = True,
    ) -> tuple[Float[Array, ""], tuple[ModelState, Metrics]]:
        """Mean loss over the batch, the new model state, and metrics.

        Args:
          params: of the network.
          model_state: what the network keeps besides, `{}` for most.
          batch: examples.
          key: for dropout and the like.
          train: False evaluates (running batch statistics, no dropout).
        """
        losses, auxiliary = self.example_losses(params, model_state, batch, key, train)
        return jnp.mean(losses), auxiliary
