"""Another scale, zero point or integer type for the same real numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._rescale import rescale
from edgebed.program.types import INTEGERS, Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Requantize(Op):
    """Integers of one scale as integers of another; see `edgebed.program.ops._rescale`.

    Attributes:
        requantize: scale, zero point, type and rounding of the output.
    """

    kind: ClassVar[str] = "requantize"
    requantize: Affine

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the output's type."""
        (x,) = types
        if x.dtype not in INTEGERS or x.dtype == "int64":
            raise self.fail(f"its input is {x.dtype}", why="int8, uint8, int16 or int32 is needed")
        rule = self.requantize
        return TensorType(x.shape, rule.dtype, rule.scale, rule.zero_point)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Bring the values to the output's scale."""
        return rescale(inputs[0], types[0], self.requantize)
