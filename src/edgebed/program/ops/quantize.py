"""From real numbers to the integers that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Quantize(Op):
    """clip(round(x / scale) + zero_point, low, high), the quotient in float32.

    Attributes:
        scale: of the output.
        zero_point: of the output.
        dtype: of the output.
        rounding: `half_away` from zero as TensorFlow Lite, `half_even` as ONNX.
        low: least result; None for the least of the type.
        high: largest result; None for the largest of the type.
    """

    kind: ClassVar[str] = "quantize"
    scale: float
    zero_point: int = 0
    dtype: Literal["int8", "uint8", "int16", "int32"] = "int8"
    rounding: Literal["half_away", "half_even"] = "half_away"
    low: int | None = None
    high: int | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the integer type."""
        (x,) = types
        if not x.is_float:
            raise self.fail(f"its input is {x.dtype}", why="float32 is needed", try_="requantize")
        limits = np.iinfo(self.dtype)
        low, high = self.limits
        if not limits.min <= low <= high <= limits.max:
            raise self.fail(f"low {low} and high {high} of {self.dtype}")
        return TensorType(x.shape, self.dtype, self.scale, self.zero_point)

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest result."""
        known = np.iinfo(self.dtype)
        low = int(known.min) if self.low is None else self.low
        return low, int(known.max) if self.high is None else self.high

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the integers."""
        with np.errstate(over="ignore"):
            steps = (inputs[0] / np.float32(self.scale)).astype(np.float64)
        if self.rounding == "half_even":
            whole = np.rint(steps)
        else:
            whole = np.trunc(steps + np.copysign(0.5, steps))
        clipped: Array = np.clip(whole + self.zero_point, *self.limits)
        return clipped.astype(self.dtype)
