"""The inner networks: Linen modules called as `module.apply(variables, x, train=..., width=...)`.

Submodules are named so that layers come out in the order of depth when sorted naturally.
Parameters are float32, He-normal before rectifiers, LeCun-normal elsewhere, biases zero. Only
`MLP`, `CNN` and `Autoencoder` take `width`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import linen as nn

from ganno_jax.tasks.networks.autoencoder import Autoencoder
from ganno_jax.tasks.networks.cart_pole import CartPole
from ganno_jax.tasks.networks.cnn import CNN, random_cnn
from ganno_jax.tasks.networks.mixer import Mixer
from ganno_jax.tasks.networks.mlp import MLP
from ganno_jax.tasks.networks.resnet import ResNet, resnet8, resnet14, resnet18, wide_resnet
from ganno_jax.tasks.networks.sequence import GRU, LSTM, Transformer
from ganno_jax.tasks.networks.tabular import Tabular
from ganno_jax.tasks.networks.vit import ViT

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "softmax": partial(MLP, features=()),
    "mlp": MLP,
    "cnn": CNN,
    "deep_cnn": partial(CNN, channels=(32, 32, 64, 64), pools=(1, 2, 1, 2)),
    "random_cnn": random_cnn,
    "resnet8": resnet8,
    "resnet14": resnet14,
    "resnet18": resnet18,
    "wide_resnet": wide_resnet,
    "vit": ViT,
    "mixer": Mixer,
    "tabular": Tabular,
    "gru": GRU,
    "lstm": LSTM,
    "transformer": Transformer,
    "autoencoder": Autoencoder,
    "cart_pole": CartPole,
}
"""By name what makes a network of its settings."""


def build(name: str, **settings: Any) -> nn.Module:
    """The network of that name.

    Args:
      name: one of `NETWORKS`.
      **settings: fields of its module, such as `num_classes`.

    Raises:
      ValueError: an unknown name, or sizes that make no network.
    """
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}; there are: {', '.join(NETWORKS)}.")
    return NETWORKS[name](**settings)


__all__ = [
    "CNN",
    "GRU",
    "LSTM",
    "MLP",
    "NETWORKS",
    "Autoencoder",
    "CartPole",
    "Mixer",
    "ResNet",
    "Tabular",
    "Transformer",
    "ViT",
    "build",
    "random_cnn",
    "resnet8",
    "resnet14",
    "resnet18",
    "wide_resnet",
]
