r"""What a policy sets for each layer: the hyperparameters that cross the env's border.

A step takes each layer's weights $w$ along its optimizer's direction $d$ and lets them forget:

$$w \leftarrow e^{-\phi_l / T}\, w - \eta_l\, d$$

with the learning rate $\eta_l$, the **forgetting** $\phi_l$ in units of the whole training and $T$ its number of
steps. Under a constant $\phi$ and without gradients the weights shrink by $e^{-\phi}$ over the training, whatever
its length. It is decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101) by the rule of Wang and
Aitchison 2024 (arXiv:2405.13698), who set its memory in passes over the data and not in steps.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PyTree

from ganno_jax.inner.layers import LayerMap


@struct.dataclass
class LayerHyperparameters:
    """Hyperparameters of the coming env step: one row for all of it, or one for each inner step."""

    rates: Float[Array, "*inner_step layer"]  # learning rates, >= 0
    # Decay of the weights in units of the whole training, >= 0; None leaves its computation out.
    forgetting: Float[Array, "*inner_step layer"] | None = None


Decision = Float[Array, "*inner_step layer"] | LayerHyperparameters
"""What a policy decides: rates alone, or all hyperparameters."""


def as_hyperparameters(decision: Decision) -> LayerHyperparameters:
    """A policy's decision in full: one of rates alone lets nothing be forgotten."""
    return (
        decision if isinstance(decision, LayerHyperparameters) else LayerHyperparameters(decision)
    )


def by_inner_step(decision: Decision, num_steps: int, num_layers: int) -> LayerHyperparameters:
    """A policy's decision with a row for each inner step, `[inner_step, layer]`.

    Args:
      decision: rates, or all hyperparameters, each `[layer]` or `[inner_step, layer]`.
      num_steps: inner steps that the decision is for.
      num_layers: of the network.
    """
    shape = (num_steps, num_layers)
    return jax.tree.map(lambda x: _rows(x, shape), as_hyperparameters(decision))


def _rows(
    values: Float[Array, " layer"] | Float[Array, "inner_step layer"], shape: tuple[int, int]
) -> Float[Array, "inner_step layer"]:
    return jnp.broadcast_to(values, shape)


def forget(
    params: PyTree,
    layers: LayerMap,
    forgetting: Float[Array, " layer"],
    total_steps: int | Float[Array, ""],
) -> PyTree:
    r"""The change of one step by forgetting alone, $(e^{-\phi_l / T} - 1)\, w$; zero for what is no matrix.

    Biases, gains and other vectors are left alone: decaying them does not regularize, it moves functions.

    Args:
      params: $w$.
      layers: the groups of leaves, and which of them decay.
      forgetting: $\phi$, >= 0.
      total_steps: $T$, steps of the whole training.
    """
    change = jnp.expm1(-forgetting / total_steps)
    leaves, structure = jax.tree.flatten(params)
    changes = [
        layers.spread(change, i, leaf) * leaf if layers.decayed[i] else jnp.zeros_like(leaf)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, changes)
