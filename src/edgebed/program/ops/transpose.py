"""Another order of the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Transpose(Op):
    """Axis i of the output is axis perm[i] of the input, as in numpy.

    Attributes:
        perm: every axis once; axis 0 is the first after the batch.
    """

    kind: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type with its axes reordered."""
        (x,) = types
        if sorted(self.perm) != list(range(len(x.shape))):
            raise self.fail(f"perm {self.perm} of shape {x.shape}", why="it names every axis once")
        return x.with_shape(tuple(x.shape[axis] for axis in self.perm))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return a view with the axes reordered."""
        return inputs[0].transpose(0, *(axis + 1 for axis in self.perm))
