"""The int8 softmax of TensorFlow Lite's reference kernel."""

from __future__ import annotations

import math

import numpy as np

from edgebed.program.arithmetic import high_multiply, quantize_multiplier, rounding_shift
from edgebed.program.ops._gemmlowp import exp_negative, leading_zeros, reciprocal
from edgebed.program.types import Array

INPUT_BITS, SUM_BITS = 5, 12
"""Integer bits of scaled differences and of the sum of exponentials."""


def softmax_scaling(scale: float, beta: float) -> tuple[int, int, int]:
    """Return (multiplier, left shift, least difference) for an input's scale.

    Differences below the least one count as exp = 0.
    """
    real = min(float(np.float32(beta)) * float(np.float32(scale)) * 2.0**26, 2.0**31 - 1)
    multiplier, left = quantize_multiplier(real)
    radius = math.floor((2**INPUT_BITS - 1) * 2.0 ** (31 - INPUT_BITS) / 2.0**left)
    return multiplier, left, -radius


def fixed_point_softmax(x: Array, scale: float, beta: float, dtype: str) -> Array:
    """Return the shares along the last axis.

    Args:
        x: int8.
        scale: of x.
        beta: factor of x.
        dtype: of the result, int8 or int16: shares of 1/256 or 1/65536 from its least value on.
    """
    multiplier, left, least = softmax_scaling(scale, beta)
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True)
    counted = difference >= least
    near = np.where(counted, difference, 0) << left
    scaled = high_multiply(near, np.array(multiplier))
    grown = np.where(counted, exp_negative(scaled, INPUT_BITS), 0)
    total = rounding_shift(grown, SUM_BITS).sum(axis=-1, keepdims=True)
    headroom = leading_zeros(total)
    factor = reciprocal((total << headroom) - (1 << 31))
    limits = np.iinfo(dtype)
    over = SUM_BITS - headroom + 31 - limits.bits
    shares = rounding_shift(high_multiply(factor, grown), over) + limits.min
    result = np.where(counted, np.clip(shares, limits.min, limits.max), limits.min)
    return result.astype(dtype)
