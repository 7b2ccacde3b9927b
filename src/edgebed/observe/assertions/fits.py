"""How close one array comes to another: as it is, and up to an affine map of each channel."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgebed.program.types import Array

TRIMMED: Final = 0.05
"""Share of the worst places that an exact judgement leaves out."""


def affine(x: Array, y: Array, keep: Array | None = None) -> tuple[Array, Array, float]:
    """Fit y = a x + b for each channel by least squares.

    Args:
        x: N x C x H x W; NaN where it says nothing.
        y: of the same shape.
        keep: where y may be used; None for everywhere.

    Returns:
        a, b per channel, and the share of y's variance that is left. A place where x says nothing
        counts a tenth of its variance.
    """
    channels = x.shape[1]
    a, b = np.ones(channels), np.zeros(channels)
    left = total = 0.0
    for channel in range(channels):
        p, q = x[:, channel].ravel(), y[:, channel].ravel()
        good = np.isfinite(p) if keep is None else np.isfinite(p) & keep[:, channel].ravel()
        if not good.any():
            return a, b, 1.0
        deviation = q - q[good].mean()
        p, q = p[good].astype(np.float64), deviation[good].astype(np.float64)
        mean = p.mean()
        variance = float(np.square(p - mean).sum())
        a[channel] = float(((p - mean) * q).sum()) / variance if variance > 1e-12 else 0.0
        b[channel] = float(y[:, channel].ravel()[good].mean()) - a[channel] * mean
        left += float(np.square(q - a[channel] * (p - mean)).sum())
        unseen = deviation[~good] if keep is None else deviation[~good & keep[:, channel].ravel()]
        left += 0.1 * float(np.square(unseen).sum())
        total += float(np.square(q).sum()) + float(np.square(unseen).sum())
    return a, b, left / total if total > 0 else 1.0


def root_mean_square(values: Array) -> float:
    """Return the root mean square of all but the TRIMMED largest; NaN counts for nothing.

    Infinity where more than half are NaN. Trimmed, because a little noise makes integers that wrap
    jump across their whole range.
    """
    squares = np.square(values[np.isfinite(values)])
    if 2 * squares.size < values.size:
        return float("inf")
    kept = max(1, int(squares.size * (1 - TRIMMED)))
    return float(np.sqrt(np.partition(squares, kept - 1)[:kept].mean()))
