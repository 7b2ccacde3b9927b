"""Tables and literals of requantize.h: from int32 accumulators to stored bytes, exactly.

Zero points and clamps are given here as int8 values; the generated code works on stored bytes,
which are int8 + 128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Rule = Literal["EB_NONE", "EB_FIXED", "EB_FIXED_SINGLE", "EB_FLOAT", "EB_SHIFT", "EB_LINE"]

BLOCK = 16
"""Channels of one vector; every table is padded to a multiple."""

_BIAS = 128
_BYTE_FRACTION = 8  # bits below the point that packing to bytes rounds off for nothing


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


@dataclass(frozen=True, eq=False)
class Requantization:
    """One layer's rule as the generated code needs it.

    Attributes:
        rule: which function of requantize.h.
        table: int32 [blocks, words]; the constant that `eb_scale16` is given, block by block.
        clamp: zero point and ends.
        fraction: bits below the point that EB_LINE keeps.
        ties: whether EB_LINE corrects negative accumulators.
    """

    rule: Rule
    table: npt.NDArray[np.int32]
    clamp: Clamp
    fraction: int = 0
    ties: bool = False

    def literal(self) -> str:
        """Return the C compound literal of type eb_requantization."""
        ends = (self.clamp.zero_point, self.clamp.low, self.clamp.high)
        stored = ", ".join(str(value + _BIAS) for value in ends)
        return f"(eb_requantization){{{self.rule}, {stored}, {self.fraction}, {int(self.ties)}}}"

    @property
    def table_words(self) -> int:
        """Int32 words of each block of sixteen channels; 0 for EB_NONE."""
        return int(self.table.shape[1])


def fixed(
    multipliers: npt.NDArray[Any],
    shifts: npt.NDArray[Any],
    clamp: Clamp,
    bounds: Bounds | None = None,
    *,
    single_rounding: bool = False,
) -> Requantization:
    """Return TensorFlow Lite's rule for channels with these multipliers and shifts.

    Args:
        multipliers: int [channels], 0 .. 2**31 - 1, a 31-bit fraction.
        shifts: int [channels]; positive shifts left.
        clamp: zero point and ends of the output.
        bounds: of the accumulators; with them the fast form is taken where it is exact.
        single_rounding: TensorFlow Lite's build option with one rounding instead of two.
    """
    m, s = _int64(multipliers), _int64(shifts)
    if bounds is not None:
        line = _line(m, s, clamp, bounds, inner_rounding=not single_rounding)
        if line is not None:
            return line
    name: Rule = "EB_FIXED_SINGLE" if single_rounding else "EB_FIXED"
    return Requantization(name, np.concatenate([_blocks(m), _blocks(s)], axis=1), clamp)


def by_shift(
    right_shifts: npt.NDArray[Any], clamp: Clamp, bounds: Bounds | None = None
) -> Requantization:
    """Return floor(acc / 2**n + 1/2) with n of each channel; negative n multiplies."""
    n = _int64(right_shifts)
    if bounds is not None:
        half = np.full(n.shape, 1 << 30, dtype=np.int64)
        line = _line(half, 1 - n, clamp, bounds, inner_rounding=False)
        if line is not None:
            return line
    return Requantization("EB_SHIFT", _blocks(n), clamp)


def by_float(scales: npt.NDArray[Any], clamp: Clamp) -> Requantization:
    """Return ONNX Runtime's rule: float32 accumulator x float32 scale, half to even."""
    bits = np.asarray(scales, dtype=np.float32).view(np.int32)
    return Requantization("EB_FLOAT", _blocks(bits), clamp)


def raw(channels: int) -> Requantization:
    """Return the rule that stores int32 accumulators of so many channels as they are."""
    blocks = -(-channels // BLOCK)
    return Requantization("EB_NONE", np.zeros((blocks, 0), dtype=np.int32), Clamp())


def _line(
    multipliers: IntArray, shifts: IntArray, clamp: Clamp, bounds: Bounds, *, inner_rounding: bool
) -> Requantization | None:
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
    left = np.where(dead, 1, fraction + 1 + shifts)
    twice = inner_rounding & (shifts < 0)
    point = (((clamp.zero_point + _BIAS) << fraction) + (1 << (fraction - 1))) << 32
    c = point + np.where(twice, 1, 0) * (1 << (left + 30))
    tie = np.where(twice, 1, 0) * (1 << (left - 1))
    if not _fits(multipliers, left, c, tie, bounds):
        return None
    ties = bool(twice.any()) and clamp.low < clamp.zero_point
    odd = _blocks(multipliers).copy()
    odd[:, 0::2], odd[:, 1::2] = odd[:, 1::2], 0
    tables = [_blocks(left, 1), _blocks(multipliers), odd, _halves(c, point), _blocks(tie)]
    return Requantization("EB_LINE", np.concatenate(tables, axis=1), clamp, fraction, ties)


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


def _is_int32(value: int) -> bool:
    return -(1 << 31) <= value < 1 << 31


def _int64(values: npt.NDArray[Any]) -> IntArray:
    return np.asarray(values).astype(np.int64)


def _blocks(values: npt.NDArray[Any], fill: int = 0) -> npt.NDArray[np.int32]:
    """Return a per-channel table as int32 [blocks, 16], padded with `fill`."""
    blocks = -(-len(values) // BLOCK)
    padded = np.full(blocks * BLOCK, fill, dtype=np.int32)
    padded[: len(values)] = values
    return padded.reshape(blocks, BLOCK)


def _halves(values: IntArray, fill: int) -> npt.NDArray[np.int32]:
    """Return 64-bit constants as int32 [blocks, 32]: those of even channels, then of odd ones."""
    blocks = -(-len(values) // BLOCK)
    padded = np.full(blocks * BLOCK, fill, dtype="<i8")
    padded[: len(values)] = values
    pairs = padded.reshape(blocks, BLOCK // 2, 2)
    halves = np.concatenate([pairs[:, :, 0], pairs[:, :, 1]], axis=1)
    return np.ascontiguousarray(halves).view("<i4").astype(np.int32)
