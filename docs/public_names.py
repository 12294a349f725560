"""Which public names the reference does not show: the hook of the site and a test refuse them.

Public is what stands in `__all__`, what a package imports as itself (`import x as x`), and what a page or an example
imports. The reference shows a name that has a docstring, by a `:::` of it or of a module that makes it public.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "ganno_jax"
Trees = dict[str, ast.Module]  # of the package, by module
Name = tuple[str, str | None]  # a module and what it defines; None for the module itself


def not_shown(root: Path) -> list[str]:
    """What a checkout's reference lacks, a line for each name."""
    trees = _trees(root / "src")
    shown = set(_shown(root / "docs" / "reference", trees))
    public = {(module, name) for module in trees for name in _exported(trees[module]) or ()}
    public = {_origin(trees, module, name) for module, name in public | set(_imported(root))}
    absent = {name: "is on no page of docs/reference" for name in public - shown}
    hidden = {
        name: "has no docstring" for name in public | shown if not _has_docstring(trees, *name)
    }
    lines = {".".join(filter(None, name)): said for name, said in (absent | hidden).items()}
    return [f"{name} {said}" for name, said in sorted(lines.items())]


def _trees(folder: Path) -> Trees:
    found = {}
    for path in sorted((folder / PACKAGE).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[module] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def _shown(reference: Path, trees: Trees) -> Iterator[Name]:
    """What the entries of the reference take in."""
    for page in sorted(reference.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for entry in re.finditer(r"^::: (\S+)\n((?: .*\n)*)", text, re.MULTILINE):
            asked = re.search(r"^ +members:\n((?: +- \w+\n)+)", entry[2], re.MULTILINE)
            if entry[1] not in trees:
                module, _, name = entry[1].rpartition(".")
                yield _origin(trees, module, name)
                continue
            yield entry[1], None
            tree = trees[entry[1]]
            names = re.findall(r"- (\w+)", asked[1]) if asked else _exported(tree)
            for name in names or _defined(tree):
                found = _origin(trees, entry[1], name)
                if found[1] is not None:  # a module has an entry of its own
                    yield found


def _exported(tree: ast.Module) -> list[str] | None:
    """What a module declares to be public; None where it declares nothing."""
    aliases = [alias for node in _imports(tree) for alias in node.names]
    names = [alias.name for alias in aliases if alias.asname == alias.name]
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [*ast.literal_eval(node.value), *names]
    return names or None


def _imported(root: Path) -> Iterator[tuple[str, str]]:
    """What pages and examples import from the package."""
    for text in _texts(root):
        for node in _imports(ast.parse(text)):
            if node.module is not None and node.module.partition(".")[0] == PACKAGE:
                yield from ((node.module, alias.name) for alias in node.names)


def _texts(root: Path) -> Iterator[str]:
    for page in (root / "README.md", *sorted((root / "docs").rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        yield from re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for path in sorted((root / "examples").glob("*.py")):
        yield path.read_text(encoding="utf-8")
    for path in sorted((root / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _origin(trees: Trees, module: str, name: str) -> Name:
    """Where a name of a module comes from."""
    for node in _imports(trees[module]):
        for alias in node.names:
            if (alias.asname or alias.name) == name and node.module in {*trees} - {module}:
                return _origin(trees, node.module, alias.name)
    submodule = f"{module}.{name}"
    return (submodule, None) if submodule in trees else (module, name)


def _has_docstring(trees: Trees, module: str, name: str | None) -> bool:
    if name is None:
        return ast.get_docstring(trees[module]) is not None
    return _defined(trees[module]).get(name, False)


def _defined(tree: ast.Module) -> dict[str, bool]:
    """Public names of a module, and whether each has a docstring."""
    found = {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = ast.get_docstring(node) is not None
        for target in (
            node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
        ):
            if isinstance(target, ast.Name):
                value = after.value if isinstance(after, ast.Expr) else None
                found[target.id] = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return {name: documented for name, documented in found.items() if not name.startswith("_")}


def _imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
