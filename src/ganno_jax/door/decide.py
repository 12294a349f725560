"""A decision outside of the env: observe what an interval showed, and let the policy choose."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from ganno_jax.door.clock import Clock
from ganno_jax.door.policy_state import ASLEEP, Decided, RatesState
from ganno_jax.env.features import FEATURES
from ganno_jax.env.hidden_loss import without_loss
from ganno_jax.env.observation import Observation, observe
from ganno_jax.env.observation_memory import empty_memory
from ganno_jax.inner.hyperparameters import LayerHyperparameters, as_hyperparameters
from ganno_jax.inner.layers import LayerMap
from ganno_jax.inner.statistics import (
    LayerRecord,
    LossRecord,
    empty_layer_record,
    empty_loss_record,
    summarize,
)
from ganno_jax.policies.base import Policy, sets_of, shown


@dataclasses.dataclass(frozen=True, eq=False)
class Decider:
    """A policy, when it is asked, and what it is told of the training.

    Attributes:
      policy: from an observation to rates, with or without forgetting.
      clock: when decisions fall.
      initial_rate: what the policy starts from, > 0; may be traced.
      steps_per_epoch: updates in which the training examples are seen once; 0 where that is not known.
    """

    policy: Policy
    clock: Clock
    initial_rate: float
    steps_per_epoch: float

    def begin(self, params: PyTree, layers: LayerMap) -> Decided:
        """Before the first decision: all rates the initial one, and nothing seen."""
        rates = jnp.full(layers.num_layers, self.initial_rate, jnp.float32)
        placeholder = _placeholder(rates, self.clock)
        state = self.policy.init(placeholder)
        return Decided(
            decision=jnp.zeros((), jnp.int32),
            rates=rates,
            forgetting=jnp.zeros_like(rates) if "forgetting" in sets_of(self.policy) else None,
            features=placeholder.features,
            shown=_zeros_like_shown(self.policy, state, placeholder),
            policy=state,
            memory=empty_memory(layers.num_layers, rates[0]),
            largest_squares=jnp.zeros_like(rates),
            losses=empty_loss_record(),
            measured=empty_layer_record(params, layers),
        )

    def decide(
        self,
        state: RatesState,
        examples: Float[Array, "layer 2"] | None,
        window: tuple[LossRecord, LayerRecord],
        params: PyTree,
        layers: LayerMap,
    ) -> Decided:
        """Observe what the interval showed, and let the policy choose new rates.

        Args:
          state: at the update before which the decision falls.
          examples: features of the examples at the end of the interval; None for a training that gives none.
          window: losses and per-layer statistics of the interval.
          params: now.
          layers: of the parameters.

        Returns:
          The decision, with records that are empty again; of the types of `state.decided`.

        Raises:
          ValueError: the policy gives rates of another number of layers.
        """
        before = state.decided
        summary = summarize(*window, params, layers).replace(example_features=examples)
        memory, observation = observe(
            before.memory,
            summary,
            _in_force(state),
            jnp.asarray(self.initial_rate, jnp.float32),
            state.step,
            jnp.int32(self.clock.total_steps),
            layers,
            self.clock.interval,
            self.steps_per_epoch,
        )
        has_loss = (window[0].count > 0) & (state.signed_loss == 0)
        features = jnp.where(has_loss, observation.features, without_loss(observation.features))
        observation = observation.replace(features=features)
        key = jax.random.key(0)
        policy_state, decision = self.policy.act(before.policy, observation, key)
        chosen = as_hyperparameters(decision)
        rates = chosen.rates
        if rates.shape != before.rates.shape:
            raise ValueError(
                f"a policy must give one rate for each of the {layers.num_layers} layers here; got shape {rates.shape}."
            )
        decided = Decided(
            decision=before.decision + 1,
            rates=rates,
            forgetting=chosen.forgetting,
            features=features,
            shown=shown(self.policy, before.policy, observation, key),
            policy=policy_state,
            memory=memory,
            largest_squares=state.largest_squares,
            losses=empty_loss_record(),
            measured=optax.tree.zeros_like(before.measured),
        )
        return _alike(decided, before)


def _in_force(state: RatesState) -> LayerHyperparameters:
    """What agents see of the last update's rates and forgetting; of a layer that is asleep what was decided for it.

    That it stands still they see by its gradients. No agent was trained with a rate of zero, and one of them would bend
    the mean with which all are compared.
    """
    asleep, decided = state.woken == ASLEEP, state.decided
    rates = jnp.where(asleep, decided.rates, state.rates_in_force)
    if decided.forgetting is None:
        return LayerHyperparameters(rates)
    return LayerHyperparameters(
        rates, jnp.where(asleep, decided.forgetting, state.forgetting_in_force)
    )


def _alike(new: Decided, old: Decided) -> Decided:
    """With the types of the other branch, whatever `jax_enable_x64` and `jax.shard_map` made of them."""
    return jax.tree.map(lambda a, b: jnp.where(True, a, b).astype(b.dtype), new, old)


def _zeros_like_shown(policy: Policy, state: Any, observation: Observation) -> dict[str, Array]:
    shapes = jax.eval_shape(lambda: shown(policy, state, observation, jax.random.key(0)))
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def _placeholder(rates: Float[Array, " layer"], clock: Clock) -> Observation:
    """Something of the shape of an observation, before there is one."""
    num_layers = rates.shape[0]
    return Observation(
        features=jnp.zeros((num_layers, len(FEATURES)), jnp.float32),
        mask=jnp.ones(num_layers, bool),
        rates=rates,
        largest_relative_steps=jnp.ones(num_layers, jnp.float32),
        initial_rate=rates[0],
        loss=jnp.zeros((), jnp.float32),
        step=jnp.zeros((), jnp.int32),
        total_steps=jnp.int32(clock.total_steps),
        interval=clock.interval,
    )
