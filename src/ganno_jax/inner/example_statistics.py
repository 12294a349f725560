"""How the examples of a batch differ: the features of learned step-size controllers.

No gradient of a single example is ever formed: one forward-mode pass along the update gives the predicted change of
every example's loss.

References:
  Daniel, Taylor and Nowozin, "Learning step size controllers for robust neural network training", AAAI 2016; the
  features as restated by the re-implementation in DACBench.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganno_jax.inner.layers import LayerMap

EXAMPLE_FEATURES = ("change", "disagreement")
_LOWEST, _HIGHEST = 1e-20, 1e20

ExampleLossFn = Callable[[PyTree], Float[Array, " example"]]


def log_variance(values: Float[Array, "*batch example"]) -> Float[Array, "*batch"]:
    r"""$\log \frac1B \sum_i (x_i - \bar x)^2$ over the last axis, with the variance held within `[1e-20, 1e20]`.

    Equal values, and a batch of one, give $\log 10^{-20} = -46.1$; NaN stays NaN.
    """
    values = values.astype(jnp.float32)
    centered = values - jnp.mean(values, axis=-1, keepdims=True)
    return jnp.log(jnp.clip(jnp.mean(jnp.square(centered), axis=-1), _LOWEST, _HIGHEST))


def predicted_changes(
    loss_fn: ExampleLossFn, params: PyTree, updates: PyTree
) -> tuple[Float[Array, " example"], Float[Array, " example"]]:
    r"""Each example's loss $f_i$, and its first-order change $\nabla f_i \cdot \Delta w$, by one `jax.jvp`.

    Args:
      loss_fn: the loss of each example; whatever couples them (batch statistics) is differentiated too.
      params: $w$, before the step.
      updates: $\Delta w$, what the step adds.

    Raises:
      ValueError: the loss is not one number per example.
    """
    losses, changes = jax.jvp(loss_fn, (params,), (_as_tangents(params, updates),))
    _check_examples(losses)
    return losses, changes


def example_features(
    loss_fn: ExampleLossFn, params: PyTree, updates: PyTree, layers: LayerMap
) -> Float[Array, "layer 2"]:
    r"""$\log \mathrm{Var}_i(\nabla f_i \cdot \Delta w)$ and $\log \mathrm{Var}_i(f_i)$, the same for all layers.

    The first contains twice the logarithm of the learning rate, because $\Delta w = -\eta d$.

    Args:
      loss_fn: the loss of each example.
      params: $w$, before the step.
      updates: $\Delta w$.
      layers: the groups of leaves.
    """
    losses, changes = predicted_changes(loss_fn, params, updates)
    features = jnp.stack([log_variance(changes), log_variance(losses)])
    return jnp.broadcast_to(features, (layers.num_layers, 2))


def example_features_by_layer(
    loss_fn: ExampleLossFn, params: PyTree, updates: PyTree, layers: LayerMap
) -> Float[Array, "layer 2"]:
    r"""As `example_features`, the change of layer $l$ with $\Delta w$ restricted to that layer.

    Our extension of the published global feature. One tangent per layer: L forward-mode passes in one `vmap`, which
    share the forward pass. The changes of the layers add up to the change along the whole update.

    Args:
      loss_fn: from parameters to the loss of each example, `[example]`.
      params: before the update.
      updates: what is added to them, of their structure.
      layers: of the parameters.

    Returns:
      Of each layer the logarithm of the variance over examples of the predicted changes, and that of the losses.
    """
    updates = _as_tangents(params, updates)
    losses, _ = predicted_changes(loss_fn, params, updates)

    def change(layer: Array) -> Float[Array, " example"]:
        leaves, structure = jax.tree.flatten(updates)
        only = (jnp.arange(layers.num_layers) == layer).astype(jnp.float32)
        chosen = [layers.spread(only, i, leaf) * leaf for i, leaf in enumerate(leaves)]
        return jax.jvp(loss_fn, (params,), (jax.tree.unflatten(structure, chosen),))[1]

    changes = jax.vmap(change)(jnp.arange(layers.num_layers))
    disagreement = jnp.broadcast_to(log_variance(losses), (layers.num_layers,))
    return jnp.stack([log_variance(changes), disagreement], axis=-1)


def _as_tangents(params: PyTree, updates: PyTree) -> PyTree:
    return jax.tree.map(lambda w, u: u.astype(w.dtype), params, updates)


def _check_examples(losses: Array) -> None:
    if losses.ndim != 1:
        raise ValueError(
            "features of examples need a task that gives the loss of each example, [batch]; "
            f"its loss has shape {losses.shape}."
        )
