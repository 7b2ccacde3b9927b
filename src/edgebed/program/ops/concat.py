"""Concatenation along the channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """Channels of all inputs, in order; they share height, width, type and scale."""

    kind: ClassVar[str] = "concat"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the joined map."""
        first = types[0]
        for other in types[1:]:
            if (other.shape[1:], other.dtype, other.scale) != (
                first.shape[1:],
                first.dtype,
                first.scale,
            ):
                raise self.fail(f"inputs differ: {first} and {other}")
        channels = sum(x.shape[0] for x in types)
        return TensorType((channels, *first.shape[1:]), first.dtype, first.scale)

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Join along the channel axis."""
        return np.concatenate(inputs, axis=1)
