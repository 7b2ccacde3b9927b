"""Unfolding channels into pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Op):
    """Each pixel's channels become a square of block x block pixels.

    Attributes:
        block: side of the square.
        order: `dcr`: channel (dy * block + dx) * C + c goes to row dy, column dx, channel c (the
            inverse of `space_to_depth`; TensorFlow Lite and ONNX's default); `crd`: channel
            (c * block + dy) * block + dx does (pixel shuffle).
    """

    kind: ClassVar[str] = "depth_to_space"
    block: int
    order: Literal["dcr", "crd"] = "dcr"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the unfolded map."""
        (x,) = types
        if len(x.shape) != 3 or self.block < 1 or x.shape[0] % self.block**2:
            raise self.fail(
                f"block {self.block} on shape {x.shape}",
                why="the first of three axes must be divisible by the block's square",
            )
        channels, height, width = x.shape
        b = self.block
        return x.with_shape((channels // b**2, height * b, width * b))

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Unfold the channel axis."""
        x, b = inputs[0], self.block
        batch, channels, height, width = x.shape
        c = channels // b**2
        if self.order == "dcr":
            split = x.reshape(batch, b, b, c, height, width).transpose(0, 3, 4, 1, 5, 2)
        else:
            split = x.reshape(batch, c, b, b, height, width).transpose(0, 1, 4, 2, 5, 3)
        return split.reshape(batch, c, height * b, width * b)
