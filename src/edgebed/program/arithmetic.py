"""The integer arithmetic of quantised networks: rounding, saturation, requantisation.

Everything here is exact: integers in, integers out. A program names the rules it uses, so two
machines that run it must agree in every bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[Any]
Rounding = Literal["truncate", "half_away"]
Activation = Literal["none", "relu", "abs"]

INT8_MIN, INT8_MAX = -128, 127


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


Requantize = PowerOfTwo
"""Every known rule; further ones (fixed-point multiplier, float) join as a union."""


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
    """

    weight_bits: tuple[int, ...]
    activation_bits: int
    symmetric: bool
    per_channel: bool
    requantize: Literal["power_of_two"]
    bias_unit: int
    bias_bits: int
    shift_range: tuple[int, int]
    accumulator_bits: int = 32


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


def divide(total: IntArray, count: int, rounding: Rounding) -> IntArray:
    """Return total / count as int64, cut towards zero or rounded half away from zero."""
    wide = np.asarray(total, dtype=np.int64)
    magnitude = np.abs(wide)
    if rounding == "half_away":
        magnitude = magnitude + count // 2
    result: IntArray = np.sign(wide) * (magnitude // count)
    return result


def weight_range(bits: int) -> tuple[int, int]:
    """Return least and largest two's complement value of `bits` bits; 1 bit holds -1 and 0."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
