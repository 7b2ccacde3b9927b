"""Difference of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops._sum import fixed_point_sum
from edgebed.program.types import Array, TensorType


class Subtract(Elementwise):
    """The first operand minus all others."""

    kind: ClassVar[str] = "subtract"

    def combine(self, left: Array, right: Array) -> Array:
        """Return the difference of two operands."""
        return left - right

    def fixed_point(self, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
        """Return the difference in TensorFlow Lite's fixed point."""
        assert self.requantize is not None
        return fixed_point_sum(inputs, types, self.requantize, sign=-1)
