"""Tables and literals of requantize.h: from int32 accumulators to stored bytes, exactly.

Zero points and clamps are given here as int8 values; the generated code works on stored bytes,
which are int8 + 128.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.requantize_lines import (
    STORED,
    Bounds,
    Clamp,
    IntArray,
    Line,
    fuse,
    line_of,
)

Rule = Literal[
    "EB_NONE", "EB_FIXED", "EB_FIXED_SINGLE", "EB_FLOAT", "EB_SHIFT", "EB_LINE", "EB_FUSED",
    "EB_SNAPPED", "EB_SNAPPED_KINK", "EB_FLOAT_NARROW",
]  # fmt: skip

__all__ = [
    "BLOCK",
    "Bounds",
    "Clamp",
    "Requantization",
    "Rule",
    "blocks",
    "by_float",
    "by_shift",
    "fixed",
    "narrowed",
    "raw",
]

BLOCK = 16
"""Channels of one vector; every table is padded to a multiple."""
_LIMIT = 1 << 20  # the float rule holds back what is beyond, far outside a byte


@dataclass(frozen=True, eq=False)
class Requantization:
    """One layer's rule as the generated code needs it.

    Attributes:
        rule: which function of requantize.h.
        table: int32 [blocks, words]; the constant that `eb_scale16` is given, block by block.
        clamp: zero point and ends.
        fraction: bits below the point that EB_LINE and EB_FUSED keep.
        ties: whether EB_LINE corrects negative accumulators.
        moved: int64 [channels] to add to the bias (EB_FUSED, EB_SNAPPED); None: nothing.
    """

    rule: Rule
    table: npt.NDArray[np.int32]
    clamp: Clamp
    fraction: int = 0
    ties: bool = False
    moved: IntArray | None = None

    def literal(self) -> str:
        """Return the C compound literal of type eb_requantization."""
        ends = (self.clamp.zero_point, self.clamp.low, self.clamp.high)
        stored = ", ".join(str(value + STORED) for value in ends)
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
    movable_bias: bool = False,
) -> Requantization:
    """Return TensorFlow Lite's rule for channels with these multipliers and shifts.

    Args:
        multipliers: int [channels], 0 .. 2**31 - 1, a 31-bit fraction.
        shifts: int [channels]; positive shifts left.
        clamp: zero point and ends of the output.
        bounds: of the accumulators; with them the fast form is taken where it is exact.
        single_rounding: TensorFlow Lite's build option with one rounding instead of two.
        movable_bias: the caller adds `moved` of the answer to the bias; allows the cheapest form.
    """
    m, s = _int64(multipliers), _int64(shifts)
    if bounds is not None:
        line = line_of(m, s, clamp, bounds, inner_rounding=not single_rounding)
        if line is not None:
            return _cheapest(line, clamp, bounds, movable_bias)
    name: Rule = "EB_FIXED_SINGLE" if single_rounding else "EB_FIXED"
    return Requantization(name, np.concatenate([blocks(m), blocks(s)], axis=1), clamp)


def by_shift(
    right_shifts: npt.NDArray[Any],
    clamp: Clamp,
    bounds: Bounds | None = None,
    *,
    movable_bias: bool = False,
) -> Requantization:
    """Return floor(acc / 2**n + 1/2) with n of each channel; negative n multiplies."""
    n = _int64(right_shifts)
    if bounds is not None:
        half = np.full(n.shape, 1 << 30, dtype=np.int64)
        line = line_of(half, 1 - n, clamp, bounds, inner_rounding=False)
        if line is not None:
            return _cheapest(line, clamp, bounds, movable_bias)
    return Requantization("EB_SHIFT", blocks(n), clamp)


def by_float(scales: npt.NDArray[Any], clamp: Clamp) -> Requantization:
    """Return ONNX Runtime's rule: float32 accumulator x float32 scale, half to even."""
    bits = np.asarray(scales, dtype=np.float32).view(np.int32)
    return Requantization("EB_FLOAT", blocks(bits), clamp)


def narrowed(rule: Requantization, bounds: Bounds) -> Requantization:
    """Return the float rule without its limits, where no accumulator in the bounds reaches them.

    Args:
        rule: any; others than `by_float` stay as they are.
        bounds: of the accumulators, one for each channel of the rule.
    """
    if rule.rule != "EB_FLOAT":
        return rule
    scales = rule.table.view(np.float32).ravel()[: len(bounds.low)].astype(np.float64)
    widest = np.maximum(-bounds.low, bounds.high) * np.abs(scales)
    return replace(rule, rule="EB_FLOAT_NARROW") if widest.max() < _LIMIT else rule


def raw(channels: int) -> Requantization:
    """Return the rule that stores int32 accumulators of so many channels as they are."""
    count = -(-channels // BLOCK)
    return Requantization("EB_NONE", np.zeros((count, 0), dtype=np.int32), Clamp())


def _cheapest(line: Line, clamp: Clamp, bounds: Bounds, movable_bias: bool) -> Requantization:
    fused = fuse(line, clamp, bounds) if movable_bias else None
    if fused is not None:
        table = np.concatenate([blocks(fused.multipliers), blocks(fused.c)], axis=1)
        return Requantization("EB_FUSED", table, clamp, fused.fraction, moved=fused.moved)
    odd = blocks(line.multipliers).copy()
    odd[:, 0::2], odd[:, 1::2] = odd[:, 1::2], 0
    tables = [blocks(line.left, 1), blocks(line.multipliers), odd]
    tables += [_halves(line.c), blocks(line.tie)]
    table = np.concatenate(tables, axis=1)
    return Requantization("EB_LINE", table, clamp, line.fraction, line.ties)


def _int64(values: npt.NDArray[Any]) -> IntArray:
    return np.asarray(values).astype(np.int64)


def blocks(values: npt.NDArray[Any], fill: int = 0) -> npt.NDArray[np.int32]:
    """Return a per-channel table as int32 [blocks, 16], padded with `fill`."""
    count = -(-len(values) // BLOCK)
    padded = np.full(count * BLOCK, fill, dtype=np.int32)
    padded[: len(values)] = values
    return padded.reshape(count, BLOCK)


def _halves(values: IntArray) -> npt.NDArray[np.int32]:
    """Return 64-bit constants as int32 [blocks, 32]: those of even channels, then of odd ones."""
    count = -(-len(values) // BLOCK)
    padded = np.zeros(count * BLOCK, dtype="<i8")
    padded[: len(values)] = values
    pairs = padded.reshape(count, BLOCK // 2, 2)
    halves = np.concatenate([pairs[:, :, 0], pairs[:, :, 1]], axis=1)
    return np.ascontiguousarray(halves).view("<i4").astype(np.int32)
