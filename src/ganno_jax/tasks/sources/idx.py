"""The idx files of MNIST and of the sets that copy its format.

References:
  Format: "The MNIST database of handwritten digits", LeCun, Cortes, Burges 1998.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ganno_jax.tasks.sources.raw import ImageArrays, read_bytes

STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
NUM_CLASSES = 10
URLS = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
# MD5 of the unpacked files. The sets share their file names, and archives of the same content
# differ (time stamps, compressors), so a set is known by its content only.
OFFICIAL_MD5 = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion_mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


def file_name(stem: str) -> str:
    """The authors' name of a file, without `.gz`."""
    return f"{stem}-idx{3 if 'images' in stem else 1}-ubyte"


def find(place: Path) -> dict[str, Path] | None:
    """The four files of a set in a folder, gzipped or not; None unless all are there."""
    found = {}
    for stem in STEMS:
        name = file_name(stem)
        candidates = (f"{name}.gz", name, name.replace("-idx", ".idx"))
        found[stem] = next((place / c for c in candidates if (place / c).is_file()), None)
    return found if all(found.values()) else None


def read(name: str, files: Mapping[str, Path], must_be_official: bool) -> ImageArrays:
    """The arrays of set `name` from its four files.

    Args:
      name: `mnist` or `fashion_mnist`.
      files: path per stem, see `find`.
      must_be_official: for folders whose name does not say which set is in them.

    Raises:
      ValueError: a file is damaged, lengths differ, or the content is that of another set.
    """
    arrays = {}
    for number, stem in enumerate(STEMS):
        content = read_bytes(files[stem])
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        for other, digests in OFFICIAL_MD5.items():
            if other != name and digest == digests[number]:
                raise ValueError(f"{files[stem]}: expected {name}; the file is that of {other}.")
        if must_be_official and digest != OFFICIAL_MD5[name][number]:
            raise ValueError(
                f"{files[stem]}: several sets use this file name and this is not the original of "
                f"{name} (unpacked md5 {digest}, expected {OFFICIAL_MD5[name][number]}); if it is "
                f"meant, put it into a folder called {name}."
            )
        arrays[stem] = parse(content, 3 if "images" in stem else 1, files[stem])
    for part in ("train", "t10k"):
        images, labels = arrays[f"{part}-images"], arrays[f"{part}-labels"]
        if len(images) != len(labels):
            raise ValueError(
                f"{files[f'{part}-labels']}: expected {len(images)} labels, as many as there are "
                f"images beside it; got {len(labels)}."
            )
        if labels.size and labels.max() >= NUM_CLASSES:
            raise ValueError(
                f"{files[f'{part}-labels']}: expected labels below {NUM_CLASSES}; "
                f"got {labels.max()}."
            )
    return ImageArrays(
        arrays["train-images"][..., None],
        arrays["train-labels"],
        arrays["t10k-images"][..., None],
        arrays["t10k-labels"],
        NUM_CLASSES,
    )


def parse(content: bytes, num_axes: int, path: Path) -> UInt8[np.ndarray, "..."]:
    """The array in an unpacked idx file of bytes.

    Header: two zero bytes, type code 8 (uint8), number of axes, then each length as a big-endian
    32-bit number.

    Args:
      content: unpacked.
      num_axes: that it must have.
      path: of the file, for the message.
    """
    magic = bytes((0, 0, 8, num_axes))
    header = 4 + 4 * num_axes
    if content[:4] != magic or len(content) < header:
        raise ValueError(
            f"{path}: expected an idx file of bytes with {num_axes} axes, which starts with "
            f"{magic.hex()}; got {content[:4].hex() or 'an empty file'}."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", num_axes, offset=4))
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path}: expected {header + math.prod(shape)} unpacked bytes for shape {shape}; "
            f"got {len(content)}."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
