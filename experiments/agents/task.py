"""What a configuration trains on: data, network, and the family of tasks that they make."""

from typing import Any

from flax import linen as nn

from experiments.configs.config import (
    Config,
    DataConfig,
    NetworkConfig,
    Range,
)
from ganno_jax.tasks import CropsAndFlips, Dataset, TaskFamily, from_linen, networks, sources
from ganno_jax.tasks.distributions import Distribution, LogUniform, Uniform


def load_data(data: DataConfig) -> Dataset:
    """The data set that the options name.

    Raises:
      ValueError, FileNotFoundError: as `sources.load`; there are no classes.
    """
    dataset = sources.load(
        data.name,
        data_dir=data.dir,
        path=data.path,
        max_examples=data.max_examples,
        image_size=data.image_size,
    )
    if dataset.num_classes < 2:
        raise ValueError(
            f"{dataset.name} has targets that are no class ids; these experiments train classifiers."
        )
    return dataset


# What each network takes of the `network` options; those that are not here are no classifiers of images or tables.
_TAKEN: dict[str, tuple[str, ...]] = {
    "softmax": (),
    "mlp": ("features", "activation", "dtype"),
    "cnn": ("channels", "activation", "route", "dtype"),
    "deep_cnn": ("channels", "activation", "route", "dtype"),
    "random_cnn": ("channels", "route", "dtype"),
    "resnet8": ("channels", "norm", "route", "dtype", "remat"),
    "resnet18": ("channels", "norm", "route", "dtype", "remat"),
    "wide_resnet": ("channels", "norm", "route", "dtype", "remat"),
    "vit": (),
}


_OF_TABLES = ("softmax", "mlp")  # all others are of images


def make_network(network: NetworkConfig, dataset: Dataset) -> nn.Module:
    """The network that the options describe, for a data set.

    Raises:
      ValueError: an unknown network, settings that it does not take, or data that it does not take.
    """
    if network.name in networks.NETWORKS and network.name not in _TAKEN:
        raise ValueError(
            f"network {network.name!r} is no classifier of images or tables, as these experiments train; "
            f"there are: {', '.join(_TAKEN)}."
        )
    if network.name in _TAKEN and network.name not in _OF_TABLES and len(dataset.input_shape) != 3:
        raise ValueError(
            f"network {network.name!r} needs images [height, width, channel]; {dataset.name} has inputs of "
            f"shape {dataset.input_shape}. For tables there are: {', '.join(_OF_TABLES)}."
        )
    settings = _network_settings(network)
    return networks.build(network.name, num_classes=dataset.num_classes, **settings)


def make_family(config: Config) -> TaskFamily:
    """The tasks of a configuration: its network on its data, varied as its settings say."""
    task, dataset = config.task, load_data(config.data)
    module = make_network(config.network, dataset)
    return from_linen(
        module,
        dataset,
        data_fraction=_varied(task.data_fraction, 1.0, LogUniform),
        label_noise=_varied(task.label_noise, 0.0, Uniform),
        weight_scale=_varied(task.weight_scale, 1.0, LogUniform),
        width=_varied(task.width, 1.0, Uniform),
        augmentation=CropsAndFlips(task.crop_padding, task.flip)
        if task.crop_padding or task.flip
        else None,
        name=f"{dataset.name}-{config.network.name}",
    )


def _network_settings(network: NetworkConfig) -> dict[str, Any]:
    """The settings that differ from the network's own, checked against what it takes."""
    given: dict[str, Any] = {
        "features": network.features,
        "channels": network.channels,
        "activation": network.activation,
        "norm": network.norm,
        "route": network.route,
        "dtype": network.dtype,
        "remat": network.remat,
    }
    given = {name: value for name, value in given.items() if value is not None}
    residual = network.name in ("resnet8", "resnet18", "wide_resnet")
    if residual and "channels" in given:
        if len(given["channels"]) != 1:
            raise ValueError(
                f"`network.channels` of a residual network is one number; got {given['channels']}."
            )
        given["channels"] = given["channels"][0]
    taken = _TAKEN.get(network.name, ())
    foreign = [name for name in given if name not in taken]
    if network.name in _TAKEN and foreign:
        raise ValueError(
            f"network {network.name!r} takes no `network.{foreign[0]}`; it takes: "
            f"{', '.join(taken) or 'nothing'} "
            f"(leave the preset's out with --network.{foreign[0]} None)"
        )
    return given


def _varied(bounds: Range, usual: float, kind: type[Distribution]) -> Distribution | None:
    return None if bounds == (usual, usual) else kind(*bounds)
