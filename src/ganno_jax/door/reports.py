"""What `control` makes of a network, and what it does to it, for people and loggers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from ganno_jax.controller_files import load
from ganno_jax.controllers import Controller
from ganno_jax.door.layer_finder import LayerFinder, Layers
from ganno_jax.door.state import ControlState
from ganno_jax.inner.directions import Direction
from ganno_jax.inner.layer_names import is_norm, kind_of, path_names
from ganno_jax.inner.stacks import stack_axes
from ganno_jax.optimizer import DEFAULT


def describe(
    params: PyTree,
    *,
    layers: Layers = "module",
    stacked: Mapping[str, int] | None = None,
    decay_mask: PyTree | Callable[[PyTree], PyTree] | None = None,
    direction: optax.GradientTransformation | Direction | Controller | None = None,
) -> str:
    """A table of the layers as `control` sees them, first to last; print it.

    A layer's leaves stand in the order of its directions, with a semicolon where the next direction begins.

    Args:
      params: the network's, or their shapes.
      layers: as for `control`, like the two that follow.
      stacked: leading axes that count layers.
      decay_mask: which leaves decay; their names have a star.
      direction: as for `control`, or the controller that brings one; by default that of `ganno_jax.optimizer`. One of
        Optax has no name, so it is called "yours".
    """
    finder = LayerFinder(layers, stacked, decay_mask, specs=None)
    stacked = finder.stacks(params)
    direction = load(DEFAULT) if direction is None else direction
    if isinstance(direction, Controller):
        direction = direction.direction
    found = finder.find(None, stacked, params)
    keyed = jax.tree_util.tree_leaves_with_path(params)
    paths = [path_names(path) for path, _ in keyed]
    kinds = [
        kind_of(path, len(leaf.shape) - axes)
        for path, (_, leaf), axes in zip(paths, keyed, found.stacked, strict=True)
    ]
    directions = [
        direction.of_leaf(path, leaf.shape, stack_axes(path, stacked))
        if isinstance(direction, Direction)
        else "yours"
        for path, (_, leaf) in zip(paths, keyed, strict=True)
    ]
    rows = [("layer", "kind", "direction", "parameters", "leaves (* decayed)")]
    for name, group, size in zip(found.names, found.leaves, found.sizes, strict=True):
        alone = "norm" if is_norm(name, {paths[i][-1] for i in group}) else "vector"
        matrices = [kinds[i] for i in group if kinds[i] != "vector"] or [alone]
        leaves: dict[str, list[str]] = {}
        for i in sorted(group, key=directions.__getitem__):
            leaves.setdefault(directions[i], []).append(
                paths[i][-1] + ("*" if found.decayed[i] else "")
            )
        listed = "; ".join(map(", ".join, leaves.values()))
        rows.append((name, matrices[0], ", ".join(leaves), f"{size:,}", listed))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {along:<{widths[2]}}  {size:>{widths[3]}}  {leaves}"
        for name, kind, along, size, leaves in rows
    )


def metrics(state: Any) -> dict[str, float]:
    """Numbers for any logger, of the `control` inside an optimizer's state, wherever it stands there.

    `rate/LAYER` in force, `forgetting/LAYER` where a controller sets it, `action/LAYER` of agents, or where they
    have two `action_rate/LAYER` and `action_forgetting/LAYER`, means over the teams of an ensemble, and the counts of
    what guards it.

    Raises:
      ValueError: there is none in the state, or more than one.
    """
    found = [x for x in _nodes(state) if isinstance(x, ControlState)]
    if len(found) != 1:
        raise ValueError(f"the state must hold one state of `control`; it holds {len(found)}.")
    one = found[0]
    rates = np.asarray(one.by_policy.rates_in_force)
    numbers = {f"rate/{n}": float(r) for n, r in zip(one.layer_names, rates, strict=True)}
    if one.forgetting is not None:
        forgetting = zip(one.layer_names, np.asarray(one.forgetting), strict=True)
        numbers |= {f"forgetting/{n}": float(f) for n, f in forgetting}
    for title, actions in _actions(one).items():
        named = zip(one.layer_names, actions, strict=True)
        numbers |= {f"{title}/{n}": float(a) for n, a in named}
    for name in ("step", "overrun", "skipped", "limited", "spikes", "backoff", "signed_loss"):
        numbers[name] = float(getattr(one, name))
    return numbers


def _actions(state: ControlState) -> dict[str, np.ndarray]:
    """Of each layer, by what they set."""
    if state.actions is None:
        return {}
    actions, count = np.asarray(state.actions), len(state.layer_names)
    if state.forgetting is not None and actions.shape[-2:] == (count, 2):
        rate, forgetting = actions.reshape(-1, count, 2).mean(0).T
        return {"action_rate": rate, "action_forgetting": forgetting}
    return {"action": actions.reshape(-1, count).mean(0)}


def _nodes(state: Any) -> list[Any]:
    return jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, ControlState))
