"""Exact requantisation as one float32 multiply-add that rounds to whole numbers by itself.

A float32 between 2**23 and 2**24 has no bits below the point. So fma(x, slope, 1.5 * 2**23 + n)
rounds x * slope + n to the nearest integer, half to even, once; its bits less those of 1.5 * 2**23
are that integer. Three instructions, but n is a whole number: the part of the offset below one
comes from a bias moved by so much that moved * slope has it.

As in affine.py, a rule is known by its thresholds: the least accumulator of every level. The
constants are right where every accumulator beside a threshold lands on its side of it, and that
is evaluated exactly here, for all thresholds that the layer can reach: x has 24 bits at most, so
that float64 holds x * slope without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.affine import Conditions
from edgebed.targets.host.kernels.requantize import Bounds, Requantization, blocks
from edgebed.targets.host.kernels.rules import Rescale

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[Any]
Truths = npt.NDArray[np.bool_]

MAGIC: Final = 12582912.0
"""1.5 * 2**23: sums about it are integers."""
_STEPS: Final = (0, 1, -1, 2, -2, 3, -3)  # slopes tried, in units of the last place
_EXACT: Final = 1 << 24  # integers up to here are exact in float32
_LEVELS: Final = 1 << 21  # beyond that a sum would leave the range without bits below the point


@dataclass(frozen=True, eq=False)
class Snapped:
    """Constants with which fma(times * (acc + moved), slope, MAGIC + whole) - MAGIC is exact.

    Attributes:
        slope: float32 [channels].
        whole: int64 [channels].
        moved: int64 [channels], added to the bias.
        times: the kernel hands over accumulators that are so many times as large.
        negative: int64 [2, channels], moved and whole for negative accumulators; None: the same.
    """

    slope: Floats
    whole: Ints
    moved: Ints
    times: int = 1
    negative: Ints | None = None

    def levels(self, acc: Ints) -> tuple[Ints, Floats, Ints]:
        """Return what accumulators (int64 [channels, K]) meet: x, x * slope, and whole.

        The product is exact where x has 24 bits at most, as float64.
        """
        moved, whole = self.moved[:, None], self.whole[:, None]
        if self.negative is not None:
            moved = np.where(acc < 0, self.negative[0][:, None], moved)
            whole = np.where(acc < 0, self.negative[1][:, None], whole)
        x: Ints = self.times * (acc + moved)
        return x, x * self.slope.astype(np.float64)[:, None], whole


def snapped(rescale: Rescale, bounds: Bounds, times: int = 1) -> Requantization | None:
    """Return the rule as EB_SNAPPED or EB_SNAPPED_KINK, proved for accumulators in the bounds.

    Args:
        rescale: the rule.
        bounds: of the accumulators, bias included.
        times: the kernel hands over accumulators that are so many times as large.

    Returns:
        The rule, whose `moved` is to be added to the bias; None where no constants were found.
    """
    if rescale.rule == "none":
        return None
    ends = rescale.stored(np.stack([bounds.low, bounds.high], axis=1))
    least, most = np.clip(ends, rescale.low, rescale.high).T
    alive = np.flatnonzero(least < most)  # the others give one level, whatever the input
    if not len(alive):
        return None
    found = find(rescale.at(alive), Bounds(bounds.low[alive], bounds.high[alive]), times)
    if found is None:
        return None
    count = len(bounds.low)
    slope, moved = np.zeros(count, np.float32), np.zeros(count, np.int64)
    whole = least.copy()
    slope[alive], whole[alive], moved[alive] = found.slope, found.whole, found.moved
    words = [slope.view(np.int32), _magic(whole)]
    if found.negative is None:
        table = np.concatenate([blocks(word) for word in words], axis=1)
        return Requantization("EB_SNAPPED", table, rescale.clamp, moved=moved)
    further, below = np.zeros(count, np.int64), whole.copy()
    further[alive], below[alive] = found.negative[0] - found.moved, found.negative[1]
    every: tuple[npt.NDArray[Any], ...] = (*words, times * moved, times * further, _magic(below))
    table = np.concatenate([blocks(word) for word in every], axis=1)
    return Requantization("EB_SNAPPED_KINK", table, rescale.clamp, moved=moved)


def _magic(whole: Ints) -> npt.NDArray[np.int32]:
    """Return the bits of MAGIC + whole as float32."""
    bits: npt.NDArray[np.int32] = (MAGIC + whole).astype(np.float32).view(np.int32)
    return bits


def find(rescale: Rescale, bounds: Bounds, times: int = 1) -> Snapped | None:
    """Return constants proved exact for accumulators within the bounds; None: none were found."""
    conditions = Conditions.of(rescale, bounds)
    if conditions is None:
        return None
    for kinked in (False, True):
        found = _search(conditions, kinked, times)
        if found is not None and _proved(conditions, found, bounds):
            return found
    return None


def _search(conditions: Conditions, kinked: bool, times: int) -> Snapped | None:
    """Try slopes, the one that leaves the widest interval for the offset first."""
    signs = (1, -1) if kinked else (0,)
    base = (conditions.real / times).astype(np.float32).view(np.int32)
    steps = [(base + np.int32(step)).view(np.float32) for step in _STEPS]
    slopes = [times * step.astype(np.float64) for step in steps]  # of the accumulators; exact
    ends = np.array([[conditions.offsets(slope, sign) for sign in signs] for slope in slopes])
    # steps, signs, low and high, channels
    widest = np.argsort((ends[:, :, 0] - ends[:, :, 1]).max(axis=1), axis=0)
    found = [
        _channel([(float(slopes[step][c]), ends[step, :, :, c]) for step in widest[:, c]])
        for c in range(len(base))
    ]
    if None in found:
        return None
    numbers = np.array(found, np.float64).T  # slope, then moved and whole of each sign
    moves = numbers[1:].astype(np.int64)
    slope = (numbers[0] / times).astype(np.float32)  # exact again
    return Snapped(slope, moves[1], moves[0], times, moves[2:] if kinked else None)


def _channel(slopes: Sequence[tuple[float, Floats]]) -> tuple[float, ...] | None:
    """Return the first slope with integers for every sign's interval (rows: low, high)."""
    for slope, intervals in slopes:
        numbers = [_split(slope, low, high) for low, high in intervals.tolist()]
        if None not in numbers:
            return (slope, *(n for pair in numbers if pair for n in pair))
    return None


def _split(slope: float, low: float, high: float) -> tuple[int, int] | None:
    """Return integers (move, whole) with low < slope * move + whole < high; a small move."""
    top, one = slope.as_integer_ratio()  # one is a power of two, and all of this a multiple of 1/it
    first, last = math.floor(low * one) + 1, math.ceil(high * one) - 1
    if first > last:
        return None
    moves = [
        sign * k
        for sign in (1, -1)
        if (k := _least(sign * top % one, one, first % one, last - first)) is not None
    ]
    if not moves or min(map(abs, moves)) > _EXACT:
        return None
    move = min(moves, key=abs)
    return move, -((top * move - first) // one)


def _least(a: int, m: int, first: int, length: int) -> int | None:
    """Return the least k >= 0 for which a * k lies in first .. first + length, modulo m."""
    if first == 0 or first + length >= m:
        return 0
    return _first_within(a, m, first, first + length)


def _first_within(a: int, m: int, low: int, high: int) -> int | None:
    """Return the least k >= 0 with low <= a * k mod m <= high, for 0 < low <= high < m and a < m.

    As in Euclid's algorithm: a * k - m * y lies within; modulo a that is the same question about y.
    """
    if a == 0:
        return None
    if (k := -(-low // a)) * a <= high:
        return k
    y = _first_within(m % a, a, -high % a, -low % a)
    return None if y is None else -(-(low + m * y) // a)


def _proved(conditions: Conditions, found: Snapped, bounds: Bounds) -> bool:
    """Return whether every condition is met, evaluated as the processor computes it."""
    ends = np.stack([bounds.low, bounds.high, 0 * bounds.low, 0 * bounds.low - 1], axis=1)
    x, product, whole = found.levels(ends)
    widest = max(np.abs(product + whole).max(), np.abs(whole).max())
    even = found.times & -found.times  # bits that stay zero cost no precision
    if np.abs(x).max() >= min(_EXACT * even, 1 << 31) or widest > _LEVELS:
        return False
    _, product, whole = found.levels(conditions.point)
    least = conditions.level - 0.5 - whole
    # A half goes to the even level, and MAGIC is even.
    reached = np.where(conditions.level % 2 == 0, product >= least, product > least)
    return bool(((reached == conditions.reaches) | ~conditions.matters).all())
