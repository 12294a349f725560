"""Data sets from files as they are published, and of one's own."""

import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.dataset import Dataset
from ganno_jax.tasks.sources import idx, resize

from .raw_files import (
    FASHION,
    colour_batches,
    idx_bytes,
    planes,
    write_binary,
    write_idx,
)


def python2_pickle(images, labels):
    """A batch with the opcodes of Python 2 (byte strings), as the published batches have it."""

    def text(string):
        return b"U" + bytes([len(string)]) + string

    data = planes(images)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    )
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"K" + bytes([len(data)]) + b"M" + struct.pack("<H", data.shape[1]) + b"\x86"
    raw = b"T" + struct.pack("<i", data.nbytes) + data.tobytes()
    state = b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = text(b"data") + array + state + text(b"labels") + numbers
    return b"\x80\x02}(" + items + b"u."


def same_examples(dataset: Dataset, train, train_labels, test, test_labels):
    """Every example is there once, with its label; the test split in its order."""
    splits = dataset.train, dataset.validation
    inputs = np.concatenate([split.inputs for split in splits]).reshape(len(train), -1)
    labels = np.concatenate([split.targets for split in splits])
    rows = {tuple(row): label for row, label in zip(inputs, labels, strict=True)}
    expected = train.reshape(len(train), -1)
    assert rows == {tuple(r): label for r, label in zip(expected, train_labels, strict=True)}
    np.testing.assert_array_equal(dataset.test.inputs.reshape(test.shape), test)
    np.testing.assert_array_equal(dataset.test.targets, test_labels)


def test_digits_are_the_images_of_scikit_learn():
    from sklearn.datasets import load_digits

    dataset = sources.load()
    splits = dataset.train, dataset.validation, dataset.test
    assert sum(split.num_examples for split in splits) == 1797
    assert dataset.train.inputs.dtype == np.uint8
    assert dataset.input_shape == (8, 8, 1)
    assert (dataset.num_classes, dataset.name) == (10, "digits")
    total = sum(split.inputs.sum(dtype=int) for split in splits)
    assert total == int(load_digits().data.sum())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", [FASHION, "fashion-mnist", f"downloads/manual/{FASHION}"])
def test_idx_files_are_read_from_every_place(tmp_path, zipped, below):
    arrays = write_idx(tmp_path / below, zipped=zipped)
    dataset = sources.load(FASHION, data_dir=str(tmp_path), download=False)
    same_examples(dataset, *arrays.values())
    assert dataset.input_shape == (28, 28, 1)
    assert (dataset.train.num_examples, dataset.validation.num_examples) == (18, 2)


def test_the_other_spelling_of_idx_names_and_a_folder_that_is_the_set_itself_work(tmp_path):
    arrays = write_idx(tmp_path / "mnist", zipped=False, sep=".")
    same_examples(sources.load("mnist", data_dir=str(tmp_path / "mnist")), *arrays.values())


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write_idx(tmp_path / "here" / "mnist")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "here"))
    assert sources.load("mnist", download=False).test.num_examples == 10


def test_files_in_a_folder_that_names_no_set_must_be_the_originals(tmp_path):
    write_idx(tmp_path)
    with pytest.raises(ValueError, match="several sets use this file name"):
        sources.load("mnist", data_dir=str(tmp_path), download=False)


def test_the_files_of_another_set_are_refused_by_their_content(tmp_path, monkeypatch):
    import hashlib

    arrays = write_idx(tmp_path / FASHION)
    digests = tuple(hashlib.md5(idx_bytes(array)).hexdigest() for array in arrays.values())
    monkeypatch.setitem(idx.OFFICIAL_MD5, "mnist", digests)
    with pytest.raises(ValueError, match="expected fashion_mnist; the file is that of mnist"):
        sources.load(FASHION, data_dir=str(tmp_path), download=False)


@pytest.mark.parametrize("kind", ["folder", "set folder", "plain folder", "archive"])
def test_binary_cifar_batches_are_read(tmp_path, kind):
    folder = {
        "folder": tmp_path / "cifar10" / "cifar-10-batches-bin",
        "set folder": tmp_path / "cifar10",
        "plain folder": tmp_path / "cifar-10-batches-bin",
        "archive": tmp_path / "packed" / "cifar-10-batches-bin",
    }[kind]
    write_binary(folder)
    if kind == "archive":
        with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)
    batches = list(colour_batches())
    dataset = sources.load("cifar10", data_dir=str(tmp_path), download=False)
    train = np.concatenate([images for _, images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, _, labels in batches[:-1]])
    same_examples(dataset, train, labels, *batches[-1][1:])


def test_pickled_cifar_batches_of_either_python_are_read(tmp_path):
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batches = list(colour_batches())
    for number, (name, images, labels) in enumerate(batches):
        batch = {"data": planes(images), "labels": labels.tolist()}
        old = python2_pickle(images, labels)
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2) if number % 2 else old)
    dataset = sources.load("cifar10", data_dir=str(tmp_path), download=False)
    train = np.concatenate([images for _, images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, _, labels in batches[:-1]])
    same_examples(dataset, train, labels, *batches[-1][1:])


def test_an_unknown_name_lists_what_exists(tmp_path):
    with pytest.raises(ValueError, match="no data set 'fasion_mnist'") as caught:
        sources.load("fasion_mnist", data_dir=str(tmp_path))
    assert all(name in str(caught.value) for name in sources.names())


def test_at_most_max_examples_are_kept_and_the_seed_chooses_them(tmp_path):
    write_idx(tmp_path / "mnist", num_train=100, num_test=40)
    first, again, other = (
        sources.load("mnist", data_dir=str(tmp_path), max_examples=30, seed=seed)
        for seed in (0, 0, 1)
    )
    splits = first.train, first.validation, first.test
    assert [split.num_examples for split in splits] == [27, 3, 30]
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    assert {r.tobytes() for r in first.test.inputs} != {r.tobytes() for r in other.test.inputs}
    with pytest.raises(ValueError, match="max_examples"):
        sources.load("mnist", data_dir=str(tmp_path), max_examples=0)


@pytest.mark.parametrize("image_size", [28, 14, 8, 7, 5, 1])
def test_shrinking_is_the_mean_over_the_area_of_each_pixel(image_size):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 2), np.uint8)
    fine = images.astype(float).repeat(image_size, 1).repeat(image_size, 2)
    exact = fine.reshape(3, image_size, 28, image_size, 28, 2).mean((2, 4))
    small = resize.shrink(images, image_size)
    assert small.dtype == np.uint8
    assert np.abs(small - exact).max() <= 0.5001  # rounded to whole numbers


def test_small_images_are_made_from_any_image_set_and_larger_ones_refused(tmp_path):
    write_idx(tmp_path / "mnist")
    dataset = sources.load("mnist", data_dir=str(tmp_path), image_size=8)
    assert dataset.input_shape == (8, 8, 1)
    with pytest.raises(ValueError, match=r"\[1, 28\] for images of 28x28; got 29"):
        sources.load("mnist", data_dir=str(tmp_path), image_size=29)
    np.savez(tmp_path / "table.npz", x=np.zeros((9, 4)), y=np.arange(9) % 2)
    with pytest.raises(ValueError, match="needs uint8 images"):
        sources.load(path=str(tmp_path / "table.npz"), image_size=2)


def test_the_middle_of_images_is_cut_out_before_they_shrink(tmp_path):
    arrays = write_idx(tmp_path / "mnist")
    images = arrays["t10k-images"]
    cropped = sources.load("mnist", data_dir=str(tmp_path), crop=20)
    np.testing.assert_array_equal(cropped.test.inputs[..., 0], images[:, 4:24, 4:24])
    small = sources.load("mnist", data_dir=str(tmp_path), crop=20, image_size=10)
    exact = images[:, 4:24, 4:24].reshape(-1, 10, 2, 10, 2).mean((2, 4))
    assert np.abs(small.test.inputs[..., 0] - exact).max() <= 0.5001  # rounded to whole numbers
    with pytest.raises(
        ValueError, match=r"`crop` must be in \[1, 28\] for images of 28x28; got 29"
    ):
        sources.load("mnist", data_dir=str(tmp_path), crop=29)
    with pytest.raises(ValueError, match=r"`crop` needs uint8 images .*; wine has float64"):
        sources.load("wine", crop=8)


def test_grey_images_are_the_mean_of_the_channels(tmp_path):
    write_binary(tmp_path / "cifar10")
    colour, grey = (
        sources.load("cifar10", data_dir=str(tmp_path), download=False, grey=on)
        for on in (False, True)
    )
    assert grey.input_shape == (32, 32, 1)
    exact = colour.test.inputs.mean(-1, keepdims=True)
    assert np.abs(grey.test.inputs - exact).max() <= 0.5001  # rounded to whole numbers


def test_held_out_splits_are_cut_to_their_first_examples(tmp_path):
    write_idx(tmp_path / "mnist", num_train=100, num_test=40)
    whole, few = (
        sources.load("mnist", data_dir=str(tmp_path), max_held_out=count) for count in (None, 7)
    )
    np.testing.assert_array_equal(few.test.inputs, whole.test.inputs[:7])
    np.testing.assert_array_equal(few.validation.targets, whole.validation.targets[:7])
    assert few.train.num_examples == whole.train.num_examples
    with pytest.raises(ValueError, match="`max_held_out` must be at least 1"):
        sources.load("wine", max_held_out=0)


def test_the_test_examples_that_are_kept_begin_where_it_is_said(tmp_path):
    write_idx(tmp_path / "mnist", num_train=100, num_test=40)
    whole, some = (
        sources.load("mnist", data_dir=str(tmp_path), first_test=first, max_held_out=count)
        for first, count in ((0, None), (20, 7))
    )
    np.testing.assert_array_equal(some.test.inputs, whole.test.inputs[20:27])
    np.testing.assert_array_equal(some.validation.inputs, whole.validation.inputs[:7])
    for wrong in (-1, 40):
        with pytest.raises(ValueError, match="`first_test` must be at least 0 and below the 40"):
            sources.load("mnist", data_dir=str(tmp_path), first_test=wrong)


def test_named_sets_have_their_own_classes():
    with pytest.raises(ValueError, match="are for a `path`; named sets have their own"):
        sources.load("wine", num_classes=3)


REAL = os.environ.get("GANNO_DATA_DIR") or os.environ.get("TFDS_DATA_DIR")


@pytest.mark.skipif(REAL is None, reason="needs the real files: set GANNO_DATA_DIR to their folder")
@pytest.mark.parametrize(
    "name, shape, num_test, mean",
    [
        (FASHION, (28, 28, 1), 10_000, [0.2860]),
        ("mnist", (28, 28, 1), 10_000, [0.1307]),
        ("cifar10", (32, 32, 3), 10_000, [0.4914, 0.4822, 0.4465]),
        ("tinyshakespeare", (64,), 1742, None),
    ],
)
def test_the_real_sets_have_their_known_sizes_and_means(name, shape, num_test, mean):
    try:
        dataset = sources.load(name, data_dir=REAL, download=False)
    except FileNotFoundError as error:
        pytest.skip(f"{name} is not there: {error}")
    assert dataset.input_shape == shape
    assert dataset.test.num_examples == num_test
    if mean is None:
        assert dataset.num_classes == 65
    else:
        assert dataset.scale is not None
        assert dataset.shift is not None
        found = np.asarray(dataset.shift) / np.asarray(dataset.scale) / -255
        np.testing.assert_allclose(found, mean, atol=2e-3)  # 90% of the training split
