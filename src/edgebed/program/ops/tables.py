"""The 256 values of unary functions of int8, as their kernels compute them.

The fixed-point rule is TensorFlow Lite Micro's arithmetic of each function: bit for bit its
kernels (checked against them for every entry); functions that it has no int8 kernel for take
TensorFlow Lite's general table, a float32 function of float32 numbers, half away from zero. The
`float` rule is ONNX's: dequantise, float32 function, quantise half to even.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import (
    Affine,
    multiply_by_quantized,
    quantize_multiplier,
    rounding_shift,
)
from edgebed.program.ops import _gemmlowp
from edgebed.program.ops._functions import Function, apply
from edgebed.program.ops._gemmlowp import Fixed

Table = npt.NDArray[np.int8]
VALUES: Fixed = np.arange(-128, 128, dtype=np.int64)
"""Every int8 value, in the order of a table."""


@dataclass(frozen=True)
class Scales:
    """Meaning of the integers before and after a function: real = scale * (q - zero_point).

    Attributes:
        scale_in: float32 value.
        zero_in: zero point.
        scale_out: float32 value.
        zero_out: zero point.
    """

    scale_in: float
    zero_in: int
    scale_out: float
    zero_out: int

    @property
    def centred(self) -> Fixed:
        """Every int8 value less the zero point."""
        return VALUES - self.zero_in

    @property
    def ratio(self) -> float:
        """scale_in / scale_out in double precision."""
        return float(np.float32(self.scale_in)) / float(np.float32(self.scale_out))


def table(
    function: Function,
    scales: Scales,
    *,
    rounding: Literal["fixed_point", "float"] = "fixed_point",
    alpha: float = 0.0,
    beta: float = 0.0,
    low: float | None = None,
    high: float | None = None,
) -> Table:
    """Return the int8 results for -128..127, 256 of them: the constant of the op `lookup`.

    Args:
        function: see `edgebed.program.ops.unary`.
        scales: of input and output.
        rounding: whose arithmetic.
        alpha: of leaky_relu, elu, celu, hard_sigmoid.
        beta: of hard_sigmoid.
        low: of clip.
        high: of clip.
    """
    if rounding == "fixed_point" and function == "clip":
        return _clip(scales, low, high)
    if rounding == "fixed_point" and function in _KERNELS:
        return _KERNELS[function](scales, alpha)

    def real(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return apply(function, x, alpha=alpha, beta=beta, low=low, high=high)

    return real_table(real, scales, rounding=rounding)


def real_table(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    scales: Scales,
    *,
    rounding: Literal["fixed_point", "float"],
) -> Table:
    """Return the table of any function of real numbers; its result is rounded to float32.

    Args:
        function: of float64 arrays that hold float32 numbers.
        scales: of input and output.
        rounding: `fixed_point` multiplies by the inverse scale and rounds half away from zero,
            `float` divides by the scale and rounds half to even.
    """
    real = scales.centred.astype(np.float32) * np.float32(scales.scale_in)
    with np.errstate(all="ignore"):
        result = function(real.astype(np.float64)).astype(np.float32)
        # What has no result (the logarithm of a negative number) gets the least one.
        result = np.nan_to_num(result, nan=-3e38, posinf=3e38, neginf=-3e38)
        if rounding == "float":
            return Affine(scales.scale_out, scales.zero_out).quantise(result)
        steps = (result * (np.float32(1) / np.float32(scales.scale_out))).astype(np.float64)
    whole = np.trunc(steps + np.copysign(0.5, steps))
    return _stored(whole + scales.zero_out)


def prelu_table(scales: Scales, slope: int, slope_scale: float) -> Table:
    """Return the table of one channel of TensorFlow Lite's int8 prelu.

    Args:
        scales: of input and output.
        slope: the channel's stored slope less its zero point.
        slope_scale: real value of one step of it.
    """
    positive = _scaled(scales.centred, scales.ratio)
    step = float(np.float32(scales.scale_in)) * float(np.float32(slope_scale))
    negative = _scaled(scales.centred * slope, step / float(np.float32(scales.scale_out)))
    return _clamped(np.where(scales.centred >= 0, positive, negative), scales)


def _scaled(values: Fixed, factor: float) -> Fixed:
    """Return values * factor in fixed point; the sign is applied behind the rounding."""
    multiplier, shift = (np.array(n) for n in quantize_multiplier(abs(factor)))
    result = multiply_by_quantized(values, multiplier, shift)
    return -result if factor < 0 else result


def _stored(values: npt.NDArray[Any], low: int = -128, high: int = 127) -> Table:
    return np.asarray(np.clip(values, low, high)).astype(np.int8)


def _clamped(values: Fixed, scales: Scales, low: int = -128, high: int = 127) -> Table:
    return _stored(values + scales.zero_out, low, high)


def _clip(scales: Scales, low: float | None, high: float | None) -> Table:
    """Return the input at the output's scale, within the nearest integers of the bounds."""
    bounds = [-128, 127]
    for i, real in enumerate((low, high)):
        if real is not None:
            steps = math.copysign(0.5, real) + float(
                np.float32(real) / np.float32(scales.scale_out)
            )
            bounds[i] = min(max(math.trunc(steps) + scales.zero_out, -128), 127)
    return _clamped(_scaled(scales.centred, scales.ratio), scales, *bounds)


def _relu(scales: Scales, _: float) -> Table:
    return _clip(scales, 0.0, None)


def _relu6(scales: Scales, _: float) -> Table:
    """Return the clamp alone: TensorFlow Lite Micro takes input and output scales to be equal."""
    six = np.float32(6) / np.float32(scales.scale_in)
    top = math.floor(float(six) + 0.5) + scales.zero_in
    return _stored(VALUES, max(-128, scales.zero_in), min(127, top))


def _leaky_relu(scales: Scales, alpha: float) -> Table:
    step = float(np.float32(scales.scale_in)) * float(np.float32(alpha))
    slope = step / float(np.float32(scales.scale_out))
    positive, negative = (_scaled(scales.centred, f) for f in (scales.ratio, slope))
    return _clamped(np.where(scales.centred >= 0, positive, negative), scales)


def _saturated(
    scales: Scales, function: Callable[[Fixed, int], Fixed], output_bits: int, zero: int
) -> Table:
    """Return a sigmoid-like function of numbers with 4 integer bits, saturated beyond them."""
    real = float(np.float32(scales.scale_in)) * 2.0**27
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor(15 * 2.0**27 / 2.0**shift)
    inside = np.abs(scales.centred) < radius
    x = np.where(inside, scales.centred, 0)
    fraction = function(multiply_by_quantized(x, np.array(multiplier), np.array(shift)), 4)
    result = rounding_shift(fraction, 31 - output_bits) + zero
    result = np.where(inside, result, np.where(scales.centred > 0, 127, -128))
    return _stored(result)


def _logistic(scales: Scales, _: float) -> Table:
    return _saturated(scales, _gemmlowp.logistic, 8, -128)


def _tanh(scales: Scales, _: float) -> Table:
    return _saturated(scales, _gemmlowp.tanh, 7, 0)


def _high_multiply_16(a: Fixed, b: Fixed | int, nudge: int = 1 << 14) -> Fixed:
    """Return a * b / 2**15 of int16 numbers, half away from zero (cut towards it for nudge 0)."""
    product = a * b
    result = np.sign(product) * ((np.abs(product) + nudge) >> 15)
    # Of the two ties only the positive one moves away from zero.
    tie = (product < 0) & (((-product) & 0x7FFF) == 1 << 14) & (nudge > 0)
    return np.asarray(np.minimum(result + tie, 32767))


def _narrow(factor: float) -> tuple[int, int]:
    """Return a 16-bit multiplier and the exponent of a factor."""
    multiplier, exponent = quantize_multiplier(factor)
    return min((multiplier + (1 << 15)) >> 16, 32767), exponent


def _shift_left_16(x: Fixed, amount: int) -> Fixed:
    return np.asarray(np.clip(x << amount, -32768, 32767))


def _hard_swish(scales: Scales, _: float) -> Table:
    """Return x * relu6(x + 3) / 6 with 16-bit products, the input raised by 7 bits."""
    fine = np.float32(1 / 128) * np.float32(scales.scale_in)
    output, output_exponent = _narrow(float(fine / np.float32(scales.scale_out)))
    gate, gate_exponent = _narrow(float(fine / (np.float32(3) / np.float32(32768))))
    x = scales.centred * 128
    scaled = _high_multiply_16(x, output)
    ramp = _shift_left_16(x, gate_exponent - 1) if gate_exponent > 0 else x
    ramp = _high_multiply_16(ramp, gate)
    if gate_exponent > 0:
        ramp = _shift_left_16(ramp, 1)
    ramp = rounding_shift(ramp, max(-gate_exponent, 0))
    share = (ramp + (1 << 15)) >> 1
    product = _high_multiply_16(share, scaled, nudge=0)
    return _clamped(rounding_shift(product, -output_exponent), scales)


def _abs(scales: Scales, _: float) -> Table:
    size = np.abs(scales.centred)
    if np.float32(scales.scale_in) != np.float32(scales.scale_out):
        size = _scaled(size, scales.ratio)
    return _clamped(size, scales)


def _sqrt(scales: Scales, _: float) -> Table:
    """Return the root in float32, cut to a whole number of steps; the least for negative numbers.

    Source: LiteRT's int8 kernel, which refuses negative numbers.
    """
    root = np.sqrt(np.maximum(scales.centred, 0).astype(np.float32) * np.float32(scales.scale_in))
    with np.errstate(over="ignore"):
        steps = np.minimum(root / np.float32(scales.scale_out), np.float32(1 << 16))
    cut = np.trunc(steps).astype(np.int64)
    return np.where(scales.centred >= 0, _clamped(cut, scales), np.int8(-128))


def _rsqrt(scales: Scales, _: float) -> Table:
    """Return 1 / sqrt(x) with 20 bits between; 127 for 0 and for what has no root."""
    positive = scales.centred > 0
    x = np.where(positive, scales.centred, 1)
    multiplier, shift = _gemmlowp.inverse_square_root(x)
    fine = multiply_by_quantized(np.ones_like(x), multiplier, shift + 20)
    root = math.sqrt(float(np.float32(scales.scale_in)))
    output, exponent = quantize_multiplier(1.0 / (root * float(np.float32(scales.scale_out))))
    result = multiply_by_quantized(fine, np.array(output), np.array(exponent - 20))
    return np.where(positive, _clamped(result, scales), np.int8(127))


_KERNELS: dict[str, Callable[[Scales, float], Table]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "sigmoid": _logistic,
    "tanh": _tanh,
    "hard_swish": _hard_swish,
    "abs": _abs,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
}
