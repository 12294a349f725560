"""What many runs say together: losses with the cost of divergence, robust means, speed.

Pure NumPy on the host. A run is one seed on one task. Every function but `log_losses`,
`share_diverged` and `steps_to_reach` wants finite values and says so: diverged runs are first given
their stated cost (`log_losses`, `replace_diverged`), so that leaving them out can never flatter a
policy. How sure the numbers are stands in `bootstrap`.

The choices follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice", arXiv:2108.13264: interquartile means and performance profiles here, the stratified
percentile bootstrap and the probability of improvement there.
"""

import math

import numpy as np
from jaxtyping import Bool, Float, Int

LOWEST_LOSS = 1e-8
"""Below it losses count as this, so that their logarithms stay finite."""


def log_losses(
    losses: Float[np.ndarray, "..."],
    chance_loss: float | Float[np.ndarray, "..."],
    diverged: Bool[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Natural logarithms of losses, where a diverged run costs as much as guessing.

    Non-finite losses, losses of runs flagged in `diverged`, and finite losses above `chance_loss`
    all become `log(chance_loss)`. The cap on finite losses keeps the order of runs: without it a
    run that ended badly but finite would count as worse than one that broke.

    Args:
      losses: losses, >= 0 where finite.
      chance_loss: the loss of guessing, `log(num_classes)` for cross-entropy; not logged. May be
        one per run, broadcast against `losses`.
      diverged: flags, broadcast against `losses`.

    Returns:
      Finite numbers in `[log(1e-8), log(chance_loss)]`.

    Raises:
      ValueError: if a loss is negative or `chance_loss` is not a positive finite number.
    """
    chance = np.asarray(chance_loss, float)
    if not (np.isfinite(chance) & (chance > LOWEST_LOSS)).all():
        raise ValueError(
            f"`chance_loss` needs positive finite losses, not logged; got {chance_loss}."
        )
    broken = ~np.isfinite(losses) if diverged is None else ~np.isfinite(losses) | diverged
    kept = np.where(broken, chance, losses)
    if (kept < 0).any():
        raise ValueError(f"`losses` need to be >= 0, not logged yet; got {kept.min()}.")
    return np.log(np.clip(kept, LOWEST_LOSS, chance))


def replace_diverged(
    values: Float[np.ndarray, "..."],
    substitute: float | Float[np.ndarray, "..."],
    diverged: Bool[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Put `substitute` (say, the accuracy of guessing) for non-finite values and flagged runs.

    Args:
      values: of runs, of any shape.
      substitute: of a shape that broadcasts with it.
      diverged: runs whose value does not count although it is finite, of the same shape; None for none.
    """
    broken = ~np.isfinite(values) if diverged is None else ~np.isfinite(values) | diverged
    return np.where(broken, substitute, values)


def share_diverged(
    losses: Float[np.ndarray, " run"], diverged: Bool[np.ndarray, " run"] | None = None
) -> float:
    """Fraction of runs that are flagged or whose loss is not finite, in [0, 1]."""
    broken = ~np.isfinite(losses) if diverged is None else ~np.isfinite(losses) | diverged
    return float(broken.mean())


def interquartile_mean(
    values: Float[np.ndarray, "*batch run"], axis: int = -1
) -> Float[np.ndarray, "*batch"]:
    """Mean of the middle half: `floor(n / 4)` runs are dropped at either end.

    Fewer outliers reach it than reach the mean, and it varies less than the median (Agarwal et al.
    2021, section 4.3). Runs of several tasks are pooled. Below four runs it is the mean.
    """
    require_finite(values, "interquartile_mean")
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    dropped = ordered.shape[-1] // 4
    return ordered[..., dropped : ordered.shape[-1] - dropped].mean(axis=-1)


def worst_decile(
    scores: Float[np.ndarray, "*batch run"], axis: int = -1
) -> Float[np.ndarray, "*batch"]:
    """Mean of the lowest tenth of the scores, `ceil(n / 10)` runs.

    For losses, where high is bad, take `-worst_decile(-losses)`.
    """
    require_finite(scores, "worst_decile")
    scores = np.moveaxis(scores, axis, -1)
    count = math.ceil(scores.shape[-1] / 10)
    return np.partition(scores, count - 1, axis=-1)[..., :count].mean(axis=-1)


def performance_profile(
    values: Float[np.ndarray, " run"], thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """Share of runs at or below each threshold: the distribution behind the mean, in [0, 1]."""
    require_finite(values, "performance_profile")
    return (values[:, None] <= thresholds).mean(axis=0)


def steps_to_reach(
    curve: Float[np.ndarray, "*batch point"],
    target: float,
    steps: Int[np.ndarray, " point"] | None = None,
) -> Float[np.ndarray, "*batch"]:
    """First inner step at which the running minimum of a curve is at or below the target.

    Args:
      curve: losses over time, logged or not. Points that are not numbers never reach the target;
        a run that reached it and diverged later has reached it.
      target: in the units of the curve.
      steps: the inner step of each point; by default its index.

    Returns:
      The step, `nan` where the target was never reached.
    """
    reached = curve <= target
    at = np.arange(curve.shape[-1]) if steps is None else np.asarray(steps)
    return np.where(reached.any(axis=-1), at[reached.argmax(axis=-1)].astype(float), np.nan)


def area_under_curve(
    loss_curve: Float[np.ndarray, "*batch point"], chance_loss: float
) -> Float[np.ndarray, "*batch"]:
    """Mean log loss over the points of a curve: lower means earlier as well as better.

    Points after a divergence should be non-finite; they cost `log(chance_loss)` (see `log_losses`).

    Args:
      loss_curve: losses at equally spaced steps, not logged.
      chance_loss: the loss of guessing, not logged.
    """
    return log_losses(loss_curve, chance_loss).mean(axis=-1)


def require_finite(values: np.ndarray, name: str) -> None:
    """Raise a `ValueError`, for the function of this name, where there is no run or a value is not finite."""
    if values.size == 0:
        raise ValueError(f"`{name}` needs at least one run; got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"`{name}` needs finite values; give diverged runs their cost with `log_losses` or "
            f"`replace_diverged` first; got {np.count_nonzero(~np.isfinite(values))} that are not."
        )
