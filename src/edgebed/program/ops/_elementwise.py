"""What the element-wise ops share: equal operands, one saturation at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebed.program.arithmetic import saturate
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Elementwise(Op):
    """Combines two or more int8 tensors of one shape and scale, left to right.

    Intermediate results are exact; the last one is saturated to int8 once.
    """

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the operands' common type."""
        first = types[0]
        if len(types) < 2:
            raise self.fail(f"has {len(types)} operand", why="it combines two or more")
        for other in types[1:]:
            if other != first:
                raise self.fail(f"operands differ: {first} and {other}")
        if first.dtype != "int8":
            raise self.fail(f"operands are {first.dtype}", why="int8 is needed")
        return first

    def combine(self, left: Array, right: Array) -> Array:
        """Return left op right in int32."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Return the saturated combination."""
        result = inputs[0].astype("int32")
        for operand in inputs[1:]:
            result = self.combine(result, operand.astype("int32"))
        return saturate(result)
