"""Hook of the documentation site: files outside of docs/ become pages that links lead to, and equations MathML."""

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "../benchmarks/README.md": "benchmarks.md",
    **{
        f"../examples/{path.name}": f"examples/{path.stem}.md"
        for path in sorted((ROOT / "examples").glob("*.py"))
    },
}

# What pymdownx.arithmatex leaves of an equation.
_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def on_files(files: Files, config) -> Files:
    """Add a page for each file outside of the folder."""
    for link, page in OUTSIDE.items():
        text = (ROOT / "docs" / link).resolve().read_text(encoding="utf-8")
        if link.endswith(".py"):
            text = f"# {Path(link).name}\n\n```python\n{text}```\n"
        else:
            text = re.sub(r"\]\(\.\./docs/", "](", text)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Links out of the folder lead to those pages."""
    up = "../" * page.file.src_uri.count("/")
    for link, target in OUTSIDE.items():
        markdown = markdown.replace(f"]({up}{link}", f"]({up}{target}")
    return markdown


def on_page_content(content: str, **_) -> str:
    """Equations as MathML, which browsers draw themselves: no script, no request to another host."""

    def drawn(found: re.Match[str]) -> str:
        display = "block" if found["open"] == "[" else "inline"
        return convert(html.unescape(found["tex"]), display=display)

    return _EQUATION.sub(drawn, content)
