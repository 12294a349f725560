import builtins
import gzip
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.dataset import Dataset, place
from ganno_jax.tasks.sources import cifar, idx, prepared, resize

FASHION = "fashion_mnist"


@pytest.fixture(autouse=True)
def no_other_folder(monkeypatch, tmp_path):
    """No test reads data that happens to lie on this machine, or a network, unless it says so."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "unset"))


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


@pytest.fixture(scope="module")
def prepared_folder(tmp_path_factory):
    """Small sets that our own builders prepared from raw files, without a network."""
    folder = tmp_path_factory.mktemp("tfds")
    raw = tmp_path_factory.mktemp("raw")
    write_idx(raw / FASHION, num_train=40, num_test=25)
    write_binary(raw / "cifar10" / "cifar-10-batches-bin")
    for name, limit in ((FASHION, 20), ("cifar10", None)):
        sources.prepare(name, folder, manual_dir=raw / name, max_examples=limit)
    return folder


def version_of(folder, name):
    place = prepared.find(folder, name)
    assert place is not None
    return place


def test_our_builder_writes_what_the_raw_files_hold(prepared_folder):
    arrays = prepared.read(version_of(prepared_folder, FASHION))
    assert len(arrays.train_images) == 20
    assert arrays.num_classes == 10
    assert arrays.test_images is not None
    assert arrays.test_labels is not None
    for images, labels, original in (
        (arrays.train_images, arrays.train_labels, grey(40)),
        (arrays.test_images, arrays.test_labels, grey(25, seed=1)),
    ):
        rows = {row.tobytes(): label for row, label in zip(*original, strict=True)}
        assert len({image.tobytes() for image in images}) == 20
        assert all(rows[i.tobytes()] == n for i, n in zip(images, labels, strict=True))


def test_a_prepared_set_comes_before_raw_files_and_a_second_time_from_its_cache(
    prepared_folder, monkeypatch
):
    write_idx(prepared_folder / FASHION, num_train=30)
    first = sources.load(FASHION, data_dir=str(prepared_folder))
    assert first.train.num_examples + first.validation.num_examples == 20
    folder = version_of(prepared_folder, FASHION)
    assert (folder / prepared.CACHE).is_file()
    monkeypatch.setattr(prepared, "_stack", None)  # the records are not read again
    again = sources.load(FASHION, data_dir=str(prepared_folder))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)


def test_a_damaged_or_foreign_cache_is_not_used(prepared_folder):
    folder = version_of(prepared_folder, "cifar10")
    expected = prepared.read(folder)
    for content in (b"", b"PK\x03\x04nonsense", None):
        if content is None:
            np.savez(folder / prepared.CACHE, train_images=np.zeros((3, 1)))
        else:
            (folder / prepared.CACHE).write_bytes(content)
        np.testing.assert_array_equal(prepared.read(folder).train_images, expected.train_images)


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(prepared_folder, monkeypatch):
    folder = version_of(prepared_folder, "cifar10")
    (folder / prepared.CACHE).unlink(missing_ok=True)

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(prepared.tempfile, "mkstemp", refuse)
    assert len(prepared.read(folder).train_images) == 20
    assert not (folder / prepared.CACHE).exists()


def test_any_other_prepared_image_set_is_loaded_by_its_name(prepared_folder, tmp_path):
    import tensorflow_datasets as tfds
    from PIL import Image

    class Squares(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Three grey levels, with a validation and no test split."""

        name = "squares"
        VERSION = tfds.core.Version("1.2.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(4, 4, 1)),
                "label": tfds.features.ClassLabel(num_classes=3),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(30), "validation": self._generate_examples(6)}

        def _generate_examples(self, count):
            for number in range(count):
                level = np.full((4, 4), number % 3, np.uint8)
                yield number, {"image": Image.fromarray(level), "label": number % 3}

    Squares(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    dataset = sources.load("squares", data_dir=str(tmp_path))
    assert (dataset.train.num_examples, dataset.test.num_examples) == (27, 6)
    assert dataset.num_classes == 3
    np.testing.assert_array_equal(dataset.train.inputs[:, 0, 0, 0], dataset.train.targets)
    with pytest.raises(ValueError, match="squares"):
        sources.load("circles", data_dir=str(tmp_path))


def test_a_missing_set_is_downloaded_prepared_and_then_found(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    arrays = write_idx(tmp_path / "server")
    asked = []

    def download(_, addresses):
        asked.extend(addresses.values())
        return {k: str(tmp_path / "server" / a.rsplit("/")[-1]) for k, a in addresses.items()}

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    folder = tmp_path / "folder"
    dataset = sources.load("mnist", data_dir=str(folder))
    assert asked == [f"{idx.URLS['mnist']}{idx.file_name(stem)}.gz" for stem in idx.STEMS]
    assert (dataset.train.num_examples, dataset.test.num_examples) == (18, 10)
    expected = sorted(image.tobytes() for image in arrays["t10k-images"])
    assert sorted(image.tobytes() for image in dataset.test.inputs) == expected
    assert sources.load("mnist", data_dir=str(folder), download=False).test.num_examples == 10


def test_preparing_needs_a_known_name_and_the_files(tmp_path):
    with pytest.raises(ValueError, match="cifar10, fashion_mnist, mnist; got 'svhn'"):
        sources.prepare("svhn", tmp_path)
    with pytest.raises(FileNotFoundError, match="not in"):
        sources.prepare("mnist", tmp_path, manual_dir=tmp_path / "nothing")


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
    np.savez(tmp_path / "table.npz", x=np.zeros((9, 4)), y=np.zeros(9, int))
    with pytest.raises(ValueError, match="needs uint8 images"):
        sources.load(path=str(tmp_path / "table.npz"), image_size=2)


@pytest.fixture
def written_text(tmp_path):
    words = "to be, or not to be: that is the question.\n" * 50
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tinyshakespeare.txt").write_text(words)
    return words


def test_text_windows_predict_the_next_character(tmp_path, written_text):
    dataset = place(sources.load("tinyshakespeare", data_dir=str(tmp_path), sequence_length=16))
    symbols = sorted(set(written_text))
    assert dataset.num_classes == len(symbols)
    assert dataset.train.inputs.dtype == np.uint8
    spelled = "".join(symbols[i] for i in np.asarray(dataset.train.inputs).ravel())
    following = "".join(symbols[i] for i in np.asarray(dataset.train.targets).ravel())
    assert written_text.startswith(spelled)
    assert written_text[1:].startswith(following)
    batch = dataset.gather(dataset.train, np.arange(3))
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert batch.inputs.dtype == np.int32


def test_the_splits_of_a_text_are_cut_one_after_the_other(tmp_path, written_text):
    dataset = sources.load("tinyshakespeare", data_dir=str(tmp_path), sequence_length=10)
    length = len(written_text)
    sizes = [s.num_examples for s in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [
        (length * 8 // 10 - 1) // 10,
        (length // 10 - 1) // 10,
        (length // 10 - 1) // 10,
    ]
    symbols = sorted(set(written_text))
    start = length * 8 // 10
    first = "".join(symbols[i] for i in dataset.validation.inputs[0])
    assert first == written_text[start : start + 10]
    few = sources.load(
        "tinyshakespeare", data_dir=str(tmp_path), sequence_length=10, max_examples=5
    )
    assert few.train.num_examples == few.test.num_examples == 5


def test_a_text_that_is_too_short_or_an_image_size_for_it_is_refused(tmp_path, written_text):
    with pytest.raises(ValueError, match=r"tinyshakespeare.txt: expected at least"):
        sources.load("tinyshakespeare", data_dir=str(tmp_path), sequence_length=1000)
    with pytest.raises(ValueError, match="is a text"):
        sources.load("tinyshakespeare", data_dir=str(tmp_path), image_size=8)


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
