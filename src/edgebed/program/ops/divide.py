"""Quotient of two tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Affine, high_multiply, quantize_multiplier, rounding_shift
from edgebed.program.ops import _gemmlowp
from edgebed.program.ops._axes import aligned
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._float import Floats, through_floats
from edgebed.program.types import Array, Constant, DType, TensorType


@dataclass(frozen=True, kw_only=True)
class Divide(Binary):
    """left / right, broadcast.

    float32 operands need no rule. With fixed point the reciprocal of the divisor is taken by
    Newton steps, times the dividend, times s0 / (s1 * scale). Source: TensorFlow Lite
    Micro's kernel; where it divides by zero the result is unspecified, here that of 1.
    """

    kind: ClassVar[str] = "divide"
    plain: ClassVar[tuple[DType, ...]] = ("float32",)
    result: ClassVar[str] = "quotient"

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Divide."""
        operands, rule = aligned(inputs), self.requantize
        if rule is None or rule.rounding == "float":
            return through_floats(rule, _quotient, operands, types)
        return _fixed_point(operands, types, rule)


def _quotient(left: Floats, right: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(left / right)


def _fixed_point(operands: Sequence[Array], types: Sequence[TensorType], rule: Affine) -> Array:
    pairs = zip(operands, types, strict=True)
    top, bottom = (x.astype(np.int64) - kind.zero_point for x, kind in pairs)
    top, bottom = np.where(bottom < 0, -top, top), np.maximum(np.abs(bottom), 1)
    headroom = _gemmlowp.leading_zeros(bottom)
    inverse = _gemmlowp.reciprocal((bottom << headroom) - (1 << 31))
    room = _gemmlowp.leading_zeros(np.where(top < 0, -2 * top - 1, np.maximum(top, 1)))
    room = np.where(top < 0, room, room - 1)
    quotient = high_multiply(top << room, inverse)
    scales = [np.float32(kind.scale) for kind in types]
    real = float(scales[0]) / (float(scales[1]) * float(np.float32(rule.scale)))
    multiplier, shift = quantize_multiplier(real)
    right = room + 31 - headroom - shift
    wide = high_multiply(quotient, np.array(multiplier))
    # Beyond 31 bits nothing is left; TensorFlow Lite leaves that undefined.
    return rule.clamp(rounding_shift(wide, np.clip(right, 0, 31)))
