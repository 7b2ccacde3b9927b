"""A range of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Slice(Op):
    """Channels start (included) to stop (excluded) of the input."""

    kind: ClassVar[str] = "slice"
    start: int
    stop: int

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the part."""
        (x,) = types
        if not 0 <= self.start < self.stop <= x.shape[0]:
            raise self.fail(f"channels {self.start}:{self.stop} of {x.shape[0]}")
        return x.with_shape((self.stop - self.start, *x.shape[1:]))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return a view of the channels."""
        return inputs[0][:, self.start : self.stop]
