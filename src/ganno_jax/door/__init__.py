"""A policy as an Optax transformation, made of small ones: rates by a policy, and what guards them."""

from ganno_jax.door.guard import back_off, limit_gradients
from ganno_jax.door.horizon import extend
from ganno_jax.door.rates import scale_by_policy
from ganno_jax.door.skip import skip_not_finite
from ganno_jax.door.unit import usual_unit

__all__ = [
    "back_off",
    "extend",
    "limit_gradients",
    "scale_by_policy",
    "skip_not_finite",
    "usual_unit",
]
