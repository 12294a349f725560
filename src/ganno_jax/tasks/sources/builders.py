"""Our own preparation of the standard image sets with TensorFlow Datasets, without TensorFlow.

The builders that come with TFDS need TensorFlow to unpack and to encode. These read the authors'
files with NumPy instead, from a folder or through TFDS' download manager (which checks them), and
write the same features under the same names and versions, as array_record.
"""

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from PIL import Image

from ganno_jax.tasks.sources import cifar, idx
from ganno_jax.tasks.sources.prepared import find
from ganno_jax.tasks.sources.raw import ImageArrays

_MANUAL = "Put the authors' files into the folder given as `manual_dir`."


class _ImageSet(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images with class ids; the subclasses say where the arrays come from."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = _MANUAL
    HOMEPAGE: ClassVar[str]
    CITATION: ClassVar[str]
    ADDRESS: ClassVar[str]  # of the download, or of its first part
    CLASS_NAMES: ClassVar[tuple[str, ...]]
    IMAGE_SHAPE: ClassVar[tuple[int, int, int]]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(self._features()),
            supervised_keys=("image", "label"),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
        )

    def _features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=self.IMAGE_SHAPE),
            "label": tfds.features.ClassLabel(names=list(self.CLASS_NAMES)),
        }

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        manual = None
        with contextlib.suppress(AssertionError):  # how the manager says that there is no folder
            manual = Path(dl_manager.manual_dir)
        arrays = self._read(dl_manager, manual)
        return {
            "train": self._generate_examples(arrays.train_images, arrays.train_labels, "train"),
            "test": self._generate_examples(arrays.test_images, arrays.test_labels, "test"),
        }

    def _generate_examples(self, images, labels, split: str) -> Iterator[tuple[int, dict]]:
        has_id = "id" in self._features()
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            example = {"image": picture, "label": int(label)}
            if has_id:
                example["id"] = f"{split}_{number:05d}"
            yield number, example

    def _read(self, dl_manager: tfds.download.DownloadManager, manual: Path | None) -> ImageArrays:
        """The arrays, from the files in `manual` if they are there, else by download."""
        raise NotImplementedError


class Mnist(_ImageSet, skip_registration=True):
    """MNIST: 70,000 grey images of handwritten digits, 28x28, 10 classes."""

    name = "mnist"
    ADDRESS = idx.URLS["mnist"]
    VERSION = tfds.core.Version("3.0.1")
    HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"
    CITATION = (
        "LeCun, Cortes, Burges: The MNIST database of handwritten digits, "
        "http://yann.lecun.com/exdb/mnist, 1998."
    )
    CLASS_NAMES = tuple("0123456789")
    IMAGE_SHAPE = (28, 28, 1)
    find_files = staticmethod(idx.find)

    def _read(self, dl_manager: tfds.download.DownloadManager, manual: Path | None) -> ImageArrays:
        files = self.find_files(manual) if manual else None
        if files is None:
            files = dl_manager.download(
                {stem: f"{self.ADDRESS}{idx.file_name(stem)}.gz" for stem in idx.STEMS}
            )
            files = {stem: Path(path) for stem, path in files.items()}
        return idx.read(self.name, files, must_be_official=False)


class FashionMnist(Mnist, skip_registration=True):
    """Fashion-MNIST: 70,000 grey images of clothes, 28x28, 10 classes."""

    name = "fashion_mnist"
    ADDRESS = idx.URLS["fashion_mnist"]
    VERSION = tfds.core.Version("3.0.1")
    HOMEPAGE = "https://github.com/zalandoresearch/fashion-mnist"
    CITATION = (
        "Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
        "Learning Algorithms, arXiv:1708.07747, 2017."
    )
    CLASS_NAMES = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )


class Cifar10(_ImageSet, skip_registration=True):
    """CIFAR-10: 60,000 colour images, 32x32, 10 classes."""

    name = "cifar10"
    ADDRESS = cifar.URL
    VERSION = tfds.core.Version("3.0.2")
    HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
    CITATION = (
        "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, "
        "University of Toronto, 2009."
    )
    CLASS_NAMES = cifar.CLASS_NAMES
    IMAGE_SHAPE = (32, 32, 3)
    find_files = staticmethod(cifar.find)

    def _features(self) -> dict[str, Any]:
        return {"id": tfds.features.Text(), **super()._features()}

    def _read(self, dl_manager: tfds.download.DownloadManager, manual: Path | None) -> ImageArrays:
        source = self.find_files(manual) if manual else None
        return cifar.read(source or Path(dl_manager.download(self.ADDRESS)))


BUILDERS = {builder.name: builder for builder in (Mnist, FashionMnist, Cifar10)}


def prepare(
    name: str,
    data_dir: str | Path,
    *,
    manual_dir: str | Path | None = None,
    max_examples: int | None = None,
) -> Path:
    """Write a standard set as array_record below `data_dir`, downloading it where need be.

    Args:
      name: `mnist`, `fashion_mnist` or `cifar10`.
      data_dir: where prepared sets are kept; must be writable.
      manual_dir: a folder with the authors' files, for machines without a network.
      max_examples: at most so many examples per split. The small set looks like the whole one to
        everything that reads this `data_dir`, so give it a folder of its own.

    Returns:
      The folder of the prepared version; nothing is done if it exists.

    Raises:
      ValueError: no such set, or damaged files.
      OSError: nothing in `manual_dir`, no network, or a folder that cannot be written to.
    """
    if name not in BUILDERS:
        raise ValueError(f"`name` must be one of {', '.join(sorted(BUILDERS))}; got {name!r}.")
    data_dir = Path(data_dir).expanduser()
    # One folder per set: the MNIST family's files have the same names.
    download_dir = data_dir / "downloads" / name
    manual_dir = Path(manual_dir).expanduser() if manual_dir else None
    if (place := find(data_dir, name)) is not None:
        return place
    if BUILDERS[name].find_files(manual_dir or download_dir / "manual") is None:
        if manual_dir is not None:
            raise FileNotFoundError(f"the authors' files of {name} are not in {manual_dir}.")
        _check_network(BUILDERS[name].ADDRESS)
    builder = BUILDERS[name](data_dir=data_dir, file_format="array_record")
    try:
        builder.download_and_prepare(
            download_dir=download_dir,
            download_config=tfds.download.DownloadConfig(
                manual_dir=manual_dir,
                max_examples_per_split=max_examples,
                try_download_gcs=False,
            ),
        )
    except tfds.download.DownloadError as error:
        raise OSError(str(error)) from error
    return Path(builder.data_dir)


def _check_network(address: str) -> None:
    """Ask for an address once: the download manager itself goes on trying for minutes.

    Raises:
      OSError: no answer. Any answer at all, also a refusal, means that there is a network.
    """
    request = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as answer:
        answer.close()
