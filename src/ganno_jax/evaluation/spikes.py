"""Spikes of a loss curve: where it rose most."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Spike(NamedTuple):
    """The largest rise of a loss curve: index of the low before it, of its top, and its height.

    The height is the difference of log losses.
    """

    start: int
    peak: int
    height: float


def find_spike(losses: Float[np.ndarray, " point"], window: int = 50) -> Spike | None:
    """The largest rise of the log loss from a low to a top at most `window` points later.

    Args:
      losses: > 0; points that are not finite and positive are passed over.
      window: longest rise that still counts as a spike, in points, >= 1. For noisy losses smooth
        them first.

    Returns:
      The spike, None if the loss never rises.
    """
    usable = np.isfinite(losses) & (losses > 0)
    logged = np.where(usable, np.log(np.where(usable, losses, 1.0)), np.nan)
    padded = np.concatenate([np.full(window, np.nan), logged])
    # before[t] holds the points t - window, ..., t, so that a low and its top are in one row.
    before = np.lib.stride_tricks.sliding_window_view(padded, window + 1)
    lows = np.where(np.isnan(before), np.inf, before).min(axis=1)
    heights = np.where(usable, np.where(usable, logged, 0.0) - lows, 0.0)
    peak = int(np.argmax(heights))
    if not heights[peak] > 0:
        return None
    # The last of several equal lows: the rise starts there.
    row = np.where(np.isnan(before[peak]), np.inf, before[peak])
    start = peak - int(np.argmin(row[::-1]))
    return Spike(start, peak, float(heights[peak]))
