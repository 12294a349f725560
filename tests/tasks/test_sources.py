"""Data sets from files as they are published, and of one's own."""

import builtins
import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.dataset import Dataset
from ganno_jax.tasks.sources import cifar, idx, resize

from .raw_files import (
    FASHION,
    colour_batches,
    grey,
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


def test_a_pickled_batch_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return builtins.open, (str(tmp_path / "written"), "w")

    with pytest.raises(ValueError, match="open is no array"):
        cifar.parse_pickle(pickle.dumps({"data": Evil(), "labels": [1]}), tmp_path / "batch")
    assert not (tmp_path / "written").exists()


def spoil_idx(how):
    content = idx_bytes(grey(20)[0])
    zipped = gzip.compress(content)
    return {
        "magic": b"\x00\x00\x09" + content[3:],
        "no idx": b"<html>not found</html>",
        "empty": b"",
        "short": content[:-5],
        "long": content + b"\x00",
        "cut gzip": zipped[: len(zipped) // 2],
        "bad gzip": zipped[:100] + bytes(50) + zipped[150:],
    }[how]


@pytest.mark.parametrize(
    "how, message",
    [
        ("magic", "starts with 00000803; got 00000903"),
        ("no idx", "expected an idx file"),
        ("empty", "an empty file"),
        ("short", r"expected 15696 unpacked bytes for shape \(20, 28, 28\); got 15691"),
        ("long", "got 15697"),
        ("cut gzip", "complete gzip file"),
        ("bad gzip", "complete gzip file"),
    ],
)
def test_a_damaged_idx_file_is_an_error_that_names_it(tmp_path, how, message):
    write_idx(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(spoil_idx(how))
    with pytest.raises(ValueError, match=message) as caught:
        sources.load("mnist", data_dir=str(tmp_path), download=False)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.zeros(19, np.uint8), "expected 20 labels"),
        (np.full(20, 10, np.uint8), "labels below 10; got 10"),
    ],
)
def test_labels_that_do_not_fit_the_images_are_refused(tmp_path, labels, message):
    write_idx(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(labels)))
    with pytest.raises(ValueError, match=message):
        sources.load("mnist", data_dir=str(tmp_path), download=False)


def test_damaged_cifar_files_are_errors_that_name_them(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    write_binary(folder)
    (folder / "data_batch_3.bin").write_bytes(bytes(3073 + 1))
    with pytest.raises(ValueError, match=r"data_batch_3.bin: expected a multiple of 3073"):
        sources.load("cifar10", data_dir=str(tmp_path), download=False)
    (folder / "data_batch_3.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_3.bin: expected labels in \[0, 10\)"):
        sources.load("cifar10", data_dir=str(tmp_path), download=False)
    (folder / "test_batch.bin").unlink()
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    (folder / "data_batch_1.bin").unlink()
    with pytest.raises(ValueError, match="expected a file data_batch_1 inside"):
        sources.load("cifar10", data_dir=str(tmp_path), download=False)
    content = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="complete tar archive"):
        sources.load("cifar10", data_dir=str(tmp_path), download=False)


@pytest.mark.parametrize("name", ["mnist", FASHION, "cifar10", "tinyshakespeare"])
def test_a_missing_set_is_one_message_with_folder_files_and_both_ways(tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        sources.load(name, data_dir=str(tmp_path), download=False)
    message = str(caught.value)
    file = {"cifar10": "cifar-10-batches-bin", "tinyshakespeare": "tinyshakespeare.txt"}
    for part in (str(tmp_path), file.get(name, "t10k-labels-idx1-ubyte"), "http", "TFDS_DATA_DIR"):
        assert part in message
    assert "\n" not in message


def test_without_a_network_the_message_says_that_downloading_failed(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise OSError("name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(FileNotFoundError, match="downloading failed: OSError: name or service"):
        sources.load("mnist", data_dir=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_lists_what_exists(tmp_path):
    with pytest.raises(ValueError, match="no data set 'fasion_mnist'") as caught:
        sources.load("fasion_mnist", data_dir=str(tmp_path))
    assert all(name in str(caught.value) for name in sources.names())


def test_an_npz_of_ones_own_is_read(tmp_path):
    x, y = grey(30)
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    dataset = sources.load(path=str(tmp_path / "mine.npz"))
    assert dataset.name == "mine"
    assert dataset.train.num_examples == 18
    np.savez(tmp_path / "mine.npz", x=x, y=y, x_test=x[:4], y_test=y[:4])
    dataset = sources.load("other", path=str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(dataset.test.inputs, x[:4])
    assert (dataset.name, dataset.validation.num_examples) == ("other", 3)


def test_an_unusable_npz_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(FileNotFoundError, match=r"no file .*mine.npz"):
        sources.load(path=str(path))
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"mine.npz: expected arrays x, y .* got \['x'\]"):
        sources.load(path=str(path))
    np.savez(path, x=np.array([{}]), y=np.zeros(1, int))
    with pytest.raises(ValueError, match=r"mine.npz: expected an .npz file of plain arrays"):
        sources.load(path=str(path))
    for content in (b"", b"PK\x03\x04nonsense", pickle.dumps({})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mine.npz: expected an .npz file of plain arrays"):
            sources.load(path=str(path))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"mine.npz: expected an .npz file of plain arrays"):
        sources.load(path=str(path))


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


TABLES = {
    "breast_cancer": (569, (30,), (), 2),
    "wine": (178, (13,), (), 3),
    "diabetes": (442, (10,), (), 0),
    "noisy_patches": (8480, (8, 8, 1), (8, 8, 1), 0),
    "generated_teacher": (20_000, (32,), (), 5),
    "generated_categories": (20_000, (10,), (), 3),
    "generated_waves": (12_000, (40,), (), 0),
    "generated_mixture": (6_000, (24,), (), 3),
    "generated_response": (6_000, (16,), (), 0),
    "generated_grammar": (6_000, (16,), (16,), 20),
    "generated_spirals": (3_000, (2,), (), 3),
    "generated_surface": (1_500, (10,), (), 0),
    "generated_events": (5_000, (24,), (24,), 8),
    "generated_votes": (6_000, (8,), (), 2),
    "generated_tiles": (3_000, (2,), (), 3),
    "generated_curve": (2_000, (8,), (), 0),
    "generated_textures": (8_000, (12, 12, 1), (), 10),
    "generated_formulas": (4_000, (12,), (), 2),
    "generated_orbits": (3_000, (3,), (), 0),
    "generated_ratings": (8_000, (2,), (), 0),
    "generated_strokes": (6_000, (12, 12, 1), (), 4),
    "generated_brackets": (5_000, (24,), (24,), 6),
}


@pytest.mark.parametrize("name", TABLES)
def test_sets_that_need_no_folder_are_there_and_always_the_same(name):
    first, again = sources.load(name), sources.load(name)
    splits = first.train, first.validation, first.test
    count = sum(split.num_examples for split in splits)
    assert (count, first.input_shape, first.target_shape, first.num_classes) == TABLES[name]
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    np.testing.assert_array_equal(first.train.targets, again.train.targets)
    if first.num_classes:
        assert [len(np.unique(split.targets)) for split in splits] == [first.num_classes] * 3


def test_noise_on_a_patch_has_the_deviation_that_is_said():
    dataset = sources.load("noisy_patches")
    noise = dataset.train.inputs - dataset.train.targets
    np.testing.assert_allclose(noise.std(), 0.25, rtol=0.01)  # of 325,632 draws
    assert np.ptp(dataset.train.targets) <= 1


def test_only_the_inputs_that_matter_tell_the_classes_of_generated_sets_apart():
    teacher, table = sources.load("generated_teacher"), sources.load("generated_categories")

    def largest_gap(dataset, columns):
        inputs = np.asarray(dataset.whole(dataset.train).inputs)[:, columns]
        targets = dataset.train.targets
        means = np.stack([inputs[targets == k].mean(0) for k in np.unique(targets)])
        return np.ptp(means, axis=0).max()

    # Means of at least 1,000 standard normal numbers differ by 0.15 at most.
    assert largest_gap(teacher, slice(8, 32)) < 0.15 < largest_gap(teacher, slice(0, 8))
    assert largest_gap(table, slice(6, 10)) < 0.15
    first = table.train.inputs[:, 0]
    assert first.max() == 23
    np.testing.assert_allclose((first == 0).mean() / (first == 1).mean(), 2, rtol=0.1)  # 1 / rank


def test_waves_hold_more_signal_than_noise():
    dataset = sources.load("generated_waves")
    # Variance: sines (1.04 + 0.16) / 2 on average, autoregressive noise 0.04 / (1 - 0.49).
    np.testing.assert_allclose(dataset.train.targets.var(), 0.62 + 0.078, rtol=0.05)


def test_inputs_of_the_noisy_tables_are_mixed_from_a_few_factors():
    for name, num_factors in {"generated_mixture": 6, "generated_response": 5}.items():
        inputs = np.asarray(sources.load(name).train.inputs)
        variances = np.linalg.eigvalsh(np.cov(inputs.T))[::-1]
        # What is left beside the factors is noise of deviation 0.5, within sampling error.
        np.testing.assert_allclose(variances[num_factors:].mean(), 0.25, rtol=0.05)
        assert variances[num_factors - 1] > 2 * variances[num_factors]


def test_half_of_the_variance_of_a_response_is_noise():
    targets = sources.load("generated_response").train.targets
    np.testing.assert_allclose(targets.var(), 2, rtol=0.1)


def test_the_next_symbols_of_the_grammar_are_its_targets_and_two_symbols_tell_more_than_one():
    dataset = sources.load("generated_grammar")
    inputs, targets = dataset.train.inputs, dataset.train.targets
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])

    def share_of_the_most_frequent(context):
        counts = np.zeros((context.max() + 1, 20))
        np.add.at(counts, (context, following), 1)
        return counts.max(1).sum() / counts.sum()

    following = targets[:, 2:].ravel()
    last, before = inputs[:, 2:].ravel(), inputs[:, 1:-1].ravel()
    contexts = 0 * last, last, 20 * before + last
    none, one, two = (share_of_the_most_frequent(context) for context in contexts)
    assert 3 * none < one
    assert 1.1 * one < two < 0.9


def test_the_best_guess_of_a_surface_leaves_its_noise():
    dataset = sources.load("generated_surface")
    x, y = dataset.train.inputs, dataset.train.targets
    height = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    height = height + 10 * x[:, 3] + 5 * x[:, 4]
    np.testing.assert_allclose((y - height).std(), 3, rtol=0.06)  # 900 draws
    assert np.corrcoef(y, height)[0, 1] > 0.8


def test_nine_tenths_of_the_targets_of_events_are_the_count_and_a_few_more_by_luck():
    dataset = sources.load("generated_events")
    right = []
    for symbols, targets in zip(dataset.train.inputs, dataset.train.targets, strict=True):
        count = 0
        for symbol, target in zip(symbols.tolist(), targets.tolist(), strict=True):
            count = 0 if symbol == 1 else count + (symbol == 0)
            right.append(target == count % 8)
    np.testing.assert_allclose(np.mean(right), 0.9 + 0.1 / 8, atol=0.005)  # 72,000 draws


def test_arms_of_the_spirals_are_a_third_of_a_turn_apart():
    dataset = sources.load("generated_spirals")
    x, arm = np.asarray(dataset.whole(dataset.train).inputs), dataset.train.targets
    raw = dataset.train.inputs
    radius = np.linalg.norm(raw, axis=1)
    turned = np.angle(np.exp(1j * (np.arctan2(raw[:, 1], raw[:, 0]) - 5 * radius)))
    for k in range(3):
        off = np.angle(np.exp(1j * (turned[arm == k] - 2 * np.pi / 3 * k)))
        assert abs(off.mean()) < 0.05
        np.testing.assert_allclose(off.std(), 0.35, rtol=0.1)
    assert x.shape == (1_800, 2)


def test_every_column_of_votes_tells_a_little():
    dataset = sources.load("generated_votes")
    ids, classes = dataset.train.inputs.astype(int), dataset.train.targets
    sums = sum(
        np.array([classes[ids[:, column] == k].mean() for k in range(5)])[ids[:, column]]
        for column in range(8)
    )
    agreed = ((sums > np.median(sums)) == (classes == 1)).mean()
    assert 0.8 < agreed < 0.95


def test_tiles_have_no_noise_and_a_curve_next_to_none():
    tiles, curve = sources.load("generated_tiles").train, sources.load("generated_curve").train
    column, row = np.floor(2 * (tiles.inputs + 1)).astype(int).T
    np.testing.assert_array_equal(tiles.targets, (column + row) % 3)
    x = curve.inputs
    height = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + x[:, 3] ** 2 + x[:, 4] / 2
    np.testing.assert_allclose((curve.targets - height).std(), 0.02, rtol=0.08)  # 1,200 draws
    assert height.std() > 0.8


def test_the_stronger_grating_of_a_texture_is_where_its_spectrum_peaks():
    split = sources.load("generated_textures").train
    images, side = np.asarray(split.inputs[..., 0]), 12
    row, column = np.mgrid[:side, :side]
    strength = []
    for number in range(10):
        angle, wavelength = np.pi * (number % 5) / 5, 3 if number < 5 else 6
        along = np.cos(angle) * column + np.sin(angle) * row
        wave = np.exp(2j * np.pi * along / wavelength)
        strength.append(np.abs(np.tensordot(images, wave, 2)))
    found = np.argmax(strength, 0)
    assert 0.9 < (found == split.targets).mean() < 1


def test_bits_of_a_formula_tell_little_alone_and_much_together():
    split = sources.load("generated_formulas").train
    bits, classes = split.inputs.astype(int), split.targets
    alone = [
        abs(classes[bits[:, k] == 1].mean() - classes[bits[:, k] == 0].mean()) for k in range(12)
    ]
    assert 0.3 < classes.mean() < 0.7
    assert max(alone) < 0.5
    rows = bits @ (1 << np.arange(12))
    same = [classes[rows == row] for row in np.unique(rows)]
    # Rows of the same bits agree but for one in twenty: 0.05 * 0.95 is the variance within.
    within = np.concatenate([c - c.mean() for c in same if len(c) > 1])
    spare = sum(len(c) - 1 for c in same if len(c) > 1)
    np.testing.assert_allclose(np.sum(within**2) / spare, 0.05 * 0.95, rtol=0.35)


def test_orbits_follow_the_equations_of_lorenz():
    split = sources.load("generated_orbits").train
    state = np.asarray(split.inputs[:50], np.float64).T
    for _ in range(4_000):  # Euler steps of 0.0001
        x, y, z = state
        speed = np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        state = state + 0.0001 * speed
    np.testing.assert_allclose((split.targets[:50] - state[0]).std(), 0.2, rtol=0.4)
    assert split.targets.std() > 6


def test_ratings_have_a_noise_of_a_half_around_people_and_things():
    split = sources.load("generated_ratings").train
    ids, values = split.inputs.astype(int), split.targets
    cells = {}
    for (person, thing), value in zip(ids, values, strict=True):
        cells.setdefault((person, thing), []).append(value)
    spare = sum(len(c) - 1 for c in cells.values())
    within = sum(np.var(c) * len(c) for c in cells.values()) / spare
    np.testing.assert_allclose(within, 0.25, rtol=0.1)
    assert values.var() > 1


def test_more_strokes_make_an_image_brighter():
    split = sources.load("generated_strokes").train
    brightness = split.inputs.mean((1, 2, 3))
    means = [brightness[split.targets == k].mean() for k in range(4)]
    # A stroke has five pixels of 0.85 on average, one or two of which may be one pixel or cross another stroke.
    assert np.all(np.diff(means) > 2.5 * 0.85 / 144)
    assert means[0] < 5 * 0.85 / 144 + 0.005


def test_every_bracket_closes_the_last_one_that_is_open():
    split = sources.load("generated_brackets").train
    closing = []
    for symbols, targets in zip(split.inputs, split.targets, strict=True):
        np.testing.assert_array_equal(symbols[1:], targets[:-1])
        still_open = []
        for symbol in [*symbols.tolist(), int(targets[-1])]:
            if still_open:
                closing.append(symbol >= 3)
            if symbol >= 3:
                assert still_open.pop() == symbol - 3
            else:
                still_open.append(symbol)
    np.testing.assert_allclose(np.mean(closing), 0.45, atol=0.01)


def test_the_regression_of_an_npz_is_standardized_if_asked(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(50, 3)), y=rng.normal(9, 4, 50))
    path = str(tmp_path / "mine.npz")
    plain, standardized = (sources.load(path=path, standardize_targets=on) for on in (False, True))
    assert plain.num_classes == standardized.num_classes == 0
    assert plain.train.targets.mean() > 5
    np.testing.assert_allclose(standardized.train.targets.std(), 1, rtol=1e-5)


def test_an_npz_that_claims_more_than_it_holds_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "mine.npz"
    header = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 1)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    with pytest.raises(ValueError, match=r"x claims 4398046511104 bytes, the file holds 64"):
        sources.load(path=str(path))


def test_a_csv_is_a_table_whose_last_column_is_the_target(tmp_path):
    path = tmp_path / "mine.csv"
    rows = [f"{i},{i / 2},{i % 3}" for i in range(30)]
    path.write_text("\n".join(["a,b,class", *rows]))
    dataset = sources.load(path=str(path))
    assert (dataset.name, dataset.num_classes, dataset.input_shape) == ("mine", 3, (2,))
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.targets, split.inputs[:, 0] % 3)
    assert sources.load(path=str(path), num_classes=0).train.targets.dtype == np.float32
    path.write_text("\n".join(f"{i},{i}.0" for i in range(30)))
    assert sources.load(path=str(path)).num_classes == 0
    ids = sources.load(path=str(path), num_categorical=1)
    np.testing.assert_array_equal(ids.whole(ids.train).inputs, ids.train.inputs)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "expected rows of at least two numbers"),
        ("a,b\n", "expected rows of at least two numbers"),
        ("1\n2\n", "expected rows of at least two numbers"),
        ("a,b\n1,2\n1,x\n", "line 3: expected 2 numbers; got 'x'"),
        ("1,2\n\n1,2,3\n", "line 3: expected 2 numbers; got 3 columns"),
        (b"\xff\xfe1", "expected a .csv table in UTF-8"),
    ],
)
def test_an_unusable_csv_is_an_error_that_names_file_and_line(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        sources.load(path=str(path))
    assert str(path) in str(caught.value)


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
