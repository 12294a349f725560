"""Small files in the formats in which data sets are published."""

import gzip
import struct
from pathlib import Path

import numpy as np

from ganno_jax.tasks.sources import cifar, idx

FASHION = "fashion_mnist"


def grey(num_examples, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (num_examples, 28, 28), np.uint8)
    return images, (np.arange(num_examples) % 10).astype(np.uint8)


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, num_train=20, num_test=10, zipped=True, sep="-"):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = dict(zip(idx.STEMS, (*grey(num_train), *grey(num_test, seed=1)), strict=True))
    for stem, array in arrays.items():
        name = idx.file_name(stem).replace("-idx", f"{sep}idx")
        content = idx_bytes(array)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return arrays


def colour_batches(num_examples=4):
    generator = np.random.default_rng(0)
    for number, name in enumerate((*cifar.TRAIN_BATCHES, cifar.TEST_BATCH)):
        images = generator.integers(0, 256, (num_examples, 32, 32, 3), np.uint8)
        yield name, images, (np.arange(num_examples) + number).astype(np.uint8) % 10


def planes(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def binary_batch(images, labels):
    return np.concatenate([labels[:, None], planes(images)], 1).tobytes()


def write_binary(folder: Path):
    folder.mkdir(parents=True)
    for name, images, labels in colour_batches():
        (folder / f"{name}.bin").write_bytes(binary_batch(images, labels))
