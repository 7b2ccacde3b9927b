"""Square of the difference of two tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._axes import aligned
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._float import Floats, through_floats
from edgebed.program.types import Array, Constant, DType, TensorType


@dataclass(frozen=True, kw_only=True)
class SquaredDifference(Binary):
    """(a - b)**2, broadcast.

    float32, int32 and int64 operands need no rule. Quantised ones need one: with fixed point both
    come to twice the larger scale with 7 bits more (none where one is int16), and the square leaves
    it in one step. Source: TensorFlow Lite Micro's kernel.
    """

    kind: ClassVar[str] = "squared_difference"
    plain: ClassVar[tuple[DType, ...]] = ("float32", "int32", "int64")
    result: ClassVar[str] = "square"

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Subtract and square."""
        operands, rule = aligned(inputs), self.requantize
        if rule is None:
            return _square(*operands)
        if rule.rounding == "float":
            return through_floats(rule, _square, operands, types)
        return _fixed_point(operands, types, rule)


def _square(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.square(a - b))


def headroom(types: Sequence[TensorType]) -> int:
    """Return how many bits operands gain before they are scaled in fixed point."""
    return 0 if any(kind.dtype == "int16" for kind in types) else 7


def _fixed_point(operands: Sequence[Array], types: Sequence[TensorType], rule: Affine) -> Array:
    raised = headroom(types)
    twice = 2.0 * max(kind.scale for kind in types)
    single = rule.rounding == "fixed_point_single"
    scaled = []
    for x, kind in zip(operands, types, strict=True):
        multiplier, shift = (np.array(n) for n in quantize_multiplier(kind.scale / twice))
        fine = (x.astype(np.int64) - kind.zero_point) << raised
        scaled.append(multiply_by_quantized(fine, multiplier, shift, single=single))
    step = float(np.float32(1 << (2 * raised)) * np.float32(rule.scale))
    multiplier, shift = (np.array(n) for n in quantize_multiplier(twice * twice / step))
    square = np.square(scaled[0] - scaled[1])
    return rule.clamp(multiply_by_quantized(square, multiplier, shift, single=single))
