"""A slope of its own below zero for each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._axes import broadcast_shape
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Prelu(Op):
    """x where x >= 0, else x * slope, in float32; int8 tensors take `lookup` with an axis.

    Attributes:
        slope: float32 constant, broadcast against the input's shape (no batch axis).
    """

    kind: ClassVar[str] = "prelu"
    slope: str

    @property
    def constants(self) -> tuple[str, ...]:
        """The slopes."""
        return (self.slope,)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the input's type."""
        (x,), slope = types, constants[self.slope].values
        if not x.is_float or slope.dtype != np.float32:
            raise self.fail(f"a slope of {slope.dtype} on {x.dtype}", why="both must be float32")
        if broadcast_shape(self, [x.shape, slope.shape]) != x.shape:
            raise self.fail(f"slopes of shape {slope.shape} on {x.shape}")
        return x

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Apply the slopes."""
        x = inputs[0]
        result: Array = np.where(x >= 0, x, x * constants[self.slope].values)
        return result
