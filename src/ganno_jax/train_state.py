"""Flax's `TrainState` for optimizers that look at the loss."""

from functools import partial
from typing import Any, Self

import optax
from flax.training import train_state
from jaxtyping import Array, Float, PyTree


class TrainState(train_state.TrainState):
    """Flax's, with the training loss handed over to the optimizer; an optimizer that looks at none ignores it.

    ```python
    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    state = state.apply_gradients(grads=grads, value=loss)
    ```
    """

    def apply_gradients(
        self, *, grads: PyTree, value: Float[Array, ""] | float, **kwargs: Any
    ) -> Self:
        """One update.

        Args:
          grads: of the structure of `params`.
          value: the training loss that they are of.
          **kwargs: further fields to replace.
        """
        tx = optax.with_extra_args_support(self.tx)
        told = self.replace(tx=tx._replace(update=partial(tx.update, value=value)))
        return train_state.TrainState.apply_gradients(told, grads=grads, **kwargs).replace(
            tx=self.tx
        )
