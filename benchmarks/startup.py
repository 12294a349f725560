"""How long until the library can be used, and until the first learner update, cold and with a filled compilation cache?

    python -m benchmarks.startup --json out.json

Runs `python -m experiments.run train digits` twice in fresh processes that share an empty
compilation cache, and stops each when its run folder holds the metrics of the first two
chunks of updates; from the time to the first chunk the other updates in it are subtracted, at the
speed of the second chunk. Everything a user waits for is in it: imports, data, compilation,
and the evaluation that precedes the first update. `import ganno_jax` and `experiments.run --help` are timed in
processes of their own, the median of several.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import common

COLUMNS = {
    "variant": "",
    "network": "",
    "seconds": ".2f",
    "seconds_to_first_update": ".1f",
    "seconds_to_first_chunk": ".1f",
    "updates_per_chunk": "d",
}

ALONE = {
    "import ganno_jax": ("-c", "import ganno_jax"),
    "--help": ("-m", "experiments.run", "--help"),
}
"""Words after `python`, by variant."""


def alone(repeats: int) -> list[common.Row]:
    """A row for each of `ALONE`: the median seconds of so many processes, after one that is not counted."""

    def seconds(words: Sequence[str]) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    return [
        {
            "variant": variant,
            "seconds": statistics.median([seconds(words) for _ in range(repeats + 1)][1:]),
        }
        for variant, words in ALONE.items()
    ]


def first_update(
    preset: str, folder: Path, cache: Path, extra: Sequence[str], limit: float
) -> tuple[float, int, float]:
    """Start a run, wait for the metrics of its first two chunks of updates, stop it.

    Args:
      preset: of the run.
      folder: for the run; its log lies beside it.
      cache: folder of compiled programs.
      extra: further words of the command.
      limit: seconds to the first chunk, and twice as many to the second.

    Returns:
      Seconds until the first chunk's metrics, the updates in it, and seconds per later update.

    Raises:
      RuntimeError: the run ended or the time was up without them.
    """
    command = [sys.executable, "-m", "experiments.run", "train", preset]
    command += ["--run.folder", str(folder), *extra]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    metrics, log = folder / preset / "metrics.jsonl", folder.with_suffix(".log")
    begin = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            updates = _more_lines(process, metrics, 0, begin + limit)
            seconds = time.perf_counter() - begin
            later = _more_lines(process, metrics, updates, begin + 2 * limit)
            per_update = (time.perf_counter() - begin - seconds) / (later - updates)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text()[-2000:]}") from error
        finally:
            _stop(process)
    return seconds, updates, per_update


def _more_lines(process: subprocess.Popen, path: Path, than: int, deadline: float) -> int:
    """Wait until the file has more than `than` lines; their number once a chunk is complete."""
    count = 0
    while True:
        before = count
        count = path.read_text().count("\n") if path.exists() else 0
        if count > than and count == before:  # a chunk's lines are written within one wait
            return count
        if process.poll() is not None:
            raise RuntimeError(f"the run ended with status {process.returncode}.")
        if time.perf_counter() > deadline:
            raise RuntimeError("no update before the time was up.")
        time.sleep(0.02)


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(preset: str, extra: Sequence[str], limit: float) -> list[common.Row]:
    """Two rows: cold start, and second start.

    Args:
      preset: of the runs.
      extra: further words of the command.
      limit: as for `first_update`.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for variant in ("cold start", "second start"):
            seconds, updates, per_update = first_update(
                preset, base / variant.replace(" ", "_"), base / "cache", extra, limit
            )
            rows.append(
                {
                    "variant": variant,
                    "network": preset,
                    "seconds_to_first_update": seconds - (updates - 1) * per_update,
                    "seconds_to_first_chunk": seconds,
                    "updates_per_chunk": updates,
                    "seconds_per_update": per_update,
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds to wait for an update")
    args = parser.parse_args(arguments)
    tiny = ["--learner.num-envs", "8", "--env.num-decisions", "2", "--env.interval", "2"]
    rows = alone(1 if args.quick else 5)
    rows += measure(args.preset, tiny if args.quick else [], args.limit)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
