"""Where the largest value is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from edgebed.program.ops._axes import check_axis
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Argmax(Op):
    """The index of the largest value along an axis.

    Attributes:
        axis: along which.
        keep: leave the axis with size 1.
        last: of equal values take the last instead of the first.
        least: look for the least value instead.
        dtype: of the index.
    """

    kind: ClassVar[str] = "argmax"
    axis: int
    keep: bool = False
    last: bool = False
    least: bool = False
    dtype: Literal["int32", "int64"] = "int32"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the indices' type."""
        (x,) = types
        axis = check_axis(self, self.axis, x.shape)
        middle = (1,) if self.keep else ()
        return TensorType((*x.shape[:axis], *middle, *x.shape[axis + 1 :]), self.dtype, 1.0)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Find the indices."""
        x, axis = inputs[0], self.axis + 1
        find = np.argmin if self.least else np.argmax
        if self.last:
            index = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=self.keep)
        else:
            index = find(x, axis=axis, keepdims=self.keep)
        return np.asarray(index).astype(self.dtype)
