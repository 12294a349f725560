"""Hook of the documentation site: public names must be in the reference, files outside of docs/ become pages that
links lead to, and equations MathML.
"""

import html
import json
import logging
import re
from pathlib import Path

import public_names
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "../benchmarks/README.md": "benchmarks.md",
    **{
        f"../examples/{path.name}": f"examples/{path.stem}.md"
        for path in sorted((ROOT / "examples").iterdir())
        if path.suffix in (".py", ".ipynb")
    },
}

# What pymdownx.arithmatex leaves of an equation.
_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def on_pre_build(**_) -> None:
    """Warn of public names that the reference does not show, with which a strict build fails."""
    for complaint in public_names.not_shown(ROOT):
        logging.getLogger("mkdocs.hooks.site").warning(complaint)


def on_files(files: Files, config) -> Files:
    """Add a page for each file outside of the folder."""
    for link, page in OUTSIDE.items():
        path = (ROOT / "docs" / link).resolve()
        files.append(File.generated(config, page, content=_as_page(path)))
    return files


def _as_page(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return f"# {path.name}\n\n```python\n{text}```\n"
    if path.suffix == ".ipynb":
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        return "\n\n".join(f"```python\n{c}\n```" if kind == "code" else c for kind, c in cells)
    return re.sub(r"\]\(\.\./docs/", "](", text)


def on_page_markdown(markdown: str, page, **_) -> str:
    """Links out of the folder lead to those pages."""
    up = "../" * page.file.src_uri.count("/")
    for link, target in OUTSIDE.items():
        markdown = markdown.replace(f"]({up}{link}", f"]({up}{target}")
    return markdown


def on_page_content(content: str, **_) -> str:
    """Equations as MathML, which browsers draw themselves: no script, no request to another host."""

    def drawn(found: re.Match[str]) -> str:
        if found["open"] == "[":
            math = convert(html.unescape(found["tex"]), display="block")
            return f'<div class="equation">{math}</div>'
        return convert(html.unescape(found["tex"]))

    return _EQUATION.sub(drawn, content)
