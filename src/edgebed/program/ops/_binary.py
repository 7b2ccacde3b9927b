"""What the ops of two operands share: numpy's broadcasting of the shapes without the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._axes import broadcast_shape
from edgebed.program.types import QUANTISED, Constant, DType, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Binary(Op):
    """Combines two operands value by value; without a rule they are of equal type.

    Attributes:
        requantize: rule to the output's integers; the factors come from the operands' scales.
    """

    plain: ClassVar[tuple[DType, ...]] = get_args(DType)
    """Types that are combined without a rule."""
    result: ClassVar[str] = "result"
    """What comes out, for messages."""
    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the broadcast type."""
        if len(types) != 2:
            raise self.fail(f"has {len(types)} operands", why="it combines two")
        first, second = types
        shape = broadcast_shape(self, [x.shape for x in types])
        rule = self.requantize
        if rule is None:
            if first.with_shape(shape) != second.with_shape(shape):
                raise self.fail(f"operands differ: {first} and {second}", try_="a requantize rule")
            return self.plain_type(first.with_shape(shape))
        for x in types:
            if x.dtype not in (*QUANTISED, "int32"):
                raise self.fail(f"an operand is {x.dtype}", why="a rule needs quantised integers")
        return TensorType(shape, rule.dtype, rule.scale, rule.zero_point)

    def plain_type(self, x: TensorType) -> TensorType:
        """Return the output's type where operands of type x are combined without a rule."""
        if x.dtype not in self.plain:
            raise self.fail(f"operands are {x.dtype}", why=f"their {self.result} needs a rule")
        return x


@dataclass(frozen=True, kw_only=True)
class FloatBinary(Op):
    """Combines two float32 operands value by value."""

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the broadcast type."""
        if len(types) != 2 or not all(x.is_float for x in types):
            found = ", ".join(x.dtype for x in types)
            raise self.fail(f"operands are {found}", why="two of float32 are needed")
        shape = broadcast_shape(self, [x.shape for x in types])
        return TensorType(shape, "float32", 1.0)
