"""Where in a tensor the differences lie: in one channel, at the rim of the maps, in some rows.

A place is named only if chance would not put the differences there. Only values like those that
differ could have differed too: where large values are wrong, small ones that are right say nothing,
and where none is at an end, neither do a ReLU's zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.program.types import Array

MOST: Final = 0.95
FEW: Final = 8
"""Fewer differing values than this lie anywhere by chance: they have no place."""
SURE: Final = 12.0
"""So many nats less likely by chance: e^-12 is 6 in a million."""
OUTER: Final = (0.05, 0.95)
"""Quantiles of the reference where the device differs: what lies between could have differed."""
MOST_AT_TOP: Final = 0.5
CHANNEL_FILLED: Final = 0.25
PART_FILLED: Final = 0.5
"""Of what could differ in a place, at least this share does."""
MOST_OF_AXIS: Final = 0.5
"""Of an axis, a part is at most this share."""
SHORTEST: Final = 4
"""An axis of fewer has no parts."""
MOST_OF_RIM: Final = 0.9
"""One edge alone holds more of the differences than this: it is a row, and no rim."""


@dataclass(frozen=True)
class Differences:
    """Which values differ, and which might have.

    Attributes:
        differs: bool.
        able: bool; which values might have, those that do among them.
        channels: axis of the channels; None where nobody knows.
        at_top: most of them stand at the reference's largest value, beyond which others may be:
            then a channel or a part is no place of its own.
    """

    differs: Array
    able: Array
    channels: int | None = None
    at_top: bool = False

    @property
    def count(self) -> int:
        """How many differ."""
        return int(self.differs.sum())

    def fill(self, place: Array, least: float) -> bool:
        """Say whether they are so large a share of what could differ in a place."""
        inside = int((self.able & place).sum())
        return not self.at_top and int((self.differs & place).sum()) >= least * inside

    def lie_in(self, place: Array) -> bool:
        """Say whether most differences lie in a place, and by no chance."""
        count, all_able = self.count, int(self.able.sum())
        share = int((self.differs & place).sum()) / count
        if share < MOST:
            return False
        expected = int((self.able & place).sum()) / all_able
        return count * divergence(share, expected) > SURE


def divergence(share: float, expected: float) -> float:
    """Return the nats by which one observation tells two frequencies apart."""
    if expected >= share:
        return 0.0
    rest = (1 - share) * math.log((1 - share) / (1 - expected)) if share < 1 else 0.0
    return share * math.log(share / expected) + rest


def differences(reference: Array, differs: Array, channels: int | None) -> Differences:
    """Return the differences, and which values could have differed.

    Args:
        reference: values.
        differs: bool, of the same shape; some differ.
        channels: axis, or None.
    """
    known = reference[differs]
    known = known[np.isfinite(known)]
    if not known.size:
        return Differences(differs, np.ones(differs.shape, bool), channels)
    low, high = np.quantile(known, OUTER)
    able = ((reference >= low) & (reference <= high)) | differs
    largest = reference[np.isfinite(reference)].max()
    at_top = float((known == largest).mean()) > MOST_AT_TOP
    return Differences(differs, able, channels, at_top)


def one_channel(seen: Differences) -> str | None:
    """Return a text about the one channel that holds the differences."""
    if seen.channels is None or seen.count < FEW or seen.differs.ndim < 2:
        return None
    counts = _along(seen.differs, seen.channels)
    index = int(counts.argmax())
    channel = _between(seen, seen.channels, index, index)
    if len(counts) < 2 or not seen.lie_in(channel) or not seen.fill(channel, CHANNEL_FILLED):
        return None
    place = f"index {index} of axis {seen.channels} (0 to {len(counts) - 1})"
    return f"{counts[index] / counts.sum():.0%} of these at {place}"


def rim(seen: Differences) -> str | None:
    """Return a text about the outermost rows and columns, one or two deep."""
    axes = _spatial(seen)
    if seen.count < FEW or not axes:
        return None
    for deep in (1, 2):
        edges = [edge for axis in axes for edge in _edges(seen, axis, deep)]
        if not edges:
            return None
        place = np.any(edges, axis=0)
        hit = [int((seen.differs & edge).sum()) for edge in edges]
        if max(hit) > MOST_OF_RIM * seen.count or not seen.lie_in(place):
            continue
        share = int((seen.differs & place).sum()) / seen.count
        where = "outermost rows and columns" if deep == 1 else "two outermost rows and columns"
        return f"{share:.0%} of these on the {where}"
    return None


def _edges(seen: Differences, axis: int, deep: int) -> Iterator[Array]:
    size = seen.differs.shape[axis]
    if size >= 2 * deep + 2:
        yield _between(seen, axis, 0, deep - 1)
        yield _between(seen, axis, size - deep, size - 1)


def part(seen: Differences) -> str | None:
    """Return a text about neighbouring rows, columns or channels that hold the differences."""
    if seen.count < FEW:
        return None
    found: list[tuple[float, str]] = []
    for axis in range(seen.differs.ndim):
        counts = _along(seen.differs, axis)
        first, last = _shortest(counts)
        share = (last - first + 1) / len(counts)
        place = _between(seen, axis, first, last)
        if len(counts) < SHORTEST or share > MOST_OF_AXIS:
            continue
        if seen.lie_in(place) and seen.fill(place, PART_FILLED):
            inside = counts[first : last + 1].sum() / counts.sum()
            ends = f"{first}" if first == last else f"{first} to {last}"
            text = f"{inside:.0%} of these at {ends} of axis {axis} (0 to {len(counts) - 1})"
            found.append((share, text))
    return min(found)[1] if found else None


def _shortest(counts: Array) -> tuple[int, int]:
    """Return the ends of the shortest run of indices that holds MOST of the differences."""
    total, sums = counts.sum(), np.concatenate([[0], np.cumsum(counts)])
    best = (0, len(counts) - 1)
    for first in range(len(counts)):
        last = int(np.searchsorted(sums, sums[first] + MOST * total)) - 1
        if last < len(counts) and last - first < best[1] - best[0]:
            best = (first, last)
    return best


def _along(differs: Array, axis: int) -> Array:
    """Return the number of differences at each index of an axis."""
    rest = tuple(i for i in range(differs.ndim) if i != axis)
    counts: Array = differs.sum(rest)
    return counts


def _between(seen: Differences, axis: int, first: int, last: int) -> Array:
    place = np.zeros(seen.differs.shape, bool)
    index = [slice(None)] * place.ndim
    index[axis] = slice(first, last + 1)
    place[tuple(index)] = True
    return place


def _spatial(seen: Differences) -> list[int]:
    """Return the axes of rows and columns."""
    if seen.channels is None or not 2 <= seen.differs.ndim <= 3:
        return []
    return [axis for axis in range(seen.differs.ndim) if axis != seen.channels]
