"""Saturating bitwise exclusive or of tensors."""

from __future__ import annotations

from typing import ClassVar

from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.types import Array


class BitXor(Elementwise):
    """The bitwise exclusive or of its operands, left to right, on int8 two's complement."""

    kind: ClassVar[str] = "bit_xor"

    def combine(self, left: Array, right: Array) -> Array:
        """Return the bitwise exclusive or of two operands."""
        return left ^ right
