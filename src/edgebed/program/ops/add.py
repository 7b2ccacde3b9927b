"""Sum of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops._sum import early_zero_sum, fixed_point_sum
from edgebed.program.types import Array, TensorType


class Add(Elementwise):
    """The sum of its operands, left to right.

    A rule with `zero_first` takes two operands of 8 bits and computes what ONNX Runtime's quantised
    Add does: two fused multiply-adds, the first operand's last.
    """

    kind: ClassVar[str] = "add"
    takes_zero_first: ClassVar[bool] = True

    def combine(self, left: Array, right: Array) -> Array:
        """Return the sum of two operands."""
        return left + right

    def fixed_point(self, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
        """Return the sum in TensorFlow Lite's fixed point."""
        assert self.requantize is not None
        return fixed_point_sum(inputs, types, self.requantize, sign=1)

    def early_zero(self, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
        """Return the sum whose zero point is added before it is rounded."""
        assert self.requantize is not None
        return early_zero_sum(inputs, types, self.requantize)
