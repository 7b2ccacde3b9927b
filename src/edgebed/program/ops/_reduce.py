"""Reductions of affine integers, as TensorFlow Lite Micro computes them."""

from __future__ import annotations

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._rescale import rescale
from edgebed.program.types import Array, TensorType


def fixed_point_extreme(values: Array, kind: TensorType, rule: Affine) -> Array:
    """Return maxima or minima at the output's scale."""
    return rescale(values, kind, rule)


def fixed_point_sum(total: Array, count: int, kind: TensorType, rule: Affine) -> Array:
    """Return sums (int64) of `count` values at the output's scale."""
    real = np.float32(kind.scale) / np.float32(rule.scale)
    multiplier, shift = (np.array(n) for n in quantize_multiplier(float(real)))
    return rule.clamp(multiply_by_quantized(total - count * kind.zero_point, multiplier, shift))


def fixed_point_mean(total: Array, count: int, kind: TensorType, rule: Affine) -> Array:
    """Return means of `count` values, given their sums (int64), at the output's scale."""
    raise NotImplementedError
