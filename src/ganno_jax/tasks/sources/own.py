"""Arrays from a user's own file: `.npz`, or a table of numbers as `.csv`."""

from pathlib import Path

import numpy as np

from ganno_jax.tasks.sources.raw import ImageArrays, read_npz


def read(path: Path) -> ImageArrays:
    """The arrays of a file; those for testing are None where it has none.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or holds something else.
    """
    expected = "expected an .npz file with arrays x and y, or a .csv table of numbers."
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {expected}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {expected}")
    return _table(path) if path.suffix.lower() == ".csv" else _arrays(path)


def _arrays(path: Path) -> ImageArrays:
    arrays = read_npz(path)
    keys = set(arrays)
    if not {"x", "y"} <= keys or ("x_test" in keys) != ("y_test" in keys):
        raise ValueError(
            f"{path}: expected arrays x, y and, both or neither, x_test, y_test; "
            f"got {sorted(keys)}."
        )
    test = arrays.get("x_test"), arrays.get("y_test")
    return ImageArrays(arrays["x"], arrays["y"], *test, num_classes=0)


def _table(path: Path) -> ImageArrays:
    """The last column is the target: class ids if all of it is written as whole numbers.

    Columns are separated by commas; a first line that is no numbers is a header.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a .csv table in UTF-8 ({error}).") from error
    rows = [(number, line.split(",")) for number, line in enumerate(lines, 1) if line.strip()]
    if rows and _number(rows[0][1][-1]) is None and _number(rows[0][1][0]) is None:
        rows = rows[1:]
    if not rows or len(rows[0][1]) < 2:
        raise ValueError(f"{path}: expected rows of at least two numbers, separated by commas.")
    width = len(rows[0][1])
    values = np.empty((len(rows), width))
    for row, (number, cells) in enumerate(rows):
        found = [_number(cell) for cell in cells]
        if len(cells) != width or None in found:
            wrong = next((c for c, v in zip(cells, found, strict=True) if v is None), None)
            got = f"{len(cells)} columns" if wrong is None else repr(wrong)
            raise ValueError(f"{path}: line {number}: expected {width} numbers; got {got}.")
        values[row] = found
    targets = values[:, -1]
    if all(cells[-1].strip().lstrip("+-").isdigit() for _, cells in rows):
        targets = targets.astype(np.int64)
    return ImageArrays(values[:, :-1], targets, None, None, num_classes=0)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
