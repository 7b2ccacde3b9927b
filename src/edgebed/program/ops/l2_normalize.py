"""Vectors brought to length one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._axes import check_axis
from edgebed.program.ops._float import Floats, ruled_type, through_floats
from edgebed.program.ops._l2_normalize import fixed_point_l2
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class L2Normalize(Op):
    """x over its Euclidean length along an axis.

    float32: x / max(sqrt(sum(x**2)), epsilon), within 1e-6. Fixed point: TensorFlow Lite Micro's
    int8 kernel, bit for bit; its output has scale 1/128 and zero point 0.

    Attributes:
        axis: along which.
        epsilon: least length.
        requantize: rule to the output's integers.
    """

    kind: ClassVar[str] = "l2_normalize"
    axis: int
    epsilon: float = 1e-6
    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the output's type."""
        (x,), rule = types, self.requantize
        check_axis(self, self.axis, x.shape)
        if rule is not None and rule.rounding != "float":
            meaning = (x.dtype, rule.dtype, rule.scale, rule.zero_point)
            if meaning != ("int8", "int8", 1 / 128, 0):
                raise self.fail(
                    f"{x.dtype} to {rule.dtype} scale {rule.scale} zero {rule.zero_point}",
                    why="fixed point takes int8 to int8 with scale 1/128, zero point 0",
                )
        return ruled_type(self, x, x.shape, rule)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Normalise."""
        rule = self.requantize
        if rule is None or rule.rounding == "float":
            return through_floats(rule, self.normalised, inputs, types)
        rows = np.moveaxis(inputs[0], self.axis + 1, -1).astype(np.int64) - types[0].zero_point
        return rule.clamp(np.moveaxis(fixed_point_l2(rows), -1, self.axis + 1))

    def normalised(self, x: Floats) -> Floats:
        """Return real vectors over their length."""
        squares = np.square(x).sum(axis=self.axis + 1, keepdims=True, dtype=np.float32)
        result: Floats = x / np.maximum(np.sqrt(squares), np.float32(self.epsilon))
        return result
