"""Folding pixels into channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class SpaceToDepth(Op):
    """Output channel (dy * block + dx) * C + c holds input channel c at rows block*r + dy and
    columns block*q + dx: the order of ONNX SpaceToDepth.
    """  # noqa: D205 - the formula is the summary

    kind: ClassVar[str] = "space_to_depth"
    block: int

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the folded map."""
        (x,) = types
        channels, height, width = x.shape
        if height % self.block or width % self.block:
            raise self.fail(f"block {self.block} on a map of {height} x {width}")
        shape = (channels * self.block**2, height // self.block, width // self.block)
        return x.with_shape(shape)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Fold every block x block square into the channel axis."""
        x, b = inputs[0], self.block
        batch, channels, height, width = x.shape
        split = x.reshape(batch, channels, height // b, b, width // b, b)
        return split.transpose(0, 3, 5, 1, 2, 4).reshape(
            batch, channels * b * b, height // b, width // b
        )
