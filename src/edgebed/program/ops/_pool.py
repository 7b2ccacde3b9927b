"""What the pooling ops share: windows without padding; what is left over is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebed.program.ops._windows import output_size
from edgebed.program.types import Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Pool(Op):
    """Reduces windows of each channel.

    Attributes:
        kernel: rows, columns.
        stride: rows, columns.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the pooled map."""
        (x,) = types
        channels, *size = x.shape
        rows, columns = (
            output_size(n, k, s, 0, 0, 1)
            for n, k, s in zip(size, self.kernel, self.stride, strict=True)
        )
        if min(rows, columns) < 1:
            raise self.fail(f"kernel {self.kernel} on a map of {size[0]} x {size[1]}")
        return TensorType((channels, rows, columns), x.dtype, x.scale)
