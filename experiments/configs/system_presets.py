"""Presets of step-size controllers and of searches of update rules.

`small` takes minutes on two CPU cores, `paper` is meant for one accelerator.
"""

from experiments.configs.config import DataConfig, NetworkConfig, Scale
from experiments.configs.systems import (
    RuleSearchConfig,
    RuleSearchExperiment,
    StepSizeConfig,
    StepSizeExperiment,
)


def step_size_digits(scale: Scale = "small") -> StepSizeExperiment:
    """Step-size controllers (five numbers, one global rate) for momentum and RMSprop on digits.

    Learned by REPS on MLPs 64-(8..32)-10, tested on an MLP 64-64-32-10 against static rates, tuned
    schedules and the shipped agents. Paper: more samples, tasks, iterations and seeds.
    Cost: small 99 s of search and 132 s of tests on two busy CPU cores; paper not measured yet.
    Expected result: small 2-3% test error from any initial rate but momentum's largest; the best static
    rate 1.7% (seed 0).
    """
    config = StepSizeConfig(agents="digits")
    if scale == "paper":
        config = StepSizeConfig(
            num_samples=64,
            num_tasks=8,
            num_iterations=50,
            num_runs=32,
            tuning_runs=8,
            agents="digits",
        )
    return StepSizeExperiment("step_size_digits", scale, step_size=config)


def step_size_mnist(scale: Scale = "paper") -> StepSizeExperiment:
    """The published protocol: learned on random CNNs on MNIST, tested on a CNN of 20-50-500 filters.

    Daniel et al., AAAI 2016. Small: images of 10x10 pixels, learned on at most 6-12-32 filters, tested
    on 10-25-64, short trainings.
    Cost: small 134 s of search and 483 s of tests on two busy CPU cores; paper not measured yet.
    Expected result: small 6-8% test error from all but the largest initial rate under momentum, the best
    static rate 8.0% (seed 0), which was still chosen by these very runs.
    """
    small = scale == "small"
    return StepSizeExperiment(
        "step_size_mnist",
        scale,
        data=_images("mnist", small, 10),
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
        data=_images("cifar10", small, 10),
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
        tuning_runs=1,
        num_perturbed=5,
        perturbed_runs=1,
        chunk=500,
        agents="broad",
    )


def search_digits(scale: Scale = "small") -> RuleSearchExperiment:
    """Search of update rules on an MLP 64-32-10 on digits, compared on an MLP 64-64-32-10.

    Random search gets a share of the budget as a control. Paper: more rules, steps and seeds.
    Cost: small 83 s of search and 172 s of comparison on two CPU cores beside other work; paper not measured yet.
    Expected result: small 98.2% test accuracy for the best found rule, RMSProp 98.4%, log test losses -2.97 and -2.90:
    level (seed 0).
    """
    config = RuleSearchConfig()
    if scale == "paper":
        config = RuleSearchConfig(
            budget=20_000, batch_size=64, num_steps=200, num_seeds=2, control_share=1.0, num_runs=64
        )
    return RuleSearchExperiment("search_digits", scale, search=config)


def search_fashion(scale: Scale = "small") -> RuleSearchExperiment:
    """Search of update rules on a two-layer CNN on Fashion-MNIST, compared on a residual network.

    Small: images of 14x14 pixels, 8 and 16 filters; ResNet-8 of 4 to 16 filters. Paper: whole
    images, 16 and 32 filters; ResNet-8 of 16 to 64.
    Cost: small 81 s of search and 304 s of comparison on two CPU cores; paper not measured yet.
    Expected result: small 71% to 77% test accuracy for the rules found, AdamW 75% (seed 0); measured when rules were
    still rewarded on the examples that choose rates.
    """
    small = scale == "small"
    return RuleSearchExperiment(
        "search_fashion",
        scale,
        data=_images("fashion_mnist", small, 14),
        network=NetworkConfig("cnn", channels=(8, 16) if small else (16, 32)),
        compared_network=NetworkConfig("resnet8", channels=(4,) if small else (16,)),
        search=RuleSearchConfig(
            budget=300 if small else 10_000,
            batch_size=16 if small else 64,
            child_batch_size=32 if small else 128,
            num_steps=80 if small else 400,
            num_reward=500 if small else 2000,
            compared_steps=250 if small else 10_000,
            tuning_runs=2,
            num_runs=6 if small else 8,
        ),
    )


def search_cifar(scale: Scale = "paper") -> RuleSearchExperiment:
    """The published protocol: rules searched on a two-layer ConvNet on CIFAR-10.

    Bello et al. 2017, arXiv:1709.07417: each rule sweeps seven rates for one epoch, then trains five
    epochs at the best; compared on a Wide-ResNet (here WRN-16-4 for 100 epochs; published are 300).
    Filters, batch size and epochs of the search are from memory, unverified; the ConvNet has no
    batch norm. Small: images of 16x16 pixels, 8 and 16 filters, sweeps of 20 and trainings of
    100 steps; ResNet-8 of 4 to 16 filters.
    Cost: small 133 s of search and 8 min of comparison on two CPU cores; paper not measured yet.
    Expected result: small about 33% test accuracy for the rules found, AdamW 36%, intervals of three points; measured
    when rules were still rewarded on the examples that choose rates.
    """
    small = scale == "small"
    return RuleSearchExperiment(
        "search_cifar",
        scale,
        data=_images("cifar10", small, 16),
        network=NetworkConfig("cnn", channels=(8, 16) if small else (32, 32)),
        compared_network=(
            NetworkConfig("resnet8", channels=(4,)) if small else NetworkConfig("wide_resnet")
        ),
        search=RuleSearchConfig(
            budget=200 if small else 10_000,
            batch_size=16 if small else 64,
            child_batch_size=32 if small else 100,
            sweep_steps=20 if small else 450,  # 45,000 training examples: one epoch
            num_steps=100 if small else 2250,
            num_reward=500 if small else 5000,
            control_share=0.25,
            compared_steps=250 if small else 45_000,
            tuning_runs=2 if small else 1,
            num_runs=6 if small else 4,
        ),
    )


def _images(name: str, small: bool, size: int) -> DataConfig:
    """A data set whole, or fewer examples of so many pixels a side."""
    return DataConfig(name, image_size=size, max_examples=6000) if small else DataConfig(name)
