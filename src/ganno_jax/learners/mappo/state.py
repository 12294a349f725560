"""What changes while MAPPO learns."""

from typing import Any

from flax import struct
from jaxtyping import Array, Int, PRNGKeyArray

from ganno_jax.learners.mappo.rollout import RolloutState
from ganno_jax.policies.normalizer import Normalizer


@struct.dataclass
class LearnerState:
    """Everything that changes while learning."""

    params: dict[str, Any]  # "actor", and "critic" where it is a baseline
    optimizer_state: dict[str, Any]
    normalizer: Normalizer
    value_normalizer: Normalizer | None  # None without a critic
    rollouts: tuple[RolloutState, ...] | None  # None where every rollout is a whole episode
    update: Int[Array, ""]
    key: PRNGKeyArray
