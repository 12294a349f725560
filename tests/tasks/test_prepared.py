"""Data sets that were prepared: by our builders, by others, from their cache."""

import io

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.sources import idx, prepared

from .raw_files import FASHION, grey, write_binary, write_idx


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
