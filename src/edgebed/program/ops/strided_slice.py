"""A range with a step along every axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class StridedSlice(Op):
    """x[begin:end:step] along every axis; the rank stays.

    Attributes:
        begin: first index along each axis, within the axis.
        end: first index no longer taken; None with a negative step takes index 0 too.
        step: not 0; negative runs backwards.
    """

    kind: ClassVar[str] = "strided_slice"
    begin: tuple[int, ...]
    end: tuple[int | None, ...]
    step: tuple[int, ...]

    def ranges(self, shape: Sequence[int]) -> tuple[range, ...]:
        """Return the indices taken along each axis.

        Raises:
            EdgebedError: they leave the axis, or none is left.
        """
        if not len(self.begin) == len(self.end) == len(self.step) == len(shape):
            raise self.fail(f"begin, end and step need {len(shape)} entries each")
        taken = []
        for size, begin, end, step in zip(shape, self.begin, self.end, self.step, strict=True):
            text = f"{begin}:{end}:{step} of an axis of {size}"
            if step == 0 or not 0 <= begin < size or not (end is None or 0 <= end <= size):
                raise self.fail(text, why="begin and end lie within the axis, the step is not 0")
            last = (-1 if step < 0 else size) if end is None else end
            taken.append(range(begin, last, step))
            if not taken[-1]:
                raise self.fail(f"{text} takes nothing")
        return tuple(taken)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the part."""
        (x,) = types
        return x.with_shape(tuple(len(taken) for taken in self.ranges(x.shape)))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Return a view of the part."""
        parts = zip(self.begin, self.end, self.step, strict=True)
        return inputs[0][(slice(None), *(slice(*part) for part in parts))]
