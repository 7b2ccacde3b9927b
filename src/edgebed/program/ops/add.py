"""Saturating sum of tensors."""

from __future__ import annotations

from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.types import Array


class Add(Elementwise):
    """The sum of its operands, left to right, on int8 two's complement."""

    kind: ClassVar[str] = "add"

    def combine(self, left: Array, right: Array) -> Array:
        """Return the sum of two operands."""
        return left + right
