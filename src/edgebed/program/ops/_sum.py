"""Sum and difference of affine integers, as TensorFlow Lite computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._float import fused_multiply_add
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


@dataclass(frozen=True)
class EarlySum:
    """Constants of a sum whose zero point is added first: a * ratio_a + (b * ratio_b + fixed).

    Attributes:
        offsets: the file's integers of an operand less the program's.
        ratios: float32 scale of an operand over that of the result.
        fixed: float32, what all zero points come to.
    """

    offsets: tuple[int, int]
    ratios: tuple[np.float32, np.float32]
    fixed: np.float32


def early_sum(types: Sequence[TensorType], rule: Affine) -> EarlySum:
    """Return the constants of a sum under a rule with `zero_first`.

    Source: ONNX Runtime's QLinearAdd on x86-64 with AVX2, where the compiler fuses the first
    product of the zero points; compared with its results for all pairs of bytes.
    """
    file = 128 if rule.zero_first == "uint8" else 0
    offsets = [file if kind.dtype == "int8" else 0 for kind in types]
    ratios = [np.float32(kind.scale) / np.float32(rule.scale) for kind in types]
    zeros = [np.float32(k.zero_point + offset) for k, offset in zip(types, offsets, strict=True)]
    with np.errstate(all="ignore"):
        both = fused_multiply_add(ratios[0], zeros[0], ratios[1] * zeros[1])
        fixed = np.float32(rule.early_zero - both)
    return EarlySum((offsets[0], offsets[1]), (ratios[0], ratios[1]), fixed)


def early_zero_sum(inputs: Sequence[Array], types: Sequence[TensorType], rule: Affine) -> Array:
    """Return a + b of quantised operands under a rule with `zero_first`."""
    sums = early_sum(types, rule)
    a, b = (
        x.astype(np.float32) + np.float32(offset)
        for x, offset in zip(inputs, sums.offsets, strict=True)
    )
    with np.errstate(all="ignore"):
        inner = fused_multiply_add(b, sums.ratios[1], sums.fixed)
        return rule.rounded(fused_multiply_add(a, sums.ratios[0], inner))
