"""Concatenation along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """The inputs one after the other along an axis; all else of their types is equal.

    Attributes:
        axis: 0 joins channels.
    """

    kind: ClassVar[str] = "concat"
    axis: int = 0

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the joined tensor."""
        first, axis = types[0], self.axis
        if not 0 <= axis < len(first.shape):
            raise self.fail(f"axis {axis} of {first.shape}")
        total = 0
        for other in types:
            if len(other.shape) != len(first.shape):
                raise self.fail(f"inputs differ: {first} and {other}")
            total += other.shape[axis]
            same = (*first.shape[:axis], other.shape[axis], *first.shape[axis + 1 :])
            if other != first.with_shape(same):
                raise self.fail(f"inputs differ: {first} and {other}")
        return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Join along the axis."""
        return np.concatenate(inputs, axis=self.axis + 1)
