"""A text as windows of characters."""

import numpy as np
import pytest

from ganno_jax.tasks import sources
from ganno_jax.tasks.dataset import place


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


def test_a_text_that_starts_later_goes_on_with_its_beginning(tmp_path, written_text):
    def spelled(split):
        symbols = sorted(set(written_text))
        return "".join(symbols[i] for i in split.inputs.ravel())

    dataset = sources.load(
        "tinyshakespeare", data_dir=str(tmp_path), sequence_length=10, text_start=0.25
    )
    length = len(written_text)
    start = length // 4
    moved = written_text[start:] + written_text[:start]
    assert moved.startswith(spelled(dataset.train))
    assert moved[length * 9 // 10 :].startswith(spelled(dataset.test))
    with pytest.raises(ValueError, match=r"`text_start` must be in \[0, 1\); got 1.0"):
        sources.load("tinyshakespeare", data_dir=str(tmp_path), text_start=1.0)
