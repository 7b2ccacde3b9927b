"""Functions of one real number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.ops._functions import Function, apply
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Unary(Op):
    """function(x) of every float32 value, in float32; int8 tensors take `lookup` instead.

    The formulas are in `edgebed.program.ops._functions`. Within 4 units in the last place or
    2e-7 of the exact value, whichever is larger, for |x| < 80.

    Attributes:
        function: which one; see `Function`.
        alpha: slope below zero (leaky_relu), size below zero (elu, celu), slope (hard_sigmoid).
        beta: offset (hard_sigmoid).
        low: least result (clip), None for none.
        high: largest result (clip), None for none.
    """

    kind: ClassVar[str] = "unary"
    function: Function
    alpha: float = 0.0
    beta: float = 0.0
    low: float | None = None
    high: float | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the input's type."""
        (x,) = types
        if not x.is_float:
            raise self.fail(f"its input is {x.dtype}", why="float32 is needed", try_="lookup")
        return x

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Apply the function."""
        return apply(
            self.function,
            inputs[0],
            alpha=self.alpha,
            beta=self.beta,
            low=self.low,
            high=self.high,
        )
