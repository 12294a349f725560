"""Are the speed targets met on this machine? Runs the benchmarks, each in a process of its own.

    python -m benchmarks.run [--quick] [--json DIR] [--write-readme] [--torch-python PATH]

Prints every table, then the targets with the measured values beside them. `--json DIR` keeps the rows
(and the figure); `--write-readme` writes the tables into benchmarks/README.md and the figure into
docs/figures, from what was just measured or, with `--only-readme`, from the files that are in DIR.
About three quarters of an hour on two quiet cores, half of it for Muon in `door_size`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import readme
from benchmarks.targets import Row, judge

WITH_TARGETS = (
    *("inner_step", "scaling", "learner", "memory", "door", "compile_time", "startup"),
    *("rules", "step_size", "door_size"),
)
OTHERS = ("convolution",)
FIGURE = "scaling.png"


def run_one(name: str, folder: Path, quick: bool, torch_python: str | None) -> bool:
    """Run a benchmark; its rows go to `<folder>/<name>.json`.

    Args:
      name: of the benchmark.
      folder: for the rows.
      quick: whether with tiny settings.
      torch_python: a Python that has PyTorch; None for this one.
    """
    rows = folder / f"{name}.json"
    for older in files_of(folder, name):  # an older run's must not stand for one that fails
        older.unlink()
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(rows)]
    if quick:
        command.append("--quick")
    if name == "inner_step" and torch_python:
        command += ["--torch-python", torch_python]
    if name == "scaling":
        command += ["--figure", str(folder / FIGURE)]
    print(f"== {name}", flush=True)
    begin = time.perf_counter()
    code = subprocess.run(command).returncode
    state = "done" if code == 0 else f"failed with status {code}"
    print(f"-- {name} {state} in {time.perf_counter() - begin:.0f} s\n", flush=True)
    return code == 0


def load(folder: Path) -> dict[str, list[Row]]:
    """The rows of all benchmarks with rows that are in a folder."""
    files = {name: files_of(folder, name) for name in WITH_TARGETS + OTHERS}
    return {
        name: [row for path in paths for row in json.loads(path.read_text())]
        for name, paths in files.items()
        if paths
    }


def files_of(folder: Path, name: str) -> list[Path]:
    """Those of a benchmark: `<name>.json`, and parts that were asked for alone, such as `<name>.resnet18.json`."""
    return sorted([*folder.glob(f"{name}.json"), *folder.glob(f"{name}.*.json")])


def print_targets(results: dict[str, list[Row]]) -> None:
    """The table of targets and the machine."""
    rows = judge(results)
    widths = [max(len(str(row[key])) for row in rows) for key in rows[0]]
    for row in ({key: key for key in rows[0]}, *rows):
        cells = [str(value).ljust(w) for value, w in zip(row.values(), widths, strict=True)]
        print("  ".join(cells).rstrip())
    where = readme.machine_line(results)
    if where:
        print(f"\n{where}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="folder for the rows of every benchmark")
    parser.add_argument("--quick", action="store_true", help="tiny settings: shows that it runs")
    parser.add_argument("--only", nargs="+", choices=WITH_TARGETS + OTHERS)
    parser.add_argument("--all", action="store_true", help="also what has no target: convolution")
    parser.add_argument("--torch-python", help="a Python that has PyTorch; by default this one")
    parser.add_argument(
        "--write-readme", action="store_true", help="write the tables into benchmarks/README.md"
    )
    parser.add_argument("--only-readme", action="store_true", help="measure nothing; needs --json")
    parser.add_argument(
        "--only-targets", action="store_true", help="nor write anything; needs --json"
    )
    args = parser.parse_args(arguments)
    if (args.only_readme or args.only_targets) and args.json is None:
        parser.error("--only-readme and --only-targets need --json DIR")
    if args.only and args.write_readme and args.json is None:
        parser.error("--only with --write-readme needs --json DIR, where the other rows are")
    if args.quick and args.write_readme:
        parser.error("--quick measures nothing that belongs into a README")
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.json or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (args.only_readme or args.only_targets):
            names = args.only or WITH_TARGETS + (OTHERS if args.all else ())
            failed = [n for n in names if not run_one(n, folder, args.quick, args.torch_python)]
        results = load(folder)
        print_targets(results)
        if args.quick:
            print("Tiny settings (--quick): these values say only that everything runs.")
        if (args.write_readme or args.only_readme) and not failed:
            readme.write(results, readme.HERE)
            if (folder / FIGURE).exists():
                shutil.copy(folder / FIGURE, readme.FIGURES / FIGURE)
    if failed:
        print(f"failed: {', '.join(failed)}; no README is written", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
