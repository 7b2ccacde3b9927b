"""Fixed-point functions on int32 fractions, bit for bit those of gemmlowp's fixedpoint.h.

A number with i integer bits is an int32 with 31 - i bits behind the point; arrays here are int64
that hold int32 values. The product of numbers with i and j integer bits has i + j.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import high_multiply, rounding_shift

Fixed = npt.NDArray[np.int64]
ONE = 2**31 - 1
"""1 with no integer bits, less one unit: the largest int32."""


def _constant(real: float, integer_bits: int) -> int:
    return round(real * (1 << (31 - integer_bits)))


def saturating_shift_left(x: Fixed, exponent: int) -> Fixed:
    """Return x * 2**exponent, saturated to int32."""
    return np.asarray(np.clip(x << exponent, -(2**31), 2**31 - 1))


def _product(a: Fixed, b: Fixed | int) -> Fixed:
    return high_multiply(a, np.asarray(b, np.int64))


def _exp_near_zero(a: Fixed) -> Fixed:
    """Return exp(a) for -1/4 <= a < 0, no integer bits: a Taylor polynomial around -1/8."""
    middle, third = _constant(math.exp(-1 / 8), 0), _constant(1 / 3, 0)
    x = a + (1 << 28)
    x2 = _product(x, x)
    x3 = _product(x2, x)
    x4 = _product(x2, x2)
    tail = _product(rounding_shift(x4, 2) + x3, third) + x2
    return middle + _product(x + rounding_shift(tail, 1), middle)


def exp_negative(a: Fixed, integer_bits: int) -> Fixed:
    """Return exp(a), no integer bits, for a <= 0 with up to 5 integer bits."""
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(low << integer_bits)
    rest = low - a
    for exponent in range(-2, integer_bits):
        factor = _constant(math.exp(-(2.0**exponent)), 0)
        bit = (rest >> (fraction + exponent)) & 1
        result = np.where(bit != 0, _product(result, factor), result)
    return np.where(a == 0, ONE, result)


def _inverse_of_half(a: Fixed) -> Fixed:
    """Return 2 / (1 + a), 2 integer bits, for 0 <= a <= 1 with none: three Newton steps."""
    total = a + ONE
    half = np.where(total >= 0, total + 1, total - 1) >> 1  # never negative here
    x = _constant(48 / 17, 2) + _product(half, _constant(-32 / 17, 2))
    for _ in range(3):
        rest = (1 << 29) - _product(half, x)
        x = x + saturating_shift_left(_product(x, rest), 2)
    return x


def reciprocal(a: Fixed) -> Fixed:
    """Return 1 / (1 + a), no integer bits, for 0 <= a <= 1."""
    return saturating_shift_left(_inverse_of_half(a), 1)


def logistic(a: Fixed, integer_bits: int) -> Fixed:
    """Return 1 / (1 + exp(-a)), no integer bits."""
    positive = reciprocal(exp_negative(-np.abs(a), integer_bits))
    result = np.where(a > 0, positive, ONE - positive)
    return np.where(a == 0, 1 << 30, result)


def tanh(a: Fixed, integer_bits: int) -> Fixed:
    """Return the hyperbolic tangent of a, no integer bits."""
    grown = exp_negative(-np.abs(a), integer_bits + 1)
    size = saturating_shift_left(_inverse_of_half(grown) - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a < 0, -size, size))


def leading_zeros(x: Fixed) -> Fixed:
    """Return the leading zero bits of positive 32-bit numbers."""
    return 32 - np.frexp(x.astype(np.float64))[1].astype(np.int64)


def inverse_square_root(x: Fixed) -> tuple[Fixed, Fixed]:
    """Return (multiplier, shift) with 1 / sqrt(x) = multiplier / 2**31 * 2**shift for x >= 0.

    0 counts as 1. Source: TensorFlow Lite's GetInvSqrtQuantizedMultiplierExp.
    """
    value, right = x.copy(), np.full_like(x, 11)
    while (large := value >= (1 << 29)).any():
        value, right = np.where(large, value // 4, value), right + large
    pairs = (leading_zeros(np.maximum(value, 1)) - 1) // 2 - 1
    right = right - pairs
    value = (value << (2 * pairs)) >> 1
    half = rounding_shift(value, 1)
    root = np.full_like(x, 1 << 28)
    for _ in range(5):
        cube = saturating_shift_left(_product(_product(root, root), root), 6)
        step = _product(root, 3 << 27) - _product(half, cube)
        root = saturating_shift_left(step, 3)
    root = _product(root, _constant(math.sqrt(0.5), 0))
    root = np.where(right < 0, root << np.maximum(-right, 0), root)
    small = x <= 1
    return np.where(small, ONE, root), np.where(small, 0, -np.maximum(right, 0))
