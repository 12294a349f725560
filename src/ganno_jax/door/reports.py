"""What `control` makes of a network, and what it does to it, for people and loggers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
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

    A layer's leaves stand in the order of its directions, with a semicolon where the next direction begins. Where
    parameters look like stacks that nobody named, the last line says which `stacked=` to give.

    Args:
      params: the network's, or their shapes.
      layers: as for `control`, like the two that follow.
      stacked: leading axes that count layers.
      decay_mask: which leaves decay; their names have a star.
      direction: as for `control`, or the controller that brings one; by default that of `ganno_jax.optimizer`. One of
        Optax has no name, so it is called "yours".

    Raises:
      ValueError: `direction` is none, or as of `control`.
    """
    finder = LayerFinder(layers, stacked, decay_mask, specs=None)
    stacked, likely = finder.stacks(params), finder.likely(params)
    found = finder.find(None, stacked, params)
    keyed = jax.tree_util.tree_leaves_with_path(params)
    paths = [path_names(path) for path, _ in keyed]
    shapes = [jnp.shape(leaf) for _, leaf in keyed]
    kinds = [
        kind_of(path, len(shape) - axes)
        for path, shape, axes in zip(paths, shapes, found.stacked, strict=True)
    ]
    whole = _whole_direction(direction)
    directions = [
        "yours" if whole is None else whole.of_leaf(path, shape, stack_axes(path, stacked))
        for path, shape in zip(paths, shapes, strict=True)
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
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {along:<{widths[2]}}  {size:>{widths[3]}}  {leaves}"
        for name, kind, along, size, leaves in rows
    ]
    return "\n".join([*lines, f"looks stacked: {likely}"] if likely else lines)


def metrics(state: Any) -> dict[str, float]:
    """Numbers for any logger, of the `control` inside an optimizer's state, wherever it stands there.

    `rate/LAYER` in force, `forgetting/LAYER` where a controller sets it, `action/LAYER` of agents, or where they
    have two `action_rate/LAYER` and `action_forgetting/LAYER`, means over the teams of an ensemble, and the counts of
    what guards it.

    Raises:
      ValueError: there is none in the state, or more than one; it is traced, or that of several trainings.
    """
    found = [x for x in _nodes(state) if isinstance(x, ControlState)]
    if len(found) != 1:
        raise ValueError(f"the state must hold one state of `control`; it holds {len(found)}.")
    one = found[0]
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(one)):
        raise ValueError(
            "`metrics` must be called outside of `jit` and `vmap`; got a state that is traced."
        )
    if jnp.ndim(one.step):
        raise ValueError(
            "`metrics` takes the state of one training, such as jax.tree.map(lambda x: x[0], state); got those of "
            f"several, with leading axes of {jnp.shape(one.step)}."
        )
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


def _whole_direction(
    direction: optax.GradientTransformation | Direction | Controller | None,
) -> Direction | None:
    """What the argument of `describe` stands for; None for a direction without a name."""
    direction = load(DEFAULT) if direction is None else direction
    if isinstance(direction, Controller):
        direction = direction.direction
    if direction is None or isinstance(direction, Direction):
        return direction
    if isinstance(direction, optax.GradientTransformation):
        return None
    raise ValueError(
        "`direction` must be an Optax transformation, a Direction or a Controller, such as ganno_jax.load('muon'); "
        f"got {direction!r:.100}."
    )


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
