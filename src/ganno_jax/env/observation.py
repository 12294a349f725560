"""stub of the contract; the engine's author completes this file"""
import jax
from flax import struct
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class Observation:
    """What a policy sees before each decision. Everything is available to an Optax update."""

    features: Float[Array, "layer feature"]  # bounded, before the policy's normalizer
    mask: Bool[Array, " layer"]  # False for padding
    rates: Float[Array, " layer"]  # learning rates of the last env step; initial ones at reset
    initial_rate: Float[Array, ""]
    loss: Float[Array, ""]  # mean training loss of the last env step
    step: Int[Array, ""]  # inner steps done
    total_steps: Int[Array, ""]  # inner steps of the whole training
    interval: int = struct.field(pytree_node=False)  # inner steps per decision
