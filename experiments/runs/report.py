"""One self-contained page about a run: what came out, tables, figures, the configuration."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ganno_jax.evaluation.display import Column, Row, shown_columns

BEST, TEXT = ' class="best"', ' class="text"'

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #ffffff;
  --card: #f5f6f8; --line: #d8dde3; --mark: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4af; --page: #14171a;
  --card: #1e2327; --line: #353c43; --mark: #ff9d5c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.lead { font-size: 1.1rem; max-width: 46rem; margin: 0 0 1.25rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 0; }
dl div { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .82rem; line-height: 1.3; }
dd { margin: .15rem 0 0; font-size: 1.2rem; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.table figcaption { margin: 0 0 .5rem; }
.table details { margin-top: .75rem; font-size: .86rem; }
.table dl { display: block; }
.table dl div { background: none; padding: .25rem 0; }
.table dt { color: inherit; font-weight: 600; font-size: inherit; }
.table dt::after { content: ":\\00a0"; }
.table dt, .table dd { display: inline; }
.table dd { font-size: inherit; margin: 0; color: var(--soft); }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums;
  width: 100%; }
th, td { padding: .32rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; vertical-align: bottom; color: var(--soft); }
th.text, td.text { text-align: left; }
th.text:first-child, td.text:first-child { position: sticky; left: 0; background: var(--page); }
td.best { font-weight: 700; color: var(--mark); }
figure { margin: 0 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; padding: .6rem;
  border: 1px solid var(--line); border-radius: .5rem; }
img.wide { min-width: 36rem; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .5rem; max-width: 46rem; }
details { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: .8rem; line-height: 1.4; margin: .6rem 0 0; }
li { max-width: 46rem; }
@media print {
  :root { --ink: #000; --soft: #444; --page: #fff; --card: #f3f3f3; --line: #ccc; --mark: #000; }
  main { max-width: none; padding: 0; }
  th.text:first-child, td.text:first-child { position: static; }
  table { font-size: .62rem; } th, td { padding: .15rem .25rem; }
  .scroll { overflow: visible; } img.wide { min-width: 0; }
  figure, tr, .table dl div { break-inside: avoid; } figure.table { break-inside: auto; }
  h2 { break-after: avoid; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; height: auto; }
}
"""


def write_report(
    folder: str | Path,
    title: str,
    summary: Mapping[str, Any],
    tables: Sequence[tuple[str, Sequence[Row]]],
    figures: Sequence[tuple[str, str | Path]],
    config: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Write `report.html`: no scripts, no links, images inside, everything that comes in escaped.

    Args:
      folder: of the run; made if missing. Relative figure paths are looked up here.
      title: of the page.
      summary: headline numbers by name, shown as tiles. The entry `headline`, a sentence such as
        `evaluation.tables.headline` makes, opens the page; without it the numbers do.
      tables: caption and rows of each. Rows of `evaluation.tables.summarize` are shown with the
        columns of the terminal, others with one column per key.
      figures: caption and PNG file of each. The caption says what one sees; it is also the text for
        readers who do not see the image.
      config: everything needed to repeat the run; shown folded.
      notes: what a reader must know to judge the numbers.

    Returns:
      The path of the page.

    Raises:
      ValueError: if a figure is missing or no PNG.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {name: value for name, value in summary.items() if name != "headline"}
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(summary.get("headline") or _sentence(numbers))}</p>',
        _tiles(numbers),
    ]
    if tables:
        parts.append("<h2>Results</h2>")
        parts += [_table(caption, rows) for caption, rows in tables]
    if figures:
        parts.append("<h2>Figures</h2>")
        parts += [_figure(caption, folder / path) for caption, path in figures]
    if notes:
        items = "\n".join(f"<li>{escape(note)}</li>" for note in notes)
        parts.append(f"<h2>Notes</h2>\n<ul>\n{items}\n</ul>")
    settings = escape(json.dumps(config, indent=2, default=_plain, ensure_ascii=False))
    parts.append(
        "<h2>Configuration</h2>\n<details><summary>All settings of this run</summary>"
        f"<pre>{settings}</pre></details>"
    )
    body = "\n".join(part for part in parts if part)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _plain(value: Any) -> Any:
    """What JSON can hold: arrays and their numbers as numbers, anything else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _shown(value: Any) -> str:
    """A number to four digits, anything else as it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return shown if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _sentence(numbers: Mapping[str, Any]) -> str:
    words = "; ".join(f"{_spaced(name)} {_shown(value)}" for name, value in numbers.items())
    return f"{words[:1].upper()}{words[1:]}." if words else "No numbers were recorded."


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _tiles(numbers: Mapping[str, Any]) -> str:
    if not numbers:
        return ""
    tiles = "\n".join(
        f"<div><dt>{escape(_spaced(name))}</dt><dd>{escape(_shown(value))}</dd></div>"
        for name, value in numbers.items()
    )
    return f"<dl>\n{tiles}\n</dl>"


def _table(caption: str, rows: Sequence[Row]) -> str:
    columns = shown_columns(rows)
    kinds = [_kind(column, rows) for column, _ in columns]
    head = "".join(
        f"<th{kind}>{_header(column, '<br>')}</th>"
        for (column, _), kind in zip(columns, kinds, strict=True)
    )
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(
            f"<td{BEST if index in best else kind}>{escape(column.text(row))}</td>"
            for (column, best), kind in zip(columns, kinds, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    meanings = "\n".join(
        f"<div><dt>{_header(column, ' ')}</dt><dd>{escape(column.meaning)}</dd></div>"
        for column, _ in columns
        if column.meaning
    )
    legend = (
        f"<details><summary>What the columns say</summary>\n<dl>\n{meanings}\n</dl></details>"
        if meanings
        else ""
    )
    return (
        f'<figure class="table"><figcaption>{escape(caption)}</figcaption>\n'
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>{legend}</figure>"
    )


def _header(column: Column, line_break: str) -> str:
    return escape(column.header.replace("-\n", "")).replace("\n", line_break)


def _kind(column: Column, rows: Sequence[Row]) -> str:
    """Words stand on the left, numbers on the right."""
    return TEXT if any(isinstance(row.get(column.key), str) for row in rows) else ""


def _figure(caption: str, path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"No figure at {path} for the report.")
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"Figures of a report are PNG files; {path.name} is none.")
    # PNG's header holds the size; at 200 dots per inch a figure is as wide as on paper times 1.5.
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    text = escape(caption)
    wide = ' class="wide"' if width > 4 * 200 else ""  # small type: scrolls on a phone
    return (
        f'<figure><div class="scroll"><img alt="{text}"{wide} '
        f'width="{width * 144 // 200}" height="{height * 144 // 200}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}"></div>'
        f"<figcaption>{text}</figcaption></figure>"
    )
