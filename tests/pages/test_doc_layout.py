"""Pages are easy on the eye: no long lines, no wide tables."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST, WIDEST = 120, 5  # characters of a line, columns of a table
PAGES = sorted(
    {
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        ROOT / "benchmarks" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    }
)


def too_long(text: str) -> list[int]:
    """Numbers of lines, but for code, rows of tables and addresses that cannot be broken."""
    found, code = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        fence = line.lstrip().startswith("```")
        code ^= fence
        prose = not (code or fence or line.lstrip().startswith("|"))
        if prose and len(re.sub(r"https?://\S+", "", line)) > LONGEST:
            found.append(number)
    return found


def too_wide(text: str) -> list[int]:
    """Numbers of the rows of tables with too many columns."""
    return [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.lstrip().startswith("|")
        and len(re.findall(r"(?<!\\)\|", line.strip().strip("|"))) >= WIDEST
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_long_lines_and_no_wide_tables(page):
    text = page.read_text()
    assert (too_long(text), too_wide(text)) == ([], [])


def test_what_is_too_long_or_too_wide_is_found():
    long = "word " * 25
    assert too_long(f"{long}\n```\n{long}\n```\n| {long} |\n{long}\nshort") == [1, 6]
    assert too_long(f"see https://example.org/{'x' * 120}") == []
    assert too_wide("| 1 | 2 | 3 | 4 | 5 |\n| 1 | 2 | 3 | 4 | 5 | 6 |\na | b | c | d | e | f") == [
        2
    ]
