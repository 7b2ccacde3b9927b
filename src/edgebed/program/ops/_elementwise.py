"""What the element-wise ops share: operands, broadcasting, one rounding at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from edgebed.program.arithmetic import Affine, saturate
from edgebed.program.ops._axes import aligned, broadcast_shape
from edgebed.program.ops._float import real_values
from edgebed.program.types import QUANTISED, Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Elementwise(Op):
    """Combines tensors value by value, left to right, with NumPy's broadcasting.

    On float32 the result is float32. On integers without a rule the operands have one shape and
    scale and symmetric int8, and the exact result is saturated once. With an `Affine` rule the
    operands have scales and zero points of their own; `float` dequantises, combines in float32
    and quantises.

    Attributes:
        requantize: rule of the result, or None.
    """

    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the combination."""
        first = types[0]
        if len(types) < 2:
            raise self.fail(f"has {len(types)} operand", why="it combines two or more")
        if self.requantize is not None:
            return self._affine_type(types, self.requantize)
        for other in types[1:]:
            if other != first and not (first.is_float and other.is_float):
                raise self.fail(f"operands differ: {first} and {other}")
        if first.is_float:
            return first.with_shape(self._shape(types))
        if first.dtype != "int8" or first.zero_point:
            raise self.fail(f"operands are {first}", why="symmetric int8, or a rule, is needed")
        return first

    def _affine_type(self, types: Sequence[TensorType], rule: Affine) -> TensorType:
        for kind in types:
            if kind.dtype not in QUANTISED:
                raise self.fail(f"an operand is {kind.dtype}", why="quantised ones are needed")
        if (rule.rounding != "float" or rule.zero_first) and len(types) != 2:
            raise self.fail(f"{len(types)} operands", why="only a plain float rule takes others")
        if rule.zero_first and any(kind.dtype not in ("int8", "uint8") for kind in types):
            raise self.fail("operands of 16 bits with zero_first", why="8 bits are needed")
        return TensorType(self._shape(types), rule.dtype, rule.scale, rule.zero_point)

    def _shape(self, types: Sequence[TensorType]) -> tuple[int, ...]:
        return broadcast_shape(self, [kind.shape for kind in types])

    def combine(self, left: Array, right: Array) -> Array:
        """Return left op right, in int32 or float32."""
        raise NotImplementedError

    def fixed_point(self, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
        """Return the result of a fixed-point rule, with zero point added and clamped."""
        raise self.fail("has no fixed-point meaning", try_="rounding float")

    def early_zero(self, inputs: Sequence[Array], types: Sequence[TensorType]) -> Array:
        """Return the result of a rule with `zero_first`."""
        raise self.fail("has no meaning with zero_first")

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the combination."""
        together = aligned(inputs)
        if self.requantize is None and types[0].is_float:
            return reduce(self.combine, together).astype(np.float32, copy=False)
        if self.requantize is None:
            return saturate(reduce(self.combine, [one.astype("int32") for one in together]))
        if self.requantize.rounding != "float":
            return self.fixed_point(together, types)
        if self.requantize.zero_first:
            return self.early_zero(together, types)
        reals = [real_values(one, kind) for one, kind in zip(together, types, strict=True)]
        return self.requantize.quantise(reduce(self.combine, reals))
