"""One value for all values along some axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._axes import check_axis
from edgebed.program.ops._float import real_values
from edgebed.program.ops._reduce import fixed_point_total, real_total
from edgebed.program.ops._rescale import rescale
from edgebed.program.types import QUANTISED, Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Reduce(Op):
    """Mean, sum, product, extreme or Euclidean length along axes.

    float32: sums in float32, within 1e-6 of the sum of the magnitudes. Integers with a rule:
    `fixed_point` is TensorFlow Lite Micro's kernel for mean, sum, min and max. With `float` mean
    and sum take the exact sum of the integers less their zero point, as float32, times the scale,
    over the count for a mean; the rest is computed in float32 between. Without a rule min and max
    keep the input's type; sum, prod, min and max of int32 and int64 are plain.

    Attributes:
        function: which one; `l2` is the square root of the sum of squares.
        axes: along which, in rising order.
        keep: leave the axes with size 1.
        requantize: rule to the output's integers.
    """

    kind: ClassVar[str] = "reduce"
    function: Literal["mean", "sum", "max", "min", "prod", "l2"]
    axes: tuple[int, ...]
    keep: bool = True
    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of what is left."""
        (x,) = types
        for axis in self.axes:
            check_axis(self, axis, x.shape)
        if list(self.axes) != sorted(set(self.axes)):
            raise self.fail(f"axes {self.axes}", why="each once, in rising order")
        shape = self.shape(x.shape)
        rule = self.requantize
        if rule is None:
            self._check_plain(x)
            return x.with_shape(shape)
        if x.dtype not in QUANTISED:
            raise self.fail(f"a rule on {x.dtype}", why="int8, uint8 or int16 is needed")
        if rule.rounding != "float" and self.function in ("prod", "l2"):
            raise self.fail(f"{self.function} in fixed point", try_='rounding "float"')
        return TensorType(shape, rule.dtype, rule.scale, rule.zero_point)

    def shape(self, x: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape for an input's."""
        if self.keep:
            return tuple(1 if axis in self.axes else size for axis, size in enumerate(x))
        return tuple(size for axis, size in enumerate(x) if axis not in self.axes)

    def _check_plain(self, x: TensorType) -> None:
        order = self.function in ("max", "min")
        whole = x.dtype in ("int32", "int64") and self.function in ("sum", "prod")
        if not (x.is_float or order or whole):
            raise self.fail(f"{self.function} of {x.dtype}", why="it needs a requantize rule")

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Reduce."""
        x, (kind,), rule = inputs[0], types, self.requantize
        axes = tuple(axis + 1 for axis in self.axes)
        if rule is None:
            return self._plain(x, axes)
        if self.function in ("mean", "sum"):
            return self._total(x, kind, rule)
        if rule.rounding == "float":
            return rule.quantise(self._plain(real_values(x, kind), axes))
        return rescale(self._plain(x, axes), kind, rule)

    def _total(self, x: Array, kind: TensorType, rule: Affine) -> Array:
        """Return the mean or sum of integers under a rule; its order cannot matter."""
        axes, mean = tuple(axis + 1 for axis in self.axes), self.function == "mean"
        total = x.sum(axis=axes, dtype=np.int64, keepdims=self.keep)
        count = prod(kind.shape[axis] for axis in self.axes)
        total_of = real_total if rule.rounding == "float" else fixed_point_total
        return total_of(total, count, kind, rule, mean=mean)

    def _plain(self, x: Array, axes: tuple[int, ...]) -> Array:
        if self.function == "l2":
            squares = np.square(x).sum(axis=axes, keepdims=self.keep, dtype=x.dtype)
            return np.asarray(np.sqrt(squares))
        result = np.asarray(getattr(np, self.function)(x, axis=axes, keepdims=self.keep))
        return result.astype(x.dtype, copy=False)
