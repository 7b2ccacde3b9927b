"""Average over windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import INT8_MAX, INT8_MIN, Affine, Rounding, divide
from edgebed.program.ops._float import Floats, real_values
from edgebed.program.ops._pool import Pool
from edgebed.program.ops._windows import windows
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class AvgPool(Pool):
    """Sum of each window divided by the number of its values.

    Attributes:
        rounding: `truncate` cuts towards zero, `half_away` rounds half away from zero (TensorFlow
            Lite's int8), `half_up` towards +infinity (its uint8, also where that is an int8 less
            128). All divide the sum of the integers and keep the input's type.
        include_padding: the padding counts as values of 0.0.
        requantize: an `Affine` rule with rounding `float`: the mean of the real values is rounded
            to its result. With `zero_first` the real values are added in float32, row by row.
        low: least result of int8 without a rule; a fused activation narrows it.
        high: largest result of int8 without a rule.
    """

    kind: ClassVar[str] = "avg_pool"
    takes_zero_first: ClassVar[bool] = True
    rounding: Rounding = "truncate"
    include_padding: bool = False
    requantize: Affine | None = None
    low: int = INT8_MIN
    high: int = INT8_MAX

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the pooled map."""
        kind = super().infer(types, constants)
        rule, plain = self.requantize, (self.low, self.high) == (INT8_MIN, INT8_MAX)
        if not plain and (rule is not None or kind.dtype != "int8"):
            raise self.fail(
                f"limits {self.low}..{self.high}", why="they are for int8 without a rule"
            )
        if rule is None:
            return kind
        if rule.rounding != "float" or kind.is_float:
            raise self.fail("an average takes only the rule 'float', on integers")
        return TensorType(kind.shape, rule.dtype, rule.scale, rule.zero_point)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the averages."""
        (kind,) = types
        early = self.requantize is not None and bool(self.requantize.zero_first)
        x = self.padded(inputs[0], kind.zero_point if self.include_padding or early else 0)
        wide = "float32" if kind.is_float else "int64"
        count = self._count(kind)
        if self.requantize is not None and early:
            return self.requantize.quantise(np.divide(self._added(x, kind), count, dtype="f4"))
        total = windows(x, self.kernel, self.stride).sum(axis=(4, 5), dtype=wide)
        if kind.is_float:
            mean_real: Array = total / count.astype(np.float32)
            return mean_real
        if self.requantize is not None:
            centred = (total - count * kind.zero_point).astype(np.float32)
            mean = centred * np.float32(kind.scale) / count.astype(np.float32)
            return self.requantize.quantise(mean)
        result = divide(total, count, self.rounding)
        if kind.dtype == "int8":
            result = np.clip(result, self.low, self.high)
        return result.astype(x.dtype)

    def _added(self, x: Array, kind: TensorType) -> Floats:
        """Return the sums of each window's real values, one float32 addition after the other."""
        parts = windows(real_values(x, kind), self.kernel, self.stride)
        total: Floats = np.zeros(parts.shape[:4], np.float32)
        for row, column in np.ndindex(*self.kernel):
            total = total + parts[..., row, column]
        return total

    def _count(self, kind: TensorType) -> Array:
        """Return how many values each window holds, rows x columns."""
        ones = np.ones((1, 1, *kind.shape[1:]), dtype=np.int64)
        padded = self.padded(ones, 1 if self.include_padding else 0)
        result: Array = windows(padded, self.kernel, self.stride).sum(axis=(4, 5))[0, 0]
        return result
