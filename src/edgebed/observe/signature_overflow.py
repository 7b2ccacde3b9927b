"""Sums that leave their bits: large values, and no others, come back by one amount.

A sum that leaves N bits comes back 2^N lower or higher. In steps of the output that is one jump M
(for each channel, where each has a scale), and so: all values from M/2 on differ, on both sides of
zero, and none within; what differs lies within M/2 of zero; and each difference is a multiple of M,
where neither side stands at an end of its range. Behind `abs` the jump may be a sum instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.observe.signature_places import FEW, MOST, SURE, divergence
from edgebed.observe.signature_values import SPAN, Values
from edgebed.program.types import Array

QUIET: Final = 0.02
"""Values beyond the threshold that are right all the same, of those that are not."""
FALLEN: Final = 0.2
"""At least this share has gone down: large positive sums are half of them."""


@dataclass(frozen=True)
class Wrapped:
    """What speaks for an overflow in some values, and against it.

    Attributes:
        count: values that differ.
        against: values beyond the threshold that are right.
        quiet: values within it that are right.
        width: steps that those cover.
        inside: differing values where the reference stands at no end.
        back: differing values that lie within the threshold on the device.
        spread: steps that the differing values cover on the device.
        jumps: differing values with neither side at an end: the jump is known.
        equal: those whose jump is a multiple of one size.
        chance: of those that would be equal by chance, their number.
        crossed: differing values on the other side of zero, or at the other end.
        size: of the jump, in steps.
    """

    count: int = 0
    against: int = 0
    quiet: int = 0
    width: float = 0.0
    inside: int = 0
    back: int = 0
    spread: float = 0.0
    jumps: int = 0
    equal: int = 0
    chance: float = 0.0
    crossed: int = 0
    size: float = 0.0

    @property
    def possible(self) -> bool:
        """Whether large values differ and no others, of enough."""
        enough = min(self.count, self.quiet) >= FEW
        return enough and self.against <= QUIET * self.count and self.width >= SPAN

    @property
    def jumped(self) -> bool:
        """Whether the jumps have one size, and not by chance."""
        if self.jumps < FEW or self.equal < MOST * self.jumps:
            return False
        expected = min(max(self.chance / self.jumps, 0.01), 1.0)
        return self.jumps * divergence(self.equal / self.jumps, expected) > SURE

    @property
    def came_back(self) -> bool:
        """Whether all lie within the threshold now, and not on one value."""
        told = self.inside >= FEW and self.spread >= SPAN
        return told and self.back >= MOST * self.count


def overflow(v: Values) -> str | None:
    """Return a text where all large values, and no others, have come back by one amount."""
    for parts in _parts(v):
        found = _joined([_wrapped(one) for one in parts])
        if found.possible and found.jumped:
            size = f"by {found.size:.0f} steps" if len(parts) == 1 else "by one amount a channel"
            return f"all large values and no others, back {size} or a multiple"
        if found.possible and found.came_back:
            return "all large values and no others, back to where the others are"
    return None


def clipped(v: Values) -> str | None:
    """Return a text where large values, and no others, are on the other side or anywhere else.

    That is what is left of an overflow where the reference stands at the ends of its range. Other
    defects of a place look the same, so this is asked after them.
    """
    if (v.differs & (v.b < v.a)).sum() < FALLEN * v.differs.sum():
        return None
    for parts in _parts(v):
        found = _joined([_wrapped(one) for one in parts])
        if not found.possible or found.spread < SPAN:
            continue
        if found.crossed >= MOST * found.count:
            return "all large values and no others, on the other side"
        if found.count - found.inside >= MOST * found.count:
            return "of those that stand at an end in the reference, and no others"
    return None


def _parts(v: Values) -> list[list[Values]]:
    """Return what may have one threshold: all values, or those of each channel."""
    known = v.ends is not None and bool(v.step) and int(v.differs.sum()) >= FEW
    if not known or float(np.abs(v.a - v.b).max()) < SPAN * v.step:
        return []
    channels = [one for one in v.by_channel() if one.differs.any()]
    return [[v], channels] if channels else [[v]]


def _joined(found: Sequence[Wrapped]) -> Wrapped:
    """Return what several channels say together."""
    return Wrapped(
        sum(f.count for f in found), sum(f.against for f in found), sum(f.quiet for f in found),
        max(f.width for f in found), sum(f.inside for f in found), sum(f.back for f in found),
        max(f.spread for f in found), sum(f.jumps for f in found), sum(f.equal for f in found),
        sum(f.chance for f in found), sum(f.crossed for f in found), max(f.size for f in found),
    )  # fmt: skip


def _wrapped(v: Values) -> Wrapped:
    """Look at values that have one threshold; some differ."""
    fell, rose = v.differs & (v.b < v.a), v.differs & (v.b > v.a)
    low, high = float(min(v.a.min(), v.b.min())), float(v.a.max())
    top = float(v.a[fell].min()) if fell.any() else np.inf
    bottom = float(v.a[rose].max()) if rose.any() else -np.inf
    right, count = ~v.differs, int(v.differs.sum())
    # At an end of the reference, nobody knows how far beyond its sum would be; on the step of the
    # threshold there are sums on either side of it.
    beyond = ((v.a > top) & (v.a < high)) | ((v.a < bottom) & (v.a > low))
    quiet = right & (v.a > max(low, bottom)) & (v.a < top)
    inner = v.differs & (v.a < high) & (v.a > low)
    limit = min(top, -bottom if bottom > low else np.inf) + 2 * v.step
    crossed = (fell & (v.a > 0) & ((v.b < 0) | (v.b <= low))) | (
        rose & (v.b > 0) & ((v.a < 0) | (v.a <= low))
    )
    gap, rest, size = _jumps(v, inner & (v.b > low) & (v.b < high), low, limit)
    return Wrapped(
        count,
        count if bottom >= top else int((right & beyond).sum()),
        int(quiet.sum()),
        _width(v.a[quiet]) / v.step,
        int(inner.sum()),
        int((v.differs & (np.abs(v.b) <= limit)).sum()),
        _width(v.b[v.differs]) / v.step,
        gap.size,
        int((rest <= 1.5 * v.step).sum()),
        gap.size * min(1.0, 3 * v.step / size) if size else float(gap.size),
        int(crossed.sum()),
        size / v.step,
    )


def _width(values: Array) -> float:
    return float(np.ptp(values)) if values.size else 0.0


def _jumps(v: Values, known: Array, low: float, limit: float) -> tuple[Array, Array, float]:
    """Return the jumps, how far each is from a multiple of one size, and the size.

    The size is near the smallest jump, or near twice the threshold.
    """
    gap = np.abs(v.a - v.b)[known]
    if not gap.size:
        return gap, gap, 0.0
    mirrored = (v.a + v.b)[known] if low >= 0 else gap  # magnitudes may come back mirrored
    found = []
    for first in (float(gap.min()), float(mirrored.min()), 2 * limit - 4 * v.step):
        if 0 < first < np.inf:
            size = _refined(gap, mirrored, first)
            rest = _rest(gap, mirrored, size)
            found.append((float(rest.mean()) / size, size, rest))
    if not found:
        return gap, gap, 0.0
    _, size, rest = min(found, key=lambda one: one[:2])
    return gap, rest, size


def _refined(gap: Array, mirrored: Array, size: float) -> float:
    """Return the size that leaves least of jumps that are multiples of about this one."""
    for _ in range(3):
        direct = np.abs(gap - np.round(gap / size) * size)
        other = np.abs(mirrored - np.round(mirrored / size) * size)
        jumps = np.where(direct <= other, gap, mirrored)
        times = np.maximum(np.round(jumps / size), 1.0)
        size = float((jumps * times).sum() / (times * times).sum())
    return size


def _rest(gap: Array, mirrored: Array, size: float) -> Array:
    found: Array = np.minimum(
        np.abs(gap - np.round(gap / size) * size),
        np.abs(mirrored - np.round(mirrored / size) * size),
    )
    return found
