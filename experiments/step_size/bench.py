"""The test of a step-size controller: the runs that every policy meets, each seed from each initial rate."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from experiments.configs.step_size import StepSizeExperiment
from experiments.runs.streams import stream
from experiments.step_size.build import environment
from ganno_jax import evaluation
from ganno_jax.env import Env
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.inner import Training


@dataclass(frozen=True)
class Test:
    """The runs that every policy meets: each seed from each initial rate."""

    config: StepSizeExperiment
    optimizer: str
    training: Training
    mesh: Mesh

    @property
    def num_classes(self) -> int:
        """Of the data set."""
        return self.training.family.dataset.num_classes

    @property
    def env(self) -> Env:
        """As the controller sees it."""
        return self._env(self.config.step_size.by_layer)

    @property
    def env_of_references(self) -> Env:
        """For controllers with one rate."""
        return self._env(False)

    def _env(self, by_layer: bool) -> Env:
        part = self.config.step_size
        training = self.training.with_example_features(by_layer=by_layer, limit=part.limit)
        return environment(training, part.test_steps, part.interval)

    @property
    def rates(self) -> Float[np.ndarray, " rate"]:
        """Initial rates; RMSprop's useful rates are about a tenth of momentum's."""
        factor = 1.0 if self.optimizer == "momentum" else 0.1
        return factor * np.asarray(self.config.step_size.rates, np.float32)

    @property
    def seeds(self) -> PRNGKeyArray:
        """Of the reported runs."""
        part = self.config.step_size
        return jax.random.split(stream(part.seed, "test"), part.num_runs)

    @property
    def tuning_seeds(self) -> PRNGKeyArray:
        """Of the runs on which peaks and the best static rate are chosen."""
        part = self.config.step_size
        return jax.random.split(stream(part.seed, "tuning"), part.tuning_runs)

    def run(
        self,
        policy: Any,
        env: Env | None = None,
        seeds: PRNGKeyArray | None = None,
        **settings: Any,
    ) -> evaluation.Curves:
        """Every reported seed (or these) from every initial rate, `[rate * seed]`.

        Args:
          policy: what sets the rates.
          env: by default as the controller sees it.
          seeds: in the place of the reported ones.
          **settings: of `evaluation.evaluate`.
        """
        seeds = self.seeds if seeds is None else seeds
        return evaluation.evaluate(
            self.env if env is None else env,
            policy,
            jnp.tile(seeds, len(self.rates)),
            self.mesh,
            initial_rates=jnp.repeat(jnp.asarray(self.rates), len(seeds)),
            mapping=self.config.step_size.at_once or "auto",
            chunk=self.config.step_size.chunk,
            **settings,
        )

    def log_losses(self, curves: evaluation.Curves) -> np.ndarray:
        """On the report split."""
        return log_losses(curves.final_loss, math.log(self.num_classes), curves.diverged)

    def selection_losses(self, curves: evaluation.Curves) -> np.ndarray:
        """Log losses on the selection split, by which to choose."""
        return log_losses(curves.selection_loss, math.log(self.num_classes), curves.diverged)

    def by_rate(self, values: np.ndarray) -> np.ndarray:
        """`[rate * seed]` to `[rate, seed]`."""
        return np.asarray(values).reshape(len(self.rates), -1)

    def errors(self, curves: evaluation.Curves) -> np.ndarray:
        """Share of wrong classes on the report split; a diverged run counts as guessing."""
        broken = curves.diverged | ~np.isfinite(curves.final_loss)
        return np.where(broken, 1 - 1 / self.num_classes, 1 - curves.final_accuracy)
