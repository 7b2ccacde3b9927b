"""Saturating bitwise or of tensors."""

from __future__ import annotations

from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.types import Array


class BitOr(Elementwise):
    """The bitwise or of its operands, left to right, on int8 two's complement."""

    kind: ClassVar[str] = "bit_or"

    def combine(self, left: Array, right: Array) -> Array:
        """Return the bitwise or of two operands."""
        return left | right
