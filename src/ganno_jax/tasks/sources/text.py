"""Text as windows of character ids with the next characters as targets."""

from pathlib import Path

import numpy as np

from ganno_jax.tasks.dataset import Dataset, Split

FILE = "tinyshakespeare.txt"
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


def read(
    path: Path, name: str, sequence_length: int, max_examples: int | None, start: float = 0.0
) -> Dataset:
    """Non-overlapping windows of a text file; the ids are the ranks of its distinct bytes.

    The text is cut into a first 80% for training, then 10% each for validation and testing, and
    only then into windows, so no target of one split is an input of another. `scale` is None and
    `num_classes` the size of the vocabulary.

    Args:
      path: any text of single-byte characters.
      name: shown in tables.
      sequence_length: characters in a window.
      max_examples: at most so many windows, the first ones, of each split.
      start: share of the text after which it begins, in [0, 1); what stands before is moved to the end.

    Raises:
      ValueError: a split would not hold one window, or `start` is no such share.
    """
    if sequence_length < 1:
        raise ValueError(f"`sequence_length` must be at least 1; got {sequence_length}.")
    if not 0 <= start < 1:
        raise ValueError(f"`text_start` must be in [0, 1); got {start}.")
    symbols, ids = np.unique(np.fromfile(path, np.uint8), return_inverse=True)
    ids = np.roll(ids, -int(start * len(ids)))
    parts = np.split(ids.astype(np.uint8), [len(ids) * 8 // 10, len(ids) * 9 // 10])
    if min(len(part) for part in parts) <= sequence_length:
        raise ValueError(
            f"{path}: expected at least {10 * (sequence_length + 2)} characters for windows of "
            f"{sequence_length} in each split; got {len(ids)}."
        )
    splits = []
    for part in parts:
        num_windows = (len(part) - 1) // sequence_length
        kept = slice(max_examples)
        splits.append(
            Split(
                part[: num_windows * sequence_length].reshape(num_windows, -1)[kept],
                part[1 : num_windows * sequence_length + 1].reshape(num_windows, -1)[kept],
            )
        )
    return Dataset(*splits, scale=None, shift=None, num_classes=len(symbols), name=name)
