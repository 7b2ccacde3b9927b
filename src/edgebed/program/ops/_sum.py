"""Sum and difference of affine integers, as TensorFlow Lite computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.types import Array, TensorType


@dataclass(frozen=True)
class SumFactors:
    """Constants of a fixed-point sum.

    Attributes:
        left_shift: bits that operands gain before they are scaled.
        operands: (multiplier, shift) of each operand.
        output: (multiplier, shift) of the sum.
    """

    left_shift: int
    operands: tuple[tuple[int, int], tuple[int, int]]
    output: tuple[int, int]


def sum_factors(types: Sequence[TensorType], rule: Affine) -> SumFactors:
    """Return the constants of a sum of two tensors of `types`.

    Both operands come to twice the larger scale: m_i = s_i / (2 max(s)), and the sum leaves it by
    2 max(s) / (2**left_shift s_out), in double precision. Source: TensorFlow Lite's add kernel;
    20 bits for 8-bit operands, 15 where any has 16 bits, so that none leaves 32 bits.
    """
    left_shift = 15 if any(kind.dtype == "int16" for kind in types) else 20
    twice = 2.0 * max(kind.scale for kind in types)
    first, second = (quantize_multiplier(kind.scale / twice) for kind in types)
    output = quantize_multiplier(twice / ((1 << left_shift) * rule.scale))
    return SumFactors(left_shift, (first, second), output)


def fixed_point_sum(
    inputs: Sequence[Array], types: Sequence[TensorType], rule: Affine, *, sign: int
) -> Array:
    """Return a + sign * b, requantised."""
    factors = sum_factors(types, rule)
    single = rule.rounding == "fixed_point_single"
    scaled = []
    for values, kind, (multiplier, shift) in zip(inputs, types, factors.operands, strict=True):
        raised = (values.astype(np.int64) - kind.zero_point) << factors.left_shift
        scaled.append(multiply_by_quantized(raised, multiplier, shift, single=single))
    total = scaled[0] + sign * scaled[1]
    multiplier, shift = factors.output
    return rule.clamp(multiply_by_quantized(total, multiplier, shift, single=single))
