"""Successive halving: many settings with few seeds, few settings with many. Host code that knows no training."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

RunFn = Callable[[Int[np.ndarray, " setting"], Int[np.ndarray, " seed"]], np.ndarray]
"""`run_fn(settings, seeds) -> losses [setting, seed]`; equal seeds are equal trainings for all settings."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """Every setting of it is run with `seeds` seeds in all; the best `kept` go on, of the last rung always one."""

    seeds: int
    kept: int = 1


@dataclasses.dataclass(frozen=True)
class Halving:
    """What `successive_halving` found."""

    best: int
    losses: Float[np.ndarray, "setting seed"]  # NaN where a setting was not run
    trainings: int  # runs that it took
    choice_loss: float  # expected loss from a bad choice, in the units of the losses, >= 0

    @property
    def means(self) -> Float[np.ndarray, " setting"]:
        """Mean loss of every setting over the seeds it was run with; infinite where it was not run."""
        counts = np.isfinite(self.losses).sum(1)
        sums = np.nansum(self.losses, axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def successive_halving(
    run_fn: RunFn,
    num_settings: int,
    rungs: Sequence[Rung],
    *,
    start: Int[np.ndarray, " setting"] | None = None,
    neighbours: Int[np.ndarray, "setting neighbour"] | None = None,
    seed: int = 0,
) -> Halving:
    """The setting with the lowest mean loss, at a fraction of the price of all settings with all seeds.

    Results are reused: the seeds of a rung are those of the one before and the next ones. With `neighbours` a coarse
    grid grows finer around what is good: those of the settings that go on join the next rung, unless they have been
    run before. The last rung is repeated while its best setting has neighbours that were never run.

    Args:
      run_fn: losses of these settings with these seeds, finite: a run that diverged costs its first loss
        (`statistics.log_losses`).
      num_settings: settings are the numbers below it.
      rungs: from many settings to few; seeds must not fall.
      start: settings of the first rung, all by default.
      neighbours: of each setting, padded with itself.
      seed: of the resampling behind `choice_loss`.

    Raises:
      ValueError: no rung, seeds that fall, or losses that are not finite.
    """
    _check(rungs)
    losses = np.full((num_settings, rungs[-1].seeds), np.nan)
    settings = np.arange(num_settings) if start is None else np.unique(start)
    played: list[tuple[Rung, Int[np.ndarray, " setting"]]] = []

    def play(rung: Rung, settings: Int[np.ndarray, " setting"]) -> None:
        _complete(run_fn, losses, settings, rung.seeds)
        played.append((rung, settings))

    for rung in rungs:
        play(rung, settings)
        if rung is not rungs[-1]:
            kept = _best(losses[:, : rung.seeds], settings, rung.kept)
            settings = _joined(kept, _never_run(losses, kept, neighbours))
    while (more := _never_run(losses, _best(losses, settings, 1), neighbours)).size:
        settings = _joined(settings, more)
        play(rungs[-1], settings)
    choice_loss = _choice_loss(losses, played, np.random.default_rng(seed))
    trainings = int(np.isfinite(losses).sum())
    return Halving(int(_best(losses, settings, 1)[0]), losses, trainings, choice_loss)


def grid_neighbours(shape: tuple[int, ...]) -> Int[np.ndarray, "setting neighbour"]:
    """The settings one step away along each axis of a grid, whose settings are numbered row by row.

    An axis of length 1 has none; at the border of the grid a setting stands for the neighbour it lacks.
    """
    places = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))
    moved = []
    for axis, length in enumerate(shape):
        for step in (-1, 1):
            there = places.copy()
            there[axis] = np.clip(there[axis] + step, 0, length - 1)
            moved.append(np.ravel_multi_index(tuple(there), shape))
    return np.stack(moved, axis=1)


def _check(rungs: Sequence[Rung]) -> None:
    if not rungs:
        raise ValueError("successive halving needs at least one rung; got none.")
    seeds = [rung.seeds for rung in rungs]
    if min(seeds) < 1 or min(rung.kept for rung in rungs) < 1 or seeds != sorted(seeds):
        raise ValueError(f"rungs need rising seeds and at least one setting kept; got {rungs}.")


def _complete(
    run_fn: RunFn,
    losses: Float[np.ndarray, "setting seed"],
    settings: Int[np.ndarray, " setting"],
    seeds: int,
) -> None:
    """Run what these settings lack of their first `seeds` seeds, those that lack equally many together."""
    have = np.isfinite(losses[settings]).sum(1)
    for count in np.unique(have[have < seeds]):
        which, missing = settings[have == count], np.arange(count, seeds)
        found = np.asarray(run_fn(which, missing), float)
        if found.shape != (which.size, missing.size) or not np.isfinite(found).all():
            raise ValueError(
                f"`run_fn` must give finite losses {(which.size, missing.size)}, where a run that diverged costs "
                f"its first loss; got the shape {found.shape} with {np.count_nonzero(~np.isfinite(found))} not finite."
            )
        losses[np.ix_(which, missing)] = found


def _best(
    losses: Float[np.ndarray, "setting seed"], settings: Int[np.ndarray, " setting"], count: int
) -> Int[np.ndarray, " kept"]:
    order = np.argsort(losses[settings].mean(1), kind="stable")
    return settings[order[:count]]


def _never_run(
    losses: Float[np.ndarray, "setting seed"],
    settings: Int[np.ndarray, " setting"],
    neighbours: Int[np.ndarray, "setting neighbour"] | None,
) -> Int[np.ndarray, " setting"]:
    if neighbours is None:
        return np.zeros(0, int)
    around = np.unique(neighbours[settings])
    return around[np.isnan(losses[around, 0])]


def _joined(
    some: Int[np.ndarray, " setting"], others: Int[np.ndarray, " other"]
) -> Int[np.ndarray, " joined"]:
    return np.unique(np.concatenate([some, others]))


def _choice_loss(
    losses: Float[np.ndarray, "setting seed"],
    played: Sequence[tuple[Rung, Int[np.ndarray, " setting"]]],
    rng: np.random.Generator,
    num_resamples: int = 1000,
) -> float:
    """Halve again on resampled seeds, judge on all of them: how much worse the choice is, on average.

    A resample that drops a setting which went on in fact goes on without it; one that keeps another instead cannot
    know how that would have done, and goes on without that one too. Where nothing is left, the worst of the last rung
    is taken.
    """
    alive = np.ones((losses.shape[0], num_resamples), bool)
    for (rung, settings), (next_rung, following) in itertools.pairwise(played):
        means = _resampled_means(losses[settings, : rung.seeds], rng, num_resamples)
        count = (
            settings.size if next_rung is rung else rung.kept
        )  # a last rung that grew dropped nothing
        alive = _kept(means, settings, alive, count, following)
    last = played[-1][1]
    judged = losses[last].mean(1)
    means = np.where(alive[last], _resampled_means(losses[last], rng, num_resamples), np.inf)
    chosen = np.where(np.isfinite(means).any(0), means.argmin(0), judged.argmax())
    return float(np.mean(judged[chosen] - judged.min()))


def _resampled_means(
    losses: Float[np.ndarray, "setting seed"], rng: np.random.Generator, num_resamples: int
) -> Float[np.ndarray, "setting resample"]:
    num_seeds = losses.shape[1]
    counts = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
    return losses @ counts.T / num_seeds


def _kept(
    means: Float[np.ndarray, "played resample"],
    settings: Int[np.ndarray, " played"],
    alive: Bool[np.ndarray, "setting resample"],
    count: int,
    following: Int[np.ndarray, " following"],
) -> Bool[np.ndarray, "setting resample"]:
    """Which settings are alive in the next rung: the best `count`, and those that join only then."""
    means = np.where(alive[settings], means, np.inf)
    places = np.argsort(np.argsort(means, axis=0, kind="stable"), axis=0)
    kept = np.zeros_like(alive)
    kept[settings] = (places < count) & np.isfinite(means)
    kept[np.setdiff1d(following, settings)] = True
    return kept
