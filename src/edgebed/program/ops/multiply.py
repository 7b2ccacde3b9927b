"""Product of two tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._axes import aligned
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._float import through_floats
from edgebed.program.types import Array, Constant, DType, TensorType


@dataclass(frozen=True, kw_only=True)
class Multiply(Binary):
    """The product, broadcast.

    float32, int32 and int64 operands need no rule. Quantised ones need one: with fixed point
    (q0 - z0) * (q1 - z1) times the factor s0 * s1 / scale (in double precision) is clamped with the
    zero point added. Source: TensorFlow Lite Micro's kernel. A rule with `zero_first` makes the
    same product a float32 and multiplies it by s0 * s1 / scale, as ONNX Runtime's quantised Mul.
    """

    kind: ClassVar[str] = "multiply"
    takes_zero_first: ClassVar[bool] = True
    plain: ClassVar[tuple[DType, ...]] = ("float32", "int32", "int64")
    result: ClassVar[str] = "product"

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Multiply."""
        left, right = aligned(inputs)
        rule = self.requantize
        if rule is None:
            return np.asarray(left * right)
        if rule.rounding == "float" and not rule.zero_first:
            return through_floats(rule, np.multiply, [left, right], types)
        a, b = types
        product = (left.astype(np.int64) - a.zero_point) * (right.astype(np.int64) - b.zero_point)
        if rule.zero_first:
            return rule.nearest(product.astype(np.float32) * early_ratio(types, rule))
        first, second, out = (float(np.float32(s)) for s in (a.scale, b.scale, rule.scale))
        single = rule.rounding == "fixed_point_single"
        factor = [np.array(n) for n in quantize_multiplier(first * second / out)]
        return rule.clamp(multiply_by_quantized(product, *factor, single=single))


def early_ratio(types: Sequence[TensorType], rule: Affine) -> np.float32:
    """Return the float32 factor of a product under a rule with `zero_first`."""
    first, second = (np.float32(kind.scale) for kind in types)
    return np.float32(first * second / np.float32(rule.scale))
