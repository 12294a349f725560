"""Sets that come as their authors' files: which files, where they may lie, and what is said when they are not there."""

from pathlib import Path
from typing import NamedTuple

from ganno_jax.tasks.sources import cifar, idx, text
from ganno_jax.tasks.sources.raw import ImageArrays


class Standard(NamedTuple):
    """What the message about a missing set says."""

    files: str
    url: str


_MNIST_FILES = ", ".join(f"{idx.file_name(stem)}[.gz]" for stem in idx.STEMS)
IMAGES = {
    "fashion_mnist": Standard(_MNIST_FILES, idx.URLS["fashion_mnist"]),
    "mnist": Standard(_MNIST_FILES, idx.URLS["mnist"]),
    "cifar10": Standard(
        f"{', '.join([*cifar.FOLDERS])} (a folder with all six batches), "
        f"{' or '.join(cifar.ARCHIVES)}",
        cifar.URL,
    ),
}
TEXTS = {"tinyshakespeare": Standard(text.FILE, text.URL)}


def _places(folder: Path, name: str) -> dict[Path, bool]:
    """Folders where raw files may lie, and whether the folder's name says which set they are."""
    spellings = {name, name.replace("_", "-")}
    manual = folder / "downloads" / "manual"
    named = [parent / spelling for parent in (folder, manual) for spelling in sorted(spellings)]
    places = dict.fromkeys([*named, folder / "downloads" / name / "manual"], True)
    return places | {folder: folder.name in spellings, manual: False}


def read_raw(folder: Path, name: str) -> ImageArrays | None:
    """A standard set from its authors' files, if they are somewhere in the folder."""
    for place, is_named in _places(folder, name).items():
        if name == "cifar10":
            if (source := cifar.find(place)) is not None:
                return cifar.read(source)
        elif (files := idx.find(place)) is not None:
            return idx.read(name, files, must_be_official=not is_named)
    return None


def find_text(folder: Path, name: str) -> Path:
    """The file of a text.

    Raises:
      FileNotFoundError: it is not in the folder.
    """
    for place in (folder, folder / "text", folder / name):
        if (place / TEXTS[name].files).is_file():
            return place / TEXTS[name].files
    raise FileNotFoundError(missing(folder, name, "texts are not downloaded"))


def missing(folder: Path, name: str, reason: str) -> str:
    """The one message for all sets that are not there.

    Args:
      folder: that was searched.
      name: of the set, in `IMAGES` or `TEXTS`.
      reason: why it was not downloaded.
    """
    standard = (IMAGES | TEXTS)[name]
    if name in TEXTS:
        return (
            f"data set {name!r} is not in {folder} ({reason}). Expected: {standard.files}, there "
            f"or in {folder / 'text'}. Either put the file there, from {standard.url}, or name the "
            "folder that has it, with `data_dir` (--data.dir) or TFDS_DATA_DIR."
        )
    return (
        f"data set {name!r} is not in {folder} ({reason}). Expected: a set prepared by TensorFlow "
        f"Datasets as array_record in {folder / name}, or the authors' files in {folder / name}: "
        f"{standard.files}. Either put those files there, from {standard.url}, or run once where "
        "there is a network, which downloads and prepares the set. Another folder is named with "
        "`data_dir` (--data.dir) or TFDS_DATA_DIR."
    )
