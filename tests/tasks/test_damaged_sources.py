"""A damaged file of a standard set, or one that is not there, is an error that names it."""

import builtins
import gzip
import pickle
import tarfile

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.sources import cifar

from .raw_files import (
    FASHION,
    grey,
    idx_bytes,
    write_binary,
    write_idx,
)


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
