"""What the differing values are: old ones, moved ones, wrapped ones, scaled ones, rounded ones.

Each of these leaves values that nothing else leaves: a jump of the same size wherever the reference
is large and nowhere else, one factor between all values of a channel, or the very values of the
frame before. Where a tensor has too few values to show that, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.observe.signature_places import FEW, MOST, SURE
from edgebed.program.types import Array

SAME_FACTOR: Final = 0.03
LEAST_FACTOR: Final = 1 / 16
"""Smaller ones leave nothing of a tensor that could be told."""
CHANGED: Final = 2.0
"""Steps; a value that changes by less may stay the same on a device that rounds."""
VARIED: Final = 0.5
"""Values of which the most frequent ones are more than this agree by chance."""
CHANNELS: Final = 3
"""So many channels at least show that each has a factor or an offset of its own."""
SPAN: Final = 8
"""A tensor that takes fewer steps shows no rounding: anything changes its values by one."""


@dataclass(frozen=True, eq=False)
class Values:
    """One layer in one frame.

    Attributes:
        a: the reference, float64.
        b: the device, in the same order.
        differs: bool.
        step: of integers; 0 for real numbers.
        ends: the smallest and largest value that the device's type can hold, or None.
        channels: axis, or None.
    """

    a: Array
    b: Array
    differs: Array
    step: float
    ends: tuple[float, float] | None
    channels: int | None

    @property
    def inside(self) -> Array:
        """Where neither side stands at an end of what it holds."""
        found: Array = _inside(self.a) & _inside(self.b)
        return found

    def by_channel(self) -> Iterator[Values]:
        """Give the values of each channel."""
        if self.channels is None:
            return
        parts = (np.moveaxis(one, self.channels, 0) for one in (self.a, self.b, self.differs))
        for a, b, differs in zip(*parts, strict=True):
            yield Values(a, b, differs, self.step, self.ends, None)


def _inside(values: Array) -> Array:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape, bool)
    found: Array = (values > finite.min()) & (values < finite.max())
    return found


def stale(v: Values, before: Array | None, reference_before: Array | None) -> str | None:
    """Return a text where the device holds what it held in the frame before.

    Only values count that stand at no end, at places where the reference has changed so much that
    the device would show it.
    """
    if before is None or before.shape != v.b.shape:
        return None
    old = before.astype(np.float64)
    looked = v.differs & _inside(v.b)
    if reference_before is not None and reference_before.shape == v.a.shape:
        with np.errstate(invalid="ignore"):
            looked &= np.abs(reference_before.astype(np.float64) - v.a) > CHANGED * v.step
    count = int(looked.sum())
    if count < FEW:
        return None
    same = float((old[looked] == v.b[looked]).mean())
    _, often = np.unique(v.b[looked], return_counts=True)
    if same < MOST or often.max() > VARIED * count:
        return None
    return f"{same:.0%} of those that changed hold what the frame before left there"


def moved(v: Values) -> str | None:
    """Return a text where a map is the reference's, one row or column further."""
    axes = [axis for axis in range(v.a.ndim) if axis != v.channels]
    if v.channels is None or len(axes) != 2 or min(v.a.shape[axis] for axis in axes) < 4:
        return None
    a, b = (np.moveaxis(one, v.channels, 0) for one in (v.a, v.b))
    known, changed = _inside(a), np.moveaxis(v.differs, v.channels, 0)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            here = (slice(None), _kept(down), _kept(right))
            there = (slice(None), _kept(-down), _kept(-right))
            looked = known[there] & changed[here]
            if (down or right) and int(looked.sum()) >= 4 * FEW:
                same = float((b[here] == a[there])[looked].mean())
                if same >= MOST and len(np.unique(a[there][looked])) >= SPAN:
                    return f"{same:.0%} of these are the reference's values {_way(down, right)}"
    return None


def _kept(by: int) -> slice:
    """Return the indices of a map that has moved by so many and stays inside."""
    return slice(max(by, 0), min(by, 0) or None)


def _way(down: int, right: int) -> str:
    words = [("one row up", "one row down")[down > 0]] * bool(down)
    words += [("one column left", "one column right")[right > 0]] * bool(right)
    return " and ".join(words)


def scaled(v: Values) -> str | None:
    """Return a text where the device's values are the reference's times a factor."""
    if not _tells_factor(v):
        return None
    whole = _fit(v, _factor)
    if whole is not None and abs(whole.value - 1) > SAME_FACTOR:
        return f"each {whole.value:.4g} times the reference's"
    factors = _fits(v, _factor, 1.0, SAME_FACTOR)
    offsets = _fits(v, _offset, 0.0, 1.5 * v.step)
    if not factors or (offsets and _rest(offsets) < _rest(factors)):
        return None
    spread = f"{min(f.value for f in factors):.3g} to {max(f.value for f in factors):.3g}"
    return f"each channel times a factor of its own ({spread})"


def neighbours(v: Values) -> str | None:
    """Return a text where each channel is what the next or the last one should be, less biases."""
    if v.channels is None or not _tells_factor(v) or v.a.shape[v.channels] < CHANNELS:
        return None
    a, b, differs = (np.moveaxis(one, v.channels, 0) for one in (v.a, v.b, v.differs))
    for by, word in ((1, "next"), (-1, "last")):
        mine, other = _kept(-by), _kept(by)
        shifted = Values(a[other], b[mine], differs[mine], v.step, v.ends, 0)
        told = [one for one in shifted.by_channel() if _told(one)]
        found = [one for one in told if _fit(one, _offset) is not None]
        if len(told) >= CHANNELS and len(found) >= MOST * len(told):
            return f"each channel holds what the {word} one should, but for a constant"
    return None


def offset(v: Values) -> str | None:
    """Return a text where each channel is off by a constant."""
    if not _tells_factor(v):
        return None
    found = _fits(v, _offset, 0.0, 1.5 * v.step)
    if not found:
        return None
    spread = f"{min(f.value for f in found):+.0f} to {max(f.value for f in found):+.0f} steps"
    return f"each channel off by a constant of its own ({spread})"


def _tells_factor(v: Values) -> bool:
    """Say whether more than rounding is wrong."""
    return bool(v.step) and float(np.abs(v.a - v.b)[v.differs].max()) > 1.5 * v.step


@dataclass(frozen=True)
class _Fit:
    """A number that explains a channel, and the mean square that it leaves."""

    value: float
    rest: float


_Model = Callable[[Array, Array], tuple[float, Array]]
"""From a reference and a device to a number, and the device that it predicts."""


def _factor(a: Array, b: Array) -> tuple[float, Array]:
    factor = float((a * b).sum() / max((a * a).sum(), 1e-9))
    return factor, factor * a


def _offset(a: Array, b: Array) -> tuple[float, Array]:
    gap = float(np.median(b - a))
    return gap, a + gap


def _fit(v: Values, model: _Model) -> _Fit | None:
    """Return the number that explains MOST of the values to one step or so, or None."""
    known = v.inside
    a, b = v.a[known], v.b[known]
    if a.size < FEW or a.max() - a.min() < 2 * SPAN * v.step:
        return None
    value, predicted = model(a, b)
    rounding = 0.5 * max(abs(value), 1.0) if model is _factor else 0.5
    close = np.abs(b - predicted) <= (rounding + 0.51) * v.step
    rest = float(((b - predicted) ** 2).mean())
    sound = model is _offset or value > LEAST_FACTOR
    return _Fit(value, rest) if sound and close.mean() >= MOST else None


def _fits(v: Values, model: _Model, usual: float, slack: float) -> list[_Fit]:
    """Return what explains each channel that has enough values; empty where that is not most."""
    if not v.step:
        return []
    told = [one for one in v.by_channel() if _told(one)]
    found = [fit for one in told if (fit := _fit(one, model)) is not None]
    other = sum(abs(one.value - usual) > slack for one in found)
    if len(told) < CHANNELS or len(found) < MOST * len(told) or other < max(2, len(told) / 2):
        return []
    return found


def _told(v: Values) -> bool:
    """Say whether a channel has enough values inside the range to tell a factor."""
    a = v.a[v.inside]
    return a.size >= FEW and bool(a.max() - a.min() >= 2 * SPAN * v.step)


def _rest(fits: list[_Fit]) -> float:
    return sum(one.rest for one in fits)


def rounded(v: Values) -> str | None:
    """Return a text where all differences are of one step, and values take too many for chance."""
    if not v.step or not v.differs.any():
        return None
    gap = (v.b - v.a)[v.differs]
    width = float(v.a.max() - v.a.min()) / v.step
    if float(np.abs(gap).max()) > 1.5 * v.step or width < SPAN:
        return None
    if gap.size * np.log(width / 2) < SURE:
        return None
    up = float((gap > 0).mean())
    inward = float((gap * np.sign(v.a[v.differs] + v.b[v.differs]) < 0).mean())
    way = f"{up:.0%} upwards"
    if max(inward, 1 - inward) >= MOST > max(up, 1 - up):
        way = "towards zero" if inward > 0.5 else "away from zero"
    return f"each by one step ({way})"
