"""The same number in another type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.types import Array, Constant, DType, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Cast(Op):
    """Converts stored numbers, whatever they mean: reals are cut towards zero, integers wrap.

    Reals beyond the integer type take its nearest bound; NaN becomes 0. bool is "not 0".

    Attributes:
        dtype: of the result, whose scale is 1 and zero point 0.
    """

    kind: ClassVar[str] = "cast"
    dtype: DType

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the new type."""
        (x,) = types
        return TensorType(x.shape, self.dtype, 1.0)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Convert."""
        x = inputs[0]
        if x.dtype.kind != "f" or self.dtype in ("float32", "bool"):
            return x.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0))
        low, high = float(limits.min), float(limits.max)
        inside = np.where((whole >= low) & (whole < high), whole, 0.0).astype(self.dtype)
        ends = np.where(whole >= high, limits.max, limits.min)
        result: Array = np.where((whole >= low) & (whole < high), inside, ends)
        return result.astype(self.dtype)
