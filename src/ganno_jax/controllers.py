"""What a trained controller is; its file is `controller_files`."""

from collections.abc import Mapping
from typing import Any

from flax import struct

from ganno_jax.inner.directions import Direction
from ganno_jax.policies.base import Policy


@struct.dataclass
class Controller:
    """A trained policy with what is needed to use it, and where it comes from."""

    policy: Policy
    decisions: int = struct.field(pytree_node=False)  # per training, as it was trained
    provenance: Mapping[str, Any] = struct.field(pytree_node=False, default_factory=dict)
    # The one direction that it was trained with, which makes it a whole optimizer; None: it takes any.
    direction: Direction | None = struct.field(pytree_node=False, default=None)


def checked(controller: Controller) -> Controller:
    """The same; a `ValueError` for what is no controller, such as its name."""
    if not isinstance(controller, Controller):
        raise ValueError(
            "`controller` must be a Controller, such as ganno_jax.load('broad'); got "
            f"{type(controller).__name__}."
        )
    return controller
