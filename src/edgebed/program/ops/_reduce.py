"""Reductions of affine integers, as TensorFlow Lite Micro computes them."""

from __future__ import annotations

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.types import Array, TensorType


def mean_factor(kind: TensorType, rule: Affine, count: int) -> tuple[int, int]:
    """Return multiplier and shift of a mean over `count` values, applied to their sum.

    The multiplier of scale_in / scale_out, raised by as many bits as the count has, is divided by
    the count and cut. Source: TensorFlow Lite's QuantizedMeanOrSum.
    """
    multiplier, shift = sum_factor(kind, rule)
    raised = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << raised) // count, shift - raised


def sum_factor(kind: TensorType, rule: Affine) -> tuple[int, int]:
    """Return multiplier and shift of scale_in / scale_out."""
    real = float(np.float32(kind.scale)) / float(np.float32(rule.scale))
    return quantize_multiplier(real)


def fixed_point_total(
    total: Array, count: int, kind: TensorType, rule: Affine, *, mean: bool
) -> Array:
    """Return sums, or means, at the output's scale.

    Args:
        total: sums of the stored integers, int64.
        count: values in each sum.
        kind: of the values.
        rule: of the output.
        mean: divide by the count.
    """
    factor = mean_factor(kind, rule, count) if mean else sum_factor(kind, rule)
    multiplier, shift = (np.array(n) for n in factor)
    single = rule.rounding == "fixed_point_single"
    centred = total - count * kind.zero_point
    return rule.clamp(multiply_by_quantized(centred, multiplier, shift, single=single))


def real_total(total: Array, count: int, kind: TensorType, rule: Affine, *, mean: bool) -> Array:
    """Return sums, or means, by the rule `float`; see `fixed_point_total`.

    The exact sum, as float32, times the scale, over the count: the steps of `avg_pool`.
    """
    real = (total - count * kind.zero_point).astype(np.float32) * np.float32(kind.scale)
    return rule.quantise(real / np.float32(count) if mean else real)
