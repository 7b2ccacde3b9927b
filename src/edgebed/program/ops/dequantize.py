"""From integers to the real numbers they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.ops._float import real_values
from edgebed.program.types import INTEGERS, Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Dequantize(Op):
    """(q - zero_point) * scale: the difference exact, one float32 product."""

    kind: ClassVar[str] = "dequantize"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return float32 of the input's shape."""
        (x,) = types
        if x.dtype not in INTEGERS:
            raise self.fail(f"its input is {x.dtype}", why="integers are needed")
        return TensorType(x.shape, "float32", 1.0)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the real values."""
        return real_values(inputs[0], types[0])
