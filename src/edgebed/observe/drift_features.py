"""Numbers of one tensor in one frame that a drift moves, few enough to keep of every frame.

Of every tensor: mean, deviation, low and high end, zeros, and values at the ends of the integers.
Of a picture that enters a network also what tells one fault from another: means per channel,
their deviation and contrast, sharpness (change between neighbouring pixels over deviation), grain
(change of that change: noise has much), leaning (vertical over horizontal change: a rotated camera
turns it around) and how bright each cell of a grid of 3 x 3 is against the whole picture. The last
four do not change with brightness. Of scores also the mean and the share of wins of each class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np

from edgebed.observe.drift_what_if import LIKE
from edgebed.observe.trace import Tensor
from edgebed.program.types import Array

GRID: Final = 3
LEAST_SIDE: Final = 8
"""Pixels a picture has at least on either side."""
MOST_CHANNELS: Final = 8
MOST_CLASSES: Final = 64
_SMALL: Final = 1e-6

SHARES: Final = ("zeros", "at_low", "at_high")
"""Features that most frames have little of and some nearly all: their roots are compared."""
FAR: Final = 8.0
"""Deviations beyond which a frame counts no more, unless the reference has a farther one."""

Features = Mapping[str, float]


def features(tensor: Tensor) -> dict[str, float]:
    """Return the features of a tensor, by name; NaN and infinities are left out of all.

    Args:
        tensor: with values; or with statistics, which give fewer features.
    """
    if tensor.values is None:
        return _of_statistics(tensor)
    real = tensor.real
    good = real[np.isfinite(real)]
    if not good.size:
        return {}
    found = {**_plain(good), **_at_ends(tensor)}
    planes = picture(tensor, real) if tensor.role == "input" else None
    if planes is not None and good.size == real.size:
        found.update(_of_picture(planes, found["mean"], found["deviation"]))
    if tensor.role == "output" and good.size == real.size:
        found.update(_of_scores(real.ravel()))
    return found


def _plain(good: Array) -> dict[str, float]:
    low, high = np.percentile(good, (1, 99))
    return {
        "mean": float(good.mean(dtype=np.float64)),
        "deviation": float(good.std(dtype=np.float64)),
        "low": float(low), "high": float(high),
        "zeros": float((good == 0).mean()),
    }  # fmt: skip


def _at_ends(tensor: Tensor) -> dict[str, float]:
    values = tensor.values
    assert values is not None  # features() took the other way
    if values.dtype.kind not in "iu" or tensor.scale is None:
        return {}
    info = np.iinfo(values.dtype)
    return {
        "at_low": float((values == info.min).mean()),
        "at_high": float((values == info.max).mean()),
    }


def _of_statistics(tensor: Tensor) -> dict[str, float]:
    known = tensor.statistics
    if known is None or known.bad == known.count:
        return {}
    # Low and high of statistics are extremes, those of values are percentiles: never mixed.
    found = {
        "mean": known.mean, "deviation": known.deviation, "least": known.low, "most": known.high,
        "zeros": known.zeros,
    }  # fmt: skip
    if tensor.scale is not None:
        found.update({"at_low": known.at_low, "at_high": known.at_high})
    return found


def picture(tensor: Tensor, real: Array) -> Array | None:
    """Return a tensor as channels x rows x columns; None for one that is no picture."""
    layout = tensor.layout.upper()
    if real.ndim == 4 and real.shape[0] == 1:
        real, layout = real[0], layout.removeprefix("N")
    if real.ndim == 2:
        real, layout = real[None], "CHW"
    if real.ndim != 3:
        return None
    if sorted(layout) != sorted("CHW"):
        last = real.shape[2] <= MOST_CHANNELS < real.shape[0]
        layout = "HWC" if last else "CHW"
    planes = real.transpose([layout.index(axis) for axis in "CHW"])
    enough = min(planes.shape[1:]) >= LEAST_SIDE and planes.shape[0] <= MOST_CHANNELS
    return planes if enough else None


def _of_picture(planes: Array, mean: float, deviation: float) -> Iterator[tuple[str, float]]:
    if len(planes) > 1:
        for at, plane in enumerate(planes):
            middle = float(plane.mean(dtype=np.float64))
            yield f"channel {at} mean", middle
            yield f"channel {at} contrast", middle - mean
            yield f"channel {at} deviation", float(plane.std(dtype=np.float64))
    grey = planes.mean(0)
    spread = max(float(grey.std()), 1e-3 * deviation, _SMALL)
    down, right = np.diff(grey, axis=0), np.diff(grey, axis=1)
    steps = float(np.abs(down).mean()), float(np.abs(right).mean())
    second = float(np.abs(np.diff(right, axis=1)).mean() + np.abs(np.diff(down, axis=0)).mean())
    tiny = 1e-4 * spread
    yield "sharpness", math.log((sum(steps) + tiny) / spread)
    yield "grain", math.log((second + tiny) / (sum(steps) + tiny))
    yield "leaning", math.log((steps[0] + tiny) / (steps[1] + tiny))
    for row, band in enumerate(np.array_split(grey, GRID, axis=0)):
        for column, cell in enumerate(np.array_split(band, GRID, axis=1)):
            yield f"cell {row}{column}", (float(cell.mean()) - float(grey.mean())) / spread


def _of_scores(scores: Array) -> Iterator[tuple[str, float]]:
    if not 2 <= scores.size <= MOST_CLASSES:
        return
    best = int(scores.argmax())
    for at, score in enumerate(scores):
        yield f"class {at} score", float(score)
        yield f"class {at} wins", float(at == best)


def floor_of(name: str, deviation: float, step: float) -> float:
    """Return the change of a feature that is too small to matter.

    Args:
        name: of the feature.
        deviation: mean deviation of the tensor's values.
        step: real value of one integer step; 0 for real numbers.
    """
    if name in SHARES:
        return 0.02  # of its root
    if name.endswith(" wins"):
        return 0.005
    if name in ("sharpness", "grain", "leaning") or name.startswith(("cell", LIKE)):
        return 0.02
    return max(0.02 * deviation, 0.25 * step, _SMALL * max(abs(deviation), 1e-20))


def bounds(values: Array, floors: Array) -> tuple[Array, Array]:
    """Return how small and how large each feature of a frame may count.

    Args:
        values: of the reference, frames x features.
        floors: changes that are too small to matter, by feature.
    """
    mean, reach = values.mean(0), FAR * values.std(0) + FAR * floors
    return np.minimum(values.min(0), mean - reach), np.maximum(values.max(0), mean + reach)


def tamed(values: Array, names: Collection[str], low: Array, high: Array) -> Array:
    """Return what is compared: one frame far from all others must not speak for its window.

    Args:
        values: frames x features.
        names: of the features, with or without their tensor's.
        low: of `bounds`.
        high: likewise.
    """
    found = np.clip(values, low, high)
    share = np.array([name.rpartition("/")[2] in SHARES for name in names])
    found[:, share] = np.sqrt(np.maximum(found[:, share], 0.0))
    result: Array = found
    return result


def likeness(one: Array, other: Array) -> float:
    """Return the correlation of two frames' values; 1 for equal, 0 where one is constant."""
    if one.shape != other.shape:
        return 0.0
    a, b = (x.ravel().astype(np.float64) for x in (one, other))
    if np.array_equal(a, b):
        return 1.0
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if math.isfinite(size) and size > 0 else 0.0
