"""The same numbers in another shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType

MOST_AXES = 32
"""So many axes a tensor may have; numpy holds 64, and ops add some on the way."""


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """The values in row-major order, cut into another shape.

    Attributes:
        shape: of the result, without the batch axis.
    """

    kind: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type with the new shape."""
        (x,) = types
        if min(self.shape, default=1) < 1 or x.size != math.prod(self.shape):
            raise self.fail(
                f"{x.shape} cannot become {self.shape}", why="the number of values stays the same"
            )
        if len(self.shape) > MOST_AXES:
            raise self.fail(f"a shape of {len(self.shape)} axes", why=f"{MOST_AXES} are the limit")
        return x.with_shape(self.shape)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return the values in the new shape."""
        return inputs[0].reshape(len(inputs[0]), *self.shape)
