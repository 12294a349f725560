"""What every policy is: two pure functions and a state."""

from typing import Any, Protocol

from jaxtyping import Array, PRNGKeyArray

from ganno_jax.env.observation import Observation
from ganno_jax.inner.hyperparameters import Decision

PolicyState = Any


class Policy(Protocol):
    """Sets the learning rates of one training. Policies are frozen pytrees; their numbers may be batched."""

    def init(self, observation: Observation) -> PolicyState:
        """The memory before the first decision."""
        ...

    def act(
        self, state: PolicyState, observation: Observation, key: PRNGKeyArray
    ) -> tuple[PolicyState, Decision]:
        """Learning rates for the coming env step.

        Args:
          state: the memory after the last decision.
          observation: of the last env step; before the first, what one batch shows.
          key: for policies that draw; another one at each decision.

        Returns:
          The new memory, and rates (or all hyperparameters) `[layer]` held for the whole env step or
          `[inner_step, layer]`, one row per inner step (so that a schedule is followed exactly, whatever the
          decision interval).
        """
        ...


def shown(
    policy: Policy, state: PolicyState, observation: Observation, key: PRNGKeyArray
) -> dict[str, Array]:
    """What a policy wants logs to show of the decision that it takes here: its method `show`, where it has one.

    Args:
      policy: any.
      state: its memory before the decision.
      observation: at the decision.
      key: of the decision.

    Returns:
      Arrays by name; none for a policy without `show`.
    """
    show = getattr(policy, "show", None)
    return {} if show is None else show(state, observation, key)


def sets_of(policy: Policy) -> tuple[str, ...]:
    """The hyperparameters that a policy sets: its attribute `sets`, or the learning rates alone where it has none."""
    return getattr(policy, "sets", ("rates",))


def by_layer(policy: Policy) -> bool:
    """Whether a policy that sees the examples sees them layer by layer: its field `by_layer`, where it has one."""
    return getattr(policy, "by_layer", False)
