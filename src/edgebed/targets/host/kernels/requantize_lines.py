"""Requantisation as one multiply-add: exact forms, proven before they are used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

STORED = 128
"""A stored byte is the int8 value plus this."""

_BYTE_FRACTION = 8  # bits below the point that packing to bytes rounds off for nothing
_NEAR = 4  # multipliers tried on both sides of the nearest one
_MOVES = 1 << 14  # how far a bias is moved at most


@dataclass(frozen=True)
class Clamp:
    """Where outputs lie: zero point and both ends, all int8 (-128..127)."""

    zero_point: int = 0
    low: int = -128
    high: int = 127


@dataclass(frozen=True)
class Bounds:
    """Least and largest accumulator of each channel, bias included: int64 [channels].

    They must hold for every input; `conv.accumulator_bounds` computes them from the weights.
    """

    low: IntArray
    high: IntArray


@dataclass(frozen=True)
class Line:
    """y = (((acc << left) * multiplier + c) >> 32, minus tie where acc < 0) >> fraction.

    Every array is int64 [channels]. `ties` is whether the correction matters after the clamp.
    """

    multipliers: IntArray
    left: IntArray
    c: IntArray
    tie: IntArray
    fraction: int
    ties: bool


@dataclass(frozen=True)
class Fused:
    """y = ((((acc + moved) * multiplier) >> 32) + c) >> fraction; int64 [channels] each."""

    multipliers: IntArray
    c: IntArray
    moved: IntArray
    fraction: int


def line_of(
    multipliers: IntArray, shifts: IntArray, clamp: Clamp, bounds: Bounds, *, inner_rounding: bool
) -> Line | None:
    """Return the one-product form, or None where it could overflow or not be exact.

    With M = multiplier * 2**(shift - 31), right = -shift:
        rounding twice  y = floor(acc * M + 1/2 +- 2**-(right + 1)), minus for negative acc
        rounding once   y = floor(acc * M + 1/2)
    The first line needs a multiplier of at least 2**30 (then the inner result is negative exactly
    where acc is, but for one case that rounds to the same) and right >= 1; for right <= 0 the
    inner rounding is the only one. Both are a product of integers shifted by 32 - `left` +
    `fraction`; nothing is cut off as long as left >= 1.
    """
    dead = multipliers == 0
    shifts = np.where(dead, 0, shifts)
    if np.any((multipliers < 1 << 30) & ~dead & inner_rounding) or np.any(np.abs(shifts) > 31):
        return None
    fraction = _BYTE_FRACTION + max(0, int((-shifts).max()) - _BYTE_FRACTION)
    if fraction > 21:
        return None  # the constant below has 64 bits: 9 of the zero point, 32, and these
    left = np.where(dead, 1, fraction + 1 + shifts)
    twice = inner_rounding & (shifts < 0)
    point = (((clamp.zero_point + STORED) << fraction) + (1 << (fraction - 1))) << 32
    c = point + np.where(twice, 1, 0) * (1 << (left + 30))
    tie = np.where(twice, 1, 0) * (1 << (left - 1))
    if not _fits(multipliers, left, c, tie, bounds):
        return None
    ties = bool(twice.any()) and clamp.low < clamp.zero_point
    return Line(multipliers, left, c, tie, fraction, ties)


def _fits(
    multipliers: IntArray, left: IntArray, c: IntArray, tie: IntArray, bounds: Bounds
) -> bool:
    """Return whether no 32-bit lane overflows for any accumulator within the bounds."""
    if int(left.max()) > 31:
        return False
    for end in (bounds.low, bounds.high):
        for acc, m, shift, add, off in zip(end, multipliers, left, c, tie, strict=True):
            shifted = int(acc) << int(shift)
            high = (shifted * int(m) + int(add)) >> 32
            if m and not (_is_int32(shifted) and _is_int32(high) and _is_int32(high - int(off))):
                return False
    return True


def fuse(line: Line, clamp: Clamp, bounds: Bounds) -> Fused | None:
    """Return the form without shift, wide constant and sign, or None where it is not exact.

    Both forms rise with the accumulator, so they agree after the clamp if each stored byte above
    the least begins at the same accumulator. With M the layer's factor the multiplier is
    M * 2**(32 + fraction), rounded; its error, and that of the constant, must not move any
    of these beginnings. The constant has 32 + fraction bits below the point but c only
    `fraction`: the rest is a bias moved by so much that moved * multiplier has the right low bits.
    """
    if line.ties:
        return None
    factor = line.multipliers * 2.0 ** (line.left - 32 - line.fraction)
    most = int(np.floor(-1 - np.log2(max(factor.max(), 2.0**-20))))
    channels = [_channel(line, clamp, bounds, i) for i in range(len(factor))]
    # Bits beyond those of a byte cost one more shift, but make the multiplier finer.
    for fraction in sorted({min(_BYTE_FRACTION, most), most}) if most >= 0 else ():
        found = _fuse_all(channels, factor, fraction)
        if found is not None:
            return found
    return None


def _fuse_all(
    channels: list[_Channel], factor: npt.NDArray[np.float64], fraction: int
) -> Fused | None:
    found = []
    for channel, one in zip(channels, factor, strict=True):
        numbers = _fuse_channel(channel, float(one), fraction)
        if numbers is None:
            return None
        found.append(numbers)
    multipliers, c, moved = np.array(found, dtype=np.int64).T
    return Fused(multipliers, c, moved, fraction)


@dataclass(frozen=True)
class _Channel:
    """One channel: accumulators at which stored bytes begin, those bytes, and both bounds.

    Only bytes that begin within the bounds occur; `start` is the byte of the least accumulator.
    """

    begins: IntArray
    bytes: IntArray
    start: int
    low: int
    high: int


def _channel(line: Line, clamp: Clamp, bounds: Bounds, i: int) -> _Channel:
    m, left, c = int(line.multipliers[i]), int(line.left[i]), int(line.c[i])
    low, high = int(bounds.low[i]), int(bounds.high[i])
    stored = np.arange(clamp.low + STORED + 1, clamp.high + STORED + 1)
    point = 32 + line.fraction
    # The least acc with (acc << left) * m + c >= byte << point; exact in Python's integers.
    begins = [-((c - (int(b) << point)) // (m << left)) if m else high + 1 for b in stored]
    inside = [low < b <= high for b in begins]
    start = (((low << left) * m + c) >> point) if m else (c >> point)
    start = min(max(start, clamp.low + STORED), clamp.high + STORED)
    return _Channel(
        np.array([b for b, ok in zip(begins, inside, strict=True) if ok], dtype=np.int64),
        stored[inside].astype(np.int64),
        start,
        low,
        high,
    )


def _fuse_channel(channel: _Channel, factor: float, fraction: int) -> tuple[int, int, int] | None:
    """Return multiplier, c and move of the bias, or None if no such numbers were found."""
    if not len(channel.begins):
        return 0, (2 * channel.start + 1) << fraction >> 1, 0
    nearest = round(factor * 2.0 ** (32 + fraction))
    for multiplier in sorted(
        range(nearest - _NEAR, nearest + _NEAR + 1), key=lambda m: abs(m - nearest)
    ):
        if not 0 < multiplier < 1 << 31:
            continue
        target = channel.bytes << (32 + fraction)
        least = int((target - channel.begins * multiplier).max())
        end = int((target - (channel.begins - 1) * multiplier).min())
        if least < end and (found := _split(least, end, multiplier)) is not None:
            move, c = found
            if _in_range(channel, multiplier, move, c):
                return multiplier, c, move
    return None


def _split(least: int, end: int, multiplier: int) -> tuple[int, int] | None:
    """Return the smallest (move, c) with least <= move * multiplier + c * 2**32 < end."""
    moves = np.arange(_MOVES, dtype=np.int64)
    moves = np.stack([moves, -moves], axis=1).ravel()
    c = -((moves * multiplier - least) >> 32)
    good = np.flatnonzero(moves * multiplier + (c << 32) < end)
    return (int(moves[good[0]]), int(c[good[0]])) if len(good) else None


def _in_range(channel: _Channel, multiplier: int, move: int, c: int) -> bool:
    """Return whether nothing leaves int32 on the way, for both bounds."""
    moved = [end + move for end in (channel.low, channel.high)]
    high = [(value * multiplier >> 32) + c for value in moved]
    return all(_is_int32(value) for value in (c, *moved, *high))


def _is_int32(value: int) -> bool:
    return -(1 << 31) <= value < 1 << 31
