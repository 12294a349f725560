"""Presets of broad meta-training: one controller from many kinds of trainings. As in `presets`."""

import dataclasses

from experiments.configs.broad import (
    AT_FULL_SIZE,
    BroadConfig,
    BroadExperiment,
    SuiteConfig,
    SuiteExperiment,
)
from experiments.configs.config import (
    Scale,
)


def suite_of(name: str, controller: str) -> SuiteExperiment:
    """A suite of one controller, with the effort that suits the cost of its trainings.

    Args:
      name: one of `broad.SUITE_NAMES`.
      controller: name or file of the controller.
    """
    if name not in AT_FULL_SIZE:
        return SuiteExperiment(preset=name, controller=controller)
    compared = ("its base", "AdamW, tuned", "Muon, tuned", "AdamW 1e-3")
    effort = SuiteConfig(
        num_seeds=3, tuning_seeds=3, peak_factor=3.2, most_kept=2, schedules=False,
        methods=compared if name == "budgets" else (*compared, "AlgoPerf"),
    )  # fmt: skip
    return SuiteExperiment(preset=name, controller=controller, scale="medium", suite=effort)


def broad(scale: Scale = "small") -> BroadExperiment:
    """One controller from 25 kinds of trainings, then the development suite: other data or networks.

    Dense, convolutional and residual networks on digits and MNIST, seven optimizers, 90 to 3000
    steps. Paper: six larger kinds (whole images, up to 5,000 steps), more trainings per update, more updates, and
    the suite's large networks.
    Cost: small 27 minutes of training on two CPU cores, with compiling, and about 40 for the suite.
    Expected result: small 0.02 below the best tuned schedule on average, at or below it in 5 of 12 problems; of
    validation examples of the development problems, by which it was chosen (docs/looks.md).
    """
    if scale == "small":
        return BroadExperiment()
    settings = BroadConfig(num_updates=1000, num_envs=128, large=True)
    return BroadExperiment(scale=scale, broad=settings)


def nadamw(scale: Scale = "small") -> BroadExperiment:
    """A whole optimizer, direction included: the agents of `broad` over NAdamW in every kind of training.

    One direction has one best size of updates where seven have a tenfold range (docs/notes/ablations.md).
    Cost: small 22 minutes of training on two CPU cores, with compiling, and about 40 for the suite.
    Expected result: small level with the best tuned schedule on test examples of the development problems, 0.02 below
    it on average, tuned Muon 0.10 lower (docs/controllers.md). The 0.08 below and 11 of 12 problems that were said of
    it were of validation examples that chose its share of actions.
    """
    general = broad(scale)
    settings = dataclasses.replace(
        general.broad,
        direction="nadamw",
        momentum=0.8,
        second_decay=0.98,
        weight_decay=0.02,
        shape="warmup_linear",
        first_share=1.0,
        relative_size=0.12,
        action_share=0.5,
    )
    return dataclasses.replace(general, preset="nadamw", broad=settings)


def muon(scale: Scale = "small") -> BroadExperiment:
    """A whole optimizer over Muon: agents set the size of each layer's update and how much the layer forgets.

    Learned on 31 kinds of trainings of 90 to 12,000 steps, whose members differ in wrong labels, number of examples,
    scale of the weights and width, in some of them in the whole data set; in a fifth they do not see the loss.
    Cost: small 20 minutes of compiling and 30 updates of 80 s on two slow CPU cores; paper not measured yet.
    Expected result: small 0.07 below its base in the mean of 15 problems that were looked at, level in the median, by
    selection examples; of test examples: docs/results.md. One learner seed.
    """
    general = broad(scale)
    if scale == "small":
        general = dataclasses.replace(general, broad=BroadConfig(num_updates=30, own_runs=0))
    settings = dataclasses.replace(
        general.broad,
        actions="whole",
        families="horizons",
        hidden_loss=0.2,
        direction="muon",
        momentum=0.9,
        second_decay=0.98,
        shape="warmup_linear",
        first_share=1.0,
        sharing=0.0,
        relative_size=0.03,
        horizon_exponent=0.5,
        forgetting=0.42,
        epoch_exponent=0.85,
        coupling=0.25,
        alpha=2.0,
        action_share=1 / 3,
        initial_log_std=-1.0,
        noise_correlation=0.95,
        noise_shared=0.6,
        group_scale=True,
    )
    return dataclasses.replace(general, preset="muon", broad=settings)
