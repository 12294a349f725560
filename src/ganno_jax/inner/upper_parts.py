"""Settings for each parameter, given by trees of the parameters' structure or of its upper part."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree


def spread(
    name: str,
    kind: str,
    tree: PyTree,
    params: PyTree,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """The entry of the tree for each leaf of the parameters.

    Args:
      name: of the setting, for the message.
      kind: what the entries are, for the message.
      tree: of the structure of the parameters, or of their upper part.
      params: arrays or shapes.
      is_leaf: which nodes of the tree are entries.

    Raises:
      ValueError: the tree has another structure.
    """
    try:
        return jax.tree.map(
            lambda entry, part: jax.tree.map(lambda _: entry, part), tree, params, is_leaf=is_leaf
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`{name}` must be a tree of {kind} with the structure of the parameters, or of their upper part: "
            f"{jax.tree.structure(params)}; got {jax.tree.structure(tree, is_leaf=is_leaf)}."
        ) from error
