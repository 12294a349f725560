"""The transformations of `control`, put together for one network: rates by a policy, and what guards them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from ganno_jax.door.checks import check_direction, check_params, check_state, check_update
from ganno_jax.door.clock import Clock
from ganno_jax.door.first_moments import store_first_moments
from ganno_jax.door.guard import back_off, limit_gradients
from ganno_jax.door.layer_finder import LayerFinder
from ganno_jax.door.meshes import mean_over, names_of, on_devices_of, over_explicit_mesh
from ganno_jax.door.numbers import check_count, check_number
from ganno_jax.door.rates import scale_by_policy
from ganno_jax.door.skip import skip_not_finite
from ganno_jax.door.state import ControlState, Outline
from ganno_jax.door.unit import usual_unit
from ganno_jax.inner import layers as layer_maps
from ganno_jax.inner.directions import Direction
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.splits import Layout
from ganno_jax.policies.base import Policy


class _Parts(NamedTuple):
    """For parameters that are split and stacked in one way."""

    direction: optax.GradientTransformation
    find_layers: Callable[[PyTree], LayerMap]
    transformation: optax.GradientTransformationExtraArgs
    layout: Layout | None


@dataclasses.dataclass(frozen=True, eq=False)
class Assembly:
    """What `control` makes; the settings are its arguments, explained there.

    Raises:
      ValueError: a setting is out of its range; numbers may be traced, as `optax.inject_hyperparams` makes them.
    """

    direction: optax.GradientTransformation | Direction
    policy: Policy
    clock: Clock
    layer_finder: LayerFinder
    initial_rate: float
    steps_per_epoch: float | None
    weight_decay: float | None
    num_measured: int
    mu_dtype: DTypeLike | None
    safety: bool

    def __post_init__(self):
        check_count("num_measured", self.num_measured)
        check_number("initial_rate", self.initial_rate)
        if self.steps_per_epoch is not None:
            check_number("steps_per_epoch", self.steps_per_epoch)
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, zero=True)
        if not isinstance(self.direction, optax.GradientTransformation | Direction):
            raise ValueError(
                "`direction` must be an Optax transformation, such as optax.trace(0.9), or a Direction; got "
                f"{getattr(self.direction, '__name__', repr(self.direction))}."
            )

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        """The whole of it; an update with arrays alone is compiled, once for each shape."""
        compiled = jax.jit(self.step)

        def update(
            gradient: PyTree,
            state: ControlState,
            params: PyTree | None = None,
            *,
            value: Array | float | None = None,
            **extra: Any,
        ) -> tuple[PyTree, ControlState]:
            check_update(gradient, params, value, extra)
            if value is not None:  # of one type, so that numbers of Python do not compile anew
                value = jnp.asarray(value, jnp.float32)
            arrays = all(
                isinstance(x, jax.Array | np.ndarray | int | float) for x in jax.tree.leaves(extra)
            )
            run = compiled if arrays else self.step
            return run(gradient, state, params, value, extra)

        return optax.GradientTransformationExtraArgs(self.init, update)

    def init(self, params: PyTree) -> ControlState:
        """The first state, once the direction has been tried."""
        check_params(params)
        params = _in_full_precision(params)
        check_direction(self._parts(params).direction, params)
        self.layer_finder.warn_of_likely_stacks(params)
        return self._started(params)

    def step(
        self,
        gradient: PyTree,
        state: ControlState,
        params: PyTree,
        value: Array | None,
        extra: dict[str, Any],
    ) -> tuple[PyTree, ControlState]:
        """One update.

        Args:
          gradient: of the structure of the parameters.
          state: from `init` or the last update.
          params: before the update.
          value: the training loss, a scalar, float32; None where it is not given.
          extra: further arguments of the direction and of the policy, by name.

        Returns:
          What is added to the parameters, in their precision, and the new state.
        """
        parts = self._parts(params)
        check_state(state, jax.eval_shape(self._started, _in_full_precision(params)))
        one = partial(_update, parts)
        return over_explicit_mesh(one, (params, state), gradient, state, params, value, extra)

    def _started(self, params: PyTree) -> ControlState:
        parts = self._parts(params)
        outline = Outline(parts.find_layers(params).names, self.clock)
        state = ControlState(outline, parts.transformation.init(params))
        return on_devices_of(params, state, parts.layout)

    def _parts(self, params: PyTree) -> _Parts:
        """What depends on how the parameters are split and stacked."""
        layout, stacks = self.layer_finder.layout(params), self.layer_finder.stacks(params)
        find_layers = partial(self.layer_finder.find, layout, stacks)
        ours = isinstance(self.direction, Direction)
        direction = self.direction.transformation(stacks, layout) if ours else self.direction
        if self.mu_dtype is not None:
            direction = store_first_moments(direction, self.mu_dtype)
        transformation = scale_by_policy(
            optax.with_extra_args_support(direction),
            self.policy,
            self.clock,
            find_layers,
            initial_rate=self.initial_rate,
            weight_decay=self._decay(),
            num_measured=self.num_measured,
            steps_per_epoch=0.0 if self.steps_per_epoch is None else self.steps_per_epoch,
        )
        if self.safety:
            transformation = back_off(transformation, self.clock.interval)
            transformation = usual_unit(limit_gradients(transformation))
            # From a finite gradient our own directions are finite.
            transformation = skip_not_finite(
                transformation, check_updates=not ours, over=names_of(layout)
            )
        return _Parts(direction, find_layers, transformation, layout)

    def _decay(self) -> float | None:
        """Per unit of rate; by default that of a `Direction`. None, also for 0, leaves the term out."""
        decay = self.weight_decay
        if decay is None and isinstance(self.direction, Direction):
            decay = self.direction.decoupled_decay
        return None if isinstance(decay, float | int) and decay == 0 else decay


def _update(
    parts: _Parts,
    gradient: PyTree,
    state: ControlState,
    params: PyTree,
    value: Array | None,
    extra: dict[str, Any],
) -> tuple[PyTree, ControlState]:
    """In full precision, with the updates in that of the parameters."""
    wide = _in_full_precision(params)
    gradient = jax.tree.map(lambda g, w: g.astype(w.dtype), gradient, wide)
    squares = layer_maps.squared_norms(gradient, parts.find_layers(wide))
    if value is not None:
        value = mean_over(jnp.asarray(value, jnp.float32), names_of(parts.layout))
    updates, new = parts.transformation.update(
        gradient, state.parts, wide, squares=squares, value=value, **extra
    )
    updates = jax.tree.map(lambda u, w: u.astype(jnp.asarray(w).dtype), updates, params)
    return updates, state._replace(parts=new)


def _in_full_precision(params: PyTree) -> PyTree:
    """Half-precision leaves as float32: moments and norms of squares underflow in float16."""
    return jax.tree.map(
        lambda w: jnp.asarray(w, jnp.promote_types(jnp.asarray(w).dtype, jnp.float32)), params
    )
