"""The same numbers with another number of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """Each channel's values in row-major order, cut into other rows (1-D to 2-D and back).

    Attributes:
        size: rows, columns of the result.
    """

    kind: ClassVar[str] = "reshape"
    size: tuple[int, int]

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type with the new size."""
        (x,) = types
        channels, rows, columns = x.shape
        if min(self.size) < 1 or rows * columns != self.size[0] * self.size[1]:
            raise self.fail(
                f"a map of {rows} x {columns} cannot become {self.size[0]} x {self.size[1]}",
                why="the number of values of a channel stays the same",
            )
        return TensorType((channels, *self.size), x.dtype, x.scale)

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Return the values with the new size."""
        batch, channels, *_ = inputs[0].shape
        return inputs[0].reshape(batch, channels, *self.size)
