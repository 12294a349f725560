r"""Action spaces around a base of relative size and forgetting, which scale with the layer, the budget and the data.

$\eta_l$ is the rate of layer $l$, $\phi_l$ its forgetting and $a_l$ the action of its agent, as in `env.actions`.
"""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ganno_jax.env.actions import RATES
from ganno_jax.env.base_shapes import shape_ahead
from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import LayerHyperparameters


@struct.dataclass
class RelativeUpdate:
    r"""The agent names the relative size of its layer's update; the rate follows from the layer's own scale.

    $\eta_l = \rho\, s(t/T) \exp(\alpha \tanh a_l)\, R_l^{\sigma-1} \bar R^{-\sigma}, \quad
    R_l = \max_{\text{windows so far}} \lVert d_l \rVert / \lVert w_l \rVert$

    where $d_l$ is the optimizer's direction, an old maximum fades (`Observation.largest_relative_steps`), $\bar R$ is
    the geometric mean over the layers and $\sigma$ is `sharing`. A layer that never had a direction, because it is
    frozen or the one after it starts at zero, has no $R_l$: it takes $\bar R$, the mean of the others. In the first
    window, when momenta have not built up and $R_l$ is that of one gradient, the rate is `first_share` of this.
    Independent of the scale of weights and gradients and of the optimizer, so it carries over between networks. The
    largest ratio instead of the last one: with the last, the rate rises as the gradients shrink, and the training ends
    in an explosion.

    With `sharing` 0 all layers change by the same share of their weights per step; with 1 they start from the same
    rate, which trains wide networks under SGD far better (docs/notes/ablations.md).

    References:
      The trust ratio: You, Gitman and Ginsburg 2017, arXiv:1708.03888; here with a learned numerator and the
      largest denominator.
    """

    schedule_fn: Callable[[Float[Array, ""]], Float[Array, ""]] = struct.field(pytree_node=False)
    alpha: float = 2.0
    relative_size: float = 0.05
    first_share: float = 0.1
    sharing: float = 0.0  # of the denominator, [0, 1]: 0 each layer's own, 1 one for all
    # The size is that of a training of `REFERENCE_STEPS`; in one of T it is (REFERENCE_STEPS / T)^this times as large.
    horizon_exponent: float = 0.0
    # One rate for all layers: their mean action, and `sharing` 1.
    shared: bool = struct.field(pytree_node=False, default=False)
    lowest: float = 1e-7
    highest: float = 10.0
    num_actions: int | None = struct.field(pytree_node=False, default=None)
    neutral: ClassVar[float] = 0.0
    sets: ClassVar[tuple[str, ...]] = RATES

    def __post_init__(self):
        sharing = self.sharing
        # What is traced is not known.
        if isinstance(sharing, int | float) and not 0 <= sharing <= 1:
            raise ValueError(f"`sharing` must be in [0, 1]; got {sharing}.")

    def apply(
        self, observation: Observation, action: Float[Array, " layer"]
    ) -> Float[Array, " layer"]:
        """The rates for the coming env step, within `[lowest, highest]`."""
        base = self.relative_size * shape_ahead(self.schedule_fn, observation)
        base *= (REFERENCE_STEPS / observation.total_steps) ** self.horizon_exponent
        base = base * jnp.where(observation.step == 0, self.first_share, 1.0)
        log_ratios, mean = known_log_ratios(observation.largest_relative_steps)
        sharing = 1.0 if self.shared else self.sharing
        log_ratios += sharing * (mean - log_ratios)
        if self.shared:
            action = jnp.mean(action)
        rates = base * jnp.exp(self.alpha * jnp.tanh(action) - log_ratios)
        return jnp.clip(rates, self.lowest, self.highest)

    def with_size(self, relative_size: float) -> "RelativeUpdate":
        """The same around another base."""
        return self.replace(relative_size=relative_size)

    def with_share(self, share: float) -> "RelativeUpdate":
        """The same with this share of the actions' bound."""
        return self.replace(alpha=share * self.alpha)


@struct.dataclass
class Forgetting:
    r"""The agent names how much its layer forgets, around a law of how often examples are seen.

    $\phi_l = 2 \kappa\, s(t/T) \max(1, E)^{\gamma} \exp(\beta \tanh a_l)$

    $E$ is the number of passes over the data in the whole training, 1 where it is not known. The base schedule $s$ has
    a mean of about one half, so that $\kappa$ is what is forgotten over a whole training of one pass.

    References:
      A memory of so many passes over the data: Wang and Aitchison 2024, arXiv:2405.13698.
    """

    schedule_fn: Callable[[Float[Array, ""]], Float[Array, ""]] = struct.field(pytree_node=False)
    alpha: float = 2.0
    kappa: float = 1.0
    epoch_exponent: float = 0.45
    highest: float = 100.0
    num_actions: int | None = struct.field(pytree_node=False, default=None)
    neutral: ClassVar[float] = 0.0
    sets: ClassVar[tuple[str, ...]] = ("forgetting",)

    def __post_init__(self):
        for name in ("kappa", "epoch_exponent"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value >= 0:  # what is traced is not known
                raise ValueError(f"`{name}` must be at least 0; got {value}.")

    def apply(
        self, observation: Observation, action: Float[Array, " layer"]
    ) -> Float[Array, " layer"]:
        """The forgetting of the coming env step, within `[0, highest]`."""
        base = 2 * self.over_training(observation) * shape_ahead(self.schedule_fn, observation)
        return jnp.minimum(base * jnp.exp(self.alpha * jnp.tanh(action)), self.highest)

    def over_training(self, observation: Observation) -> Float[Array, ""]:
        r"""What the base forgets over the whole training, $\kappa \max(1, E)^{\gamma}$."""
        steps = jnp.asarray(observation.steps_per_epoch, jnp.float32)
        passes = jnp.where(steps > 0, observation.total_steps / jnp.maximum(steps, 1e-6), 1.0)
        return self.kappa * jnp.maximum(passes, 1.0) ** self.epoch_exponent


@struct.dataclass
class WholeUpdate:
    r"""Each agent names the relative size of its layer's update and how much the layer forgets: two real numbers.

    Where the base forgets more, weights are smaller and what was learned must be learned again: its size is
    $(\kappa \max(1, E)^{\gamma})^{c}$ times as large, $c$ the `coupling`.
    """

    size: RelativeUpdate
    forgetting: Forgetting
    coupling: float = 0.0
    num_actions: int | None = struct.field(pytree_node=False, default=None)
    neutral: ClassVar[float] = 0.0
    sets: ClassVar[tuple[str, ...]] = ("rates", "forgetting")

    def apply(
        self, observation: Observation, action: Float[Array, "layer number"]
    ) -> LayerHyperparameters:
        """Rates and forgetting of the coming env step."""
        larger = self.forgetting.over_training(observation) ** self.coupling
        size = self.size.with_size(self.size.relative_size * larger)
        return LayerHyperparameters(
            size.apply(observation, action[..., 0]),
            self.forgetting.apply(observation, action[..., 1]),
        )

    def with_size(self, relative_size: float) -> "WholeUpdate":
        """The same around a base of another size."""
        return self.replace(size=self.size.with_size(relative_size))

    def with_forgetting(self, kappa: float) -> "WholeUpdate":
        """The same around a base that forgets so much in a training of one pass."""
        return self.replace(forgetting=self.forgetting.replace(kappa=kappa))

    def with_share(self, share: float) -> "WholeUpdate":
        """The same with this share of both actions' bounds."""
        forgetting = self.forgetting.replace(alpha=share * self.forgetting.alpha)
        return self.replace(size=self.size.with_share(share), forgetting=forgetting)


def part_of(
    space: RelativeUpdate | WholeUpdate,
    action_share: float,
    size_share: float,
    forgetting_share: float,
) -> RelativeUpdate | WholeUpdate:
    """The same space with less, or more, of its actions and of its base.

    Args:
      space: of the agents.
      action_share: of their log actions, >= 0.
      size_share: of the base's size, > 0.
      forgetting_share: of the base's forgetting, >= 0; without effect where there is none.
    """
    space = space.with_share(action_share)
    if not isinstance(space, WholeUpdate):
        return space.with_size(size_share * space.relative_size)
    space = space.with_size(size_share * space.size.relative_size)
    return space.with_forgetting(forgetting_share * space.forgetting.kappa)


def with_factors(
    space: RelativeUpdate | WholeUpdate,
    size: Float[Array, ""] | float,
    forgetting: Float[Array, ""] | float,
) -> RelativeUpdate | WholeUpdate:
    """The same space around a base of so many times the size and, apart from it, so many times the forgetting.

    Args:
      space: of the agents.
      size: factor, > 0.
      forgetting: factor, > 0; without effect where there is none. `part_of` would change the size with it.
    """
    coupling = space.coupling if isinstance(space, WholeUpdate) else 0.0
    return part_of(space, 1.0, size / forgetting**coupling, forgetting)


REFERENCE_STEPS = 600
"""Inner steps of the training for which `relative_size` is said."""
SMALLEST_SHARE = 1e-3
"""Of the largest relative step: one below that counts as none."""


def known_log_ratios(
    ratios: Float[Array, " layer"],
) -> tuple[Float[Array, " layer"], Float[Array, ""]]:
    """Logarithms of the layers' relative steps and their mean, which stands for those of layers that have none yet.

    One far below the largest, `SMALLEST_SHARE`, counts as none: a layer whose gradients hardly reach it would draw the
    mean down and the other layers' rates up, and its own rate would be far too large once they do.
    """
    known = ratios > jnp.maximum(1e-8, SMALLEST_SHARE * jnp.max(ratios))
    logs = jnp.log(jnp.where(known, ratios, 1.0))
    mean = jnp.sum(logs) / jnp.maximum(jnp.sum(known), 1)
    return jnp.where(known, logs, mean), mean
