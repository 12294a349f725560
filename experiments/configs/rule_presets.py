"""Presets of searches of update rules.

`small` takes minutes on two CPU cores, `paper` is meant for one accelerator.
"""

from experiments.configs.config import NetworkConfig, Scale
from experiments.configs.preset_parts import images
from experiments.configs.rules import RuleSearchConfig, RuleSearchExperiment


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
        data=images("fashion_mnist", small, 14),
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
        data=images("cifar10", small, 16),
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
