"""Saturating difference of tensors."""

from __future__ import annotations

from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.types import Array


class Subtract(Elementwise):
    """The difference of its operands, left to right, on int8 two's complement."""

    kind: ClassVar[str] = "subtract"

    def combine(self, left: Array, right: Array) -> Array:
        """Return the difference of two operands."""
        return left - right
