"""Chosen indices of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.ops._axes import check_axis
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Gather(Op):
    """numpy.take: the axis is replaced by the indices' axes (none for a single index).

    Attributes:
        axis: of the input.
        indices: constant of int32 or int64, each from 0 to the axis's size less 1.
    """

    kind: ClassVar[str] = "gather"
    axis: int
    indices: str

    @property
    def constants(self) -> tuple[str, ...]:
        """The indices."""
        return (self.indices,)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of what is taken."""
        (x,), indices = types, constants[self.indices].values
        size = x.shape[check_axis(self, self.axis, x.shape)]
        if indices.dtype.kind != "i":
            raise self.fail(f"its indices are {indices.dtype}", why="integers are needed")
        if indices.size and not 0 <= indices.min() <= indices.max() < size:
            raise self.fail(f"indices {indices.min()}..{indices.max()} of an axis of {size}")
        return x.with_shape((*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :]))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Take the indices."""
        result: Array = np.take(inputs[0], constants[self.indices].values, axis=self.axis + 1)
        return result
