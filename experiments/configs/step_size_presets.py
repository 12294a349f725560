"""Presets of step-size controllers.

`small` takes minutes on two CPU cores, `paper` is meant for one accelerator.
"""

from experiments.configs.config import NetworkConfig, Scale
from experiments.configs.preset_parts import images
from experiments.configs.step_size import StepSizeConfig, StepSizeExperiment


def step_size_digits(scale: Scale = "small") -> StepSizeExperiment:
    """Step-size controllers (five numbers, one global rate) for momentum and RMSprop on digits.

    Learned by REPS on MLPs 64-(8..32)-10, tested on an MLP 64-64-32-10 against static rates, tuned
    schedules and the shipped agents. Paper: more samples, tasks, iterations and seeds.
    Cost: small 61 s of search and 251 s of tests on two busy CPU cores; paper not measured yet.
    Expected result: small 2-4% test error and test losses of 0.2 to 0.4 from nearly any initial rate under RMSprop, of
    0.08 to 0.35 under momentum but from the smallest, where two of three seeds fail, and the largest; the best static
    rate 2.3% and 0.065.
    """
    config = StepSizeConfig(agents="digits")
    if scale == "paper":
        config = StepSizeConfig(
            num_samples=64,
            num_tasks=8,
            num_iterations=50,
            num_runs=32,
            tuning_runs=32,
            agents="digits",
        )
    return StepSizeExperiment("step_size_digits", scale, step_size=config)


def step_size_mnist(scale: Scale = "paper") -> StepSizeExperiment:
    """The published protocol: learned on random CNNs on MNIST, tested on a CNN of 20-50-500 filters.

    Daniel et al., AAAI 2016. Small: images of 10x10 pixels, learned on at most 6-12-32 filters, tested
    on 10-25-64, short trainings.
    Cost: small 81 s of search and 587 s of tests on two busy CPU cores; paper not measured yet.
    Expected result: small 8-9% test error from all but the largest initial rate under momentum, the best static rate
    9.4%, the best tuned schedule 5.0% (seed 0).
    """
    small = scale == "small"
    return StepSizeExperiment(
        "step_size_mnist",
        scale,
        data=images("mnist", small, 10),
        network=NetworkConfig("random_cnn", channels=(10, 25, 64) if small else (20, 50, 500)),
        step_size=_random_cnns(small, test_steps=2000),
    )


def step_size_cifar(scale: Scale = "paper") -> StepSizeExperiment:
    """As step_size_mnist, learned on MNIST too, tested on a CNN of 32-32-64-64 filters on CIFAR-10.

    With `--step_size.controllers runs/step_size_mnist` that run's controllers are tested and the
    figures have four panels. Published are 6,000 test steps for RMSprop and 12,000 for momentum; paper
    takes 12,000 for both. Small: images of 10x10 pixels, filters 8-8-16-16, short trainings.
    Cost: small 226 s of search and 682 s of tests on two busy CPU cores; paper not measured yet.
    Expected result: small about 65% to 71% test error for controlled RMSprop from all but the largest initial rate
    (docs/step_size_controllers.md).
    """
    small = scale == "small"
    return StepSizeExperiment(
        "step_size_cifar",
        scale,
        data=images("cifar10", small, 10),
        network=NetworkConfig("deep_cnn", channels=(8, 8, 16, 16) if small else (32, 32, 64, 64)),
        step_size=_random_cnns(small, test_steps=12_000),
    )


def _random_cnns(small: bool, test_steps: int) -> StepSizeConfig:
    """Learning on the random CNNs: every-step control at paper scale, as published."""
    if not small:
        return StepSizeConfig(
            family="random_cnn",
            family_data="mnist",
            data_fraction=(0.1, 0.5),
            num_steps=1000,
            interval=1,
            num_samples=64,
            num_tasks=8,
            num_iterations=50,
            num_judged=2048,
            test_steps=test_steps,
            test_batch_size=512,
            num_runs=10,
            chunk=1000,
            at_once=32,
        )
    return StepSizeConfig(
        family="random_cnn",
        family_data="mnist",
        data_fraction=(0.1, 0.5),
        most_filters=(6, 12, 32),
        fewest_filters=(2, 4, 8),
        batch_size=32,
        num_steps=200,
        fewest_steps=100,
        num_samples=16,
        num_tasks=4,
        num_iterations=8,
        num_judged=512,
        test_steps=250,
        test_batch_size=32,
        num_runs=3,
        tuning_runs=20,
        num_perturbed=5,
        perturbed_runs=1,
        chunk=500,
        agents="broad",
    )
