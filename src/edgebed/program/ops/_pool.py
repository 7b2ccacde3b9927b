"""What the pooling ops share: windows; what is left over at the end is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.program.ops._windows import output_size
from edgebed.program.types import Array, Constant, Op, TensorType

MOST_PADDING = 4096
"""So wide the border of a small map may be; a damaged file could ask for hours of zeros."""


@dataclass(frozen=True, kw_only=True)
class Pool(Op):
    """Reduces windows of each channel.

    Attributes:
        kernel: rows, columns.
        stride: rows, columns.
        padding: top, left, bottom, right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the pooled map."""
        (x,) = types
        if len(x.shape) != 3:
            raise self.fail(f"its input has shape {x.shape}", why="C x H x W is needed")
        channels, *size = x.shape
        before, after = self.padding[:2], self.padding[2:]
        rows, columns = (
            output_size(n, k, s, b, a, 1)
            for n, k, s, b, a in zip(size, self.kernel, self.stride, before, after, strict=True)
        )
        if min(rows, columns) < 1:
            raise self.fail(f"kernel {self.kernel} on a map of {size[0]} x {size[1]}")
        if any(p >= k for p, k in zip(self.padding, self.kernel * 2, strict=True)):
            raise self.fail(f"padding {self.padding} with a kernel {self.kernel}")
        if any(p > max(n, MOST_PADDING) for p, n in zip(self.padding, size * 2, strict=True)):
            raise self.fail(f"padding {self.padding} around a map of {size[0]} x {size[1]}")
        return x.with_shape((channels, rows, columns))

    def padded(self, x: Array, value: float) -> Array:
        """Return x with its padding."""
        top, left, bottom, right = self.padding
        if not any(self.padding):
            return x
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)
