"""Files of one's own: `.npz` and `.csv` are read, and an unusable one is an error that names it."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from ganno_jax.tasks import sources

from .raw_files import (
    grey,
)


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
