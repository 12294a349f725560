"""Which layer each leaf of the parameters belongs to, which leaves decay, and how both are split over devices."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ganno_jax.door.meshes import layout_of
from ganno_jax.inner import layers as layer_maps
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.likely_stacks import likely_stacks
from ganno_jax.inner.splits import Layout, whole_shapes
from ganno_jax.inner.stacks import check_stacked, stacks_by_metadata
from ganno_jax.inner.upper_parts import spread

Layers = str | Callable[[tuple[str, ...]], str] | PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class LayerFinder:
    """What `control` is told of the layers; its attributes are arguments of `ganno_jax.control`, explained there."""

    layers: Layers
    stacked: Mapping[str, int] | None
    decay_mask: PyTree | Callable[[PyTree], PyTree] | None
    specs: PyTree | None
    _said: list[str] = dataclasses.field(default_factory=list, init=False)

    def layout(self, params: PyTree) -> Layout | None:
        """How the parameters are split; None where they are whole."""
        return layout_of(params, self.specs)

    def stacks(self, params: PyTree) -> Mapping[str, int]:
        """Number of leading axes that count layers, by the beginning of the path.

        Raises:
          ValueError: `stacked` is no such mapping, or stands beside labels.
        """
        if self.stacked is None:
            return stacks_by_metadata(params)
        check_stacked(self.stacked)
        if self.stacked and self._are_labels(params):
            raise ValueError(
                f"`stacked` and labels as `layers` do not go together; got {dict(self.stacked)}."
            )
        return self.stacked

    def likely(self, params: PyTree) -> str:
        """The argument `stacked=` that parameters call for where it is left out; else empty."""
        if self.stacked is not None or self._are_labels(params):
            return ""
        known = stacks_by_metadata(params)
        found = likely_stacks(params, known)
        return f"stacked={known | found}" if found else ""

    def warn_of_likely_stacks(self, params: PyTree) -> None:
        """Say, once, that parameters look stacked where nobody said whether they are."""
        likely = "" if self._said else self.likely(params)
        if likely:
            self._said.append(likely)
            warnings.warn(
                f"some parameters look like several layers in one array, and share one rate: give {likely}, or "
                "stacked={} if they are none.",
                stacklevel=3,
            )

    def find(self, layout: Layout | None, stacks: Mapping[str, int], params: PyTree) -> LayerMap:
        """The layers of parameters, as they are seen inside a step.

        Args:
          layout: of the parameters outside of the step, where their types and metadata show it.
          stacks: likewise.
          params: arrays or shapes.

        Returns:
          The layer of each leaf, and whether it decays.

        Raises:
          ValueError: `layers` is no rule that is known; see also `inner.layers`.
        """
        if layout is None:
            return self._find_whole(params, stacks)
        whole = whole_shapes(params, layout) if layout.by_hand else params
        return layer_maps.with_layout(self._find_whole(whole, stacks), params, layout)

    def _are_labels(self, params: PyTree) -> bool:
        """Whether `layers` is a tree of labels; a module of Equinox may be one, and is a function too."""
        layers = self.layers
        if isinstance(layers, str):
            return False
        return not callable(layers) or jax.tree.structure(layers) == jax.tree.structure(params)

    def _find_whole(self, params: PyTree, stacks: Mapping[str, int]) -> LayerMap:
        layers = self.layers
        if isinstance(layers, str):
            if layers != "module":
                raise ValueError(
                    f"`layers` must be 'module', a function or a label tree; got {layers!r}."
                )
            found = layer_maps.by_module(params, stacks)
        elif self._are_labels(params):
            found = layer_maps.by_labels(params, layers)
        else:
            found = layer_maps.by_path(params, layers, stacked=stacks)
        mask = self.decay_mask
        if mask is None:
            return found
        mask = mask(params) if callable(mask) else mask
        whole = jax.tree.leaves(spread("decay_mask", "booleans", mask, params))
        for keep in whole:
            if jnp.ndim(keep) or keep not in (0, 1):
                raise ValueError(
                    f"`decay_mask` must be a tree of booleans; it holds {keep!r:.100}."
                )
        return found.replace(decayed=tuple(map(bool, whole)))
