"""Runs of one preset with several learner seeds, together: what the agents gain, with an interval over seeds and runs.

    python -m experiments.agents.learner_seeds FOLDER FOLDER ...

The folders are those of finished runs (`train PRESET --seed K`). Every run reports the same trainings, so all
differences are paired; the tuned schedule is the same in all.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.agents.evaluation_arrays import (
    JUDGES,
    Arrays,
    accuracies_of,
    best_schedule,
    index_of,
    judges_of,
    log_losses_of,
    stored,
)
from experiments.runs.folder import RunFolder
from ganno_jax.evaluation.across_problems import over_problems
from ganno_jax.evaluation.bootstrap import Interval

SCHEDULE = "the best tuned schedule"


def differences(arrays: Arrays) -> dict[str, Float[np.ndarray, " run"]]:
    """Final log report loss of the agents minus that of each judge and of the tuned schedule, by run."""
    losses = log_losses_of(arrays)
    places = {JUDGES[key]: index_of(arrays, key) for key in judges_of(arrays)}
    places[SCHEDULE] = best_schedule(arrays)
    ours = losses[index_of(arrays, "agents")]
    return {words: ours - losses[place] for words, place in places.items()}


def together(runs: Sequence[Arrays]) -> dict[str, tuple[Interval, list[float]]]:
    """For each comparison the mean with its interval over learner seeds and runs, and the mean of every seed.

    Raises:
      ValueError: the runs did not report the same trainings, by the losses of the tuned schedule.
    """
    rivals = [log_losses_of(arrays)[best_schedule(arrays)] for arrays in runs]
    if not all(np.array_equal(rivals[0], other) for other in rivals[1:]):
        raise ValueError(
            "the runs must be of one preset, evaluated in the same trainings: the tuned schedule's losses differ."
        )
    found = [differences(arrays) for arrays in runs]
    table = {}
    for words in found[0]:
        by_seed = np.stack([difference[words] for difference in found])
        table[words] = over_problems([by_seed]), by_seed.mean(1).tolist()
    return table


def lines(names: Sequence[str], runs: Sequence[Arrays]) -> list[str]:
    """A Markdown table."""
    accuracies: Mapping[str, Float[np.ndarray, " seed"]] = {
        "agents": np.array([accuracies_of(a)[index_of(a, "agents")].mean() for a in runs]),
        "schedule": np.array([accuracies_of(a)[best_schedule(a)].mean() for a in runs]),
    }
    rows = [
        "| agents minus | mean, seeds and runs | seeds below | every seed |",
        "| --- | --- | --- | --- |",
    ]
    for words, (interval, means) in together(runs).items():
        below = sum(mean < 0 for mean in means)
        each = ", ".join(f"{mean:+.3f}" for mean in means)
        bounds = f"[{interval.lower:+.3f}, {interval.upper:+.3f}]"
        rows.append(
            f"| {words} | {interval.estimate:+.3f} {bounds} | {below} of {len(means)} | {each} |"
        )
    ours, theirs = (f"{100 * values.mean():.1f}%" for values in accuracies.values())
    each = ", ".join(f"{100 * value:.1f}%" for value in accuracies["agents"])
    return [
        *rows,
        "",
        f"Accuracy: agents {ours} ({each}), {SCHEDULE} {theirs}. Folders: {', '.join(names)}.",
    ]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of finished runs")
    folders = parser.parse_args(words).folders
    try:
        runs = [stored(RunFolder(folder)) for folder in folders]
        text = lines([str(folder) for folder in folders], runs)
    except (ValueError, KeyError) as error:
        parser.error(str(error))
    print("\n".join(text))


if __name__ == "__main__":
    main()
