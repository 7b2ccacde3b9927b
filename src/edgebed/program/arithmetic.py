"""The integer arithmetic of quantised networks: rounding, saturation, requantisation.

Everything here is exact: integers in, integers out. A program names the rules it uses, so two
machines that run it must agree in every bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError

IntArray = npt.NDArray[Any]
Rounding = Literal["truncate", "half_away", "half_up"]
Activation = Literal["none", "relu", "abs"]
Wide = Literal["int16", "float32", "none"]
"""What a layer becomes where 8 bits are not enough."""

INT8_MIN, INT8_MAX = -128, 127
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class PowerOfTwo:
    """Requantisation by a shift: y = floor(acc / 2**right_shift + 1/2), half towards +infinity.

    A negative `right_shift` multiplies. This is the MAX78000's rule with
    right_shift = 7 - (output_shift + 8 - weight_bits).
    """

    right_shift: int

    @property
    def factor(self) -> float:
        """Scale of the result over scale of the accumulator."""
        return 2.0**self.right_shift

    def apply(self, acc: IntArray) -> IntArray:
        """Return the rounded, not yet saturated result as int64."""
        return shift_half_up(acc, self.right_shift)


@dataclass(frozen=True)
class Affine:
    """Requantisation to an affine integer: real = scale * (q - zero_point), then a clamp.

    Attributes:
        scale: real value of one step of the result.
        zero_point: the result that means 0.0.
        rounding: `fixed_point` multiplies by a 31-bit fraction and rounds twice as TensorFlow Lite
            does, `fixed_point_single` rounds once, `float` multiplies in float32 and rounds half
            to even as ONNX Runtime does.
        low: least result; a fused activation narrows it.
        high: largest result.
        dtype: of the result.
        zero_first: "" adds the zero point to rounded numbers. A type adds it before rounding, in
            float32 and as a number of that type, as ONNX Runtime does in its quantised Add, Mul
            and AveragePool; int8 results may be the uint8 of a file less 128, which moves ties.
    """

    scale: float
    zero_point: int = 0
    rounding: Literal["fixed_point", "fixed_point_single", "float"] = "fixed_point"
    low: int = INT8_MIN
    high: int = INT8_MAX
    dtype: Literal["int8", "uint8", "int16", "int32"] = "int8"
    zero_first: Literal["", "int8", "uint8"] = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        bytes_only = self.rounding == "float" and self.dtype in ("int8", "uint8")
        if self.zero_first not in ("", "int8", "uint8") or (self.zero_first and not bytes_only):
            raise EdgebedError(
                f"zero_first {self.zero_first!r} with rounding {self.rounding!r} to {self.dtype}",
                why="only float32 results of 8 bits get their zero point before they are rounded",
                try_="int8 or uint8, with rounding float",
            )

    @property
    def file_offset(self) -> int:
        """A result in the type of `zero_first`, less the result here."""
        return 128 if (self.zero_first, self.dtype) == ("uint8", "int8") else 0

    @property
    def early_zero(self) -> np.float32:
        """The zero point that `zero_first` adds before rounding."""
        return np.float32(self.zero_point + self.file_offset)

    def apply(self, acc: IntArray, multiplier: IntArray, *, wide: bool = False) -> IntArray:
        """Return the result for accumulators whose last axis is the channels.

        Args:
            acc: integers, (..., O).
            multiplier: int32 (2, O) or (2, 1), multipliers over shifts, for the fixed-point
                rules; float32 (O,) or (1,) for `float`.
            wide: the accumulators have 64 bits (16-bit activations).
        """
        if wide and self.rounding != "float":
            return self.clamp(multiply_wide(acc, multiplier[0], multiplier[1]))
        if self.rounding == "float":
            with np.errstate(over="ignore"):  # what exceeds float32 is clamped too
                return self.nearest(acc.astype(np.float32) * multiplier.astype(np.float32))
        single = self.rounding == "fixed_point_single"
        return self.clamp(multiply_by_quantized(acc, multiplier[0], multiplier[1], single=single))

    def quantise(self, real: npt.NDArray[np.float32]) -> IntArray:
        """Return float32 values as integers of this rule: round half to even, then clamp."""
        with np.errstate(over="ignore"):
            return self.nearest(real.astype(np.float32) / np.float32(self.scale))

    def nearest(self, steps: npt.NDArray[np.float32]) -> IntArray:
        """Return the integers of float32 multiples of the scale: half to even, then clamp."""
        if not self.zero_first:
            return self.clamp(np.rint(steps))
        return self.rounded(steps + self.early_zero)

    def rounded(self, numbers: npt.NDArray[np.float32]) -> IntArray:
        """Return the integers of float32 numbers of the type `zero_first`: half to even, clamp."""
        low, high = self.low + self.file_offset, self.high + self.file_offset
        limited = np.fmin(np.fmax(np.rint(numbers), low), high)  # NaN becomes low
        return (limited.astype(np.int64) - self.file_offset).astype(self.dtype)

    def clamp(self, values: npt.NDArray[Any]) -> IntArray:
        """Add the zero point, clip and return `dtype`."""
        if values.dtype.kind == "f":
            values = np.clip(values, self.low - self.zero_point, self.high - self.zero_point)
        shifted = values.astype(np.int64) + self.zero_point
        return np.clip(shifted, self.low, self.high).astype(self.dtype)


Requantize = PowerOfTwo | Affine
"""Every known rule."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with real = multiplier / 2**31 * 2**shift.

    The multiplier has 31 bits, the first of them set. The convention of TensorFlow Lite
    (`QuantizeMultiplier`); (0, 0) for 0 and for what is below the smallest shift.
    """
    if not math.isfinite(real) or real < 0:
        raise EdgebedError(f"a scale ratio is {real}", why="it must be finite and not negative")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return (1 << 31) - 1, 30
    return multiplier, shift


def multiplier_table(factors: Sequence[float]) -> npt.NDArray[np.int32]:
    """Return the int32 table (2, O) of multipliers and shifts of real factors."""
    pairs = [quantize_multiplier(float(factor)) for factor in factors]
    return np.array(pairs, dtype=np.int32).reshape(-1, 2).T.copy()


def high_multiply(a: IntArray, b: IntArray) -> IntArray:
    """Return the saturating rounding doubling high product of int32 values: 2ab / 2**32.

    Nearest, ties towards +infinity; saturates only where both are -2**31. Source: gemmlowp.
    """
    product = np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64)
    result: IntArray = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return result


def rounding_shift(values: IntArray, exponent: IntArray | int) -> IntArray:
    """Return values / 2**exponent, nearest, ties away from zero. Source: gemmlowp."""
    wide = np.asarray(values, dtype=np.int64)
    exponent = np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (wide < 0)
    result: IntArray = (wide >> exponent) + ((wide & mask) > threshold)
    return result


def multiply_by_quantized(
    values: IntArray, multiplier: IntArray | int, shift: IntArray | int, *, single: bool = False
) -> IntArray:
    """Return values * multiplier / 2**31 * 2**shift in fixed point, as int64.

    Args:
        values: int32 values; int64 ones take TensorFlow Lite's 16-bit multiplier for them.
        multiplier: in [0, 2**31), broadcast against values.
        shift: positive to the left, negative to the right.
        single: round once instead of after each step.
    """
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    wide = np.asarray(values, dtype=np.int64)
    if single:
        total = 31 - shift
        result: IntArray = (wide * multiplier + (np.int64(1) << (total - 1))) >> total
        return result
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    moved = (wide << left).astype(np.int32)  # wraps as the C code does
    return rounding_shift(high_multiply(moved, multiplier), right)


def multiply_wide(values: IntArray, multiplier: IntArray | int, shift: IntArray | int) -> IntArray:
    """Return 48-bit accumulators times a multiplier cut to 16 bits, rounded once.

    TensorFlow Lite's rule for accumulators of 16-bit activations.
    """
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    reduced = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - shift
    wide = np.asarray(values, np.int64)
    result: IntArray = (wide * reduced + (np.int64(1) << (total - 1))) >> total
    return result


@dataclass(frozen=True)
class Arithmetic:
    """What a target computes exactly; the quantiser asks for it instead of naming devices.

    Attributes:
        weight_bits: widths a layer's weights may have.
        activation_bits: width of activations.
        symmetric: zero points are all 0.
        per_channel: each output channel may have its own weight scale.
        requantize: the rule between accumulator and activation.
        bias_unit: accumulator units of one step of the stored bias.
        bias_bits: width of the stored bias.
        shift_range: least and largest `right_shift` of a power-of-two rule.
        accumulator_bits: width within which accumulators must stay.
        wide: what it computes where 8 bits are not enough: 16-bit activations, float32, or nothing.
    """

    weight_bits: tuple[int, ...]
    activation_bits: int
    symmetric: bool
    per_channel: bool
    requantize: Literal["power_of_two", "fixed_point", "float"]
    bias_unit: int
    bias_bits: int
    shift_range: tuple[int, int]
    accumulator_bits: int = 32
    wide: Wide = "int16"


def shift_half_up(acc: IntArray, right_shift: int) -> IntArray:
    """Return floor(acc / 2**right_shift + 1/2) as int64, exact for every |acc| < 2**46."""
    wide = np.asarray(acc, dtype=np.int64)
    if right_shift <= 0:
        return wide << -right_shift
    return (wide + (1 << (right_shift - 1))) >> right_shift


def saturate(values: IntArray, low: int = INT8_MIN, high: int = INT8_MAX) -> npt.NDArray[np.int8]:
    """Clip to [low, high] and return int8."""
    return np.clip(values, low, high).astype(np.int8)


def activate(values: npt.NDArray[np.int8], activation: Activation) -> npt.NDArray[np.int8]:
    """Apply an activation to saturated int8 values; |-128| becomes 127."""
    if activation == "relu":
        return np.maximum(values, 0)
    if activation == "abs":
        return np.minimum(np.abs(values.astype(np.int16)), INT8_MAX).astype(np.int8)
    return values


def divide(total: IntArray, count: int | IntArray, rounding: Rounding) -> IntArray:
    """Return total / count as int64: cut towards zero, rounded half away from zero, or half up."""
    wide = np.asarray(total, dtype=np.int64)
    if rounding == "half_up":
        up: IntArray = (wide + count // 2) // count
        return up
    magnitude = np.abs(wide)
    if rounding == "half_away":
        magnitude = magnitude + count // 2
    result: IntArray = np.sign(wide) * (magnitude // count)
    return result


def weight_range(bits: int) -> tuple[int, int]:
    """Return least and largest two's complement value of `bits` bits; 1 bit holds -1 and 0."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
