"""A range of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Crop(Op):
    """Rows start (included) to stop (excluded) of every channel."""

    kind: ClassVar[str] = "crop"
    start: int
    stop: int

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the part."""
        (x,) = types
        channels, rows, columns = x.shape
        if not 0 <= self.start < self.stop <= rows:
            raise self.fail(f"rows {self.start}:{self.stop} of {rows}")
        return x.with_shape((channels, self.stop - self.start, columns))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return a view of the rows."""
        return inputs[0][:, :, self.start : self.stop]
