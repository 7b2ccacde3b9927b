"""Shares that sum to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._axes import check_axis
from edgebed.program.ops._float import Floats, ruled_type, through_floats
from edgebed.program.ops._softmax import fixed_point_softmax
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """exp(beta * x) over its sum along an axis.

    float32: e = exp((x - max) * beta), e / sum(e), summed in order in float32; within 1e-6 of the
    exact value. The fixed-point rules are TensorFlow Lite's int8 kernel, bit for bit: int8 to
    int8 (scale 1/256, zero point -128) or int16 (scale 1/65536, zero point -32768).

    Attributes:
        axis: along which.
        beta: factor of the input.
        requantize: rule to the output's integers.
        log: return the logarithm of the shares; not with fixed point.
    """

    kind: ClassVar[str] = "softmax"
    axis: int
    beta: float = 1.0
    requantize: Affine | None = None
    log: bool = False

    @property
    def exact(self) -> bool:
        """True where a fixed-point rule holds."""
        return self.requantize is not None and self.requantize.rounding != "float"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the shares' type."""
        (x,) = types
        check_axis(self, self.axis, x.shape)
        rule = self.requantize
        if rule is not None and self.exact:
            known = {"int8": (2.0**-8, -128), "int16": (2.0**-16, -32768)}
            if self.log or x.dtype != "int8" or known.get(rule.dtype) != (
                rule.scale, rule.zero_point
            ):  # fmt: skip
                raise self.fail(
                    f"{x.dtype} to {rule.dtype} scale {rule.scale} zero {rule.zero_point}",
                    why="fixed point takes int8 to int8 (1/256, -128) or int16 (1/65536, -32768)",
                    try_='rounding "float"',
                )
        return ruled_type(self, x, x.shape, rule)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Compute the shares."""
        if self.requantize is not None and self.exact:
            rows = np.moveaxis(inputs[0], self.axis + 1, -1)
            shares = fixed_point_softmax(rows, types[0].scale, self.beta, self.requantize.dtype)
            return self.requantize_clamp(np.moveaxis(shares, -1, self.axis + 1))
        return through_floats(self.requantize, self.shares, inputs, types)

    def requantize_clamp(self, shares: Array) -> Array:
        """Narrow exact shares to the rule's limits."""
        assert self.requantize is not None
        return np.clip(shares, self.requantize.low, self.requantize.high)

    def shares(self, x: Floats) -> Floats:
        """Return the shares of real numbers, in float32."""
        axis = self.axis + 1
        centred = (x - x.max(axis=axis, keepdims=True)) * np.float32(self.beta)
        grown = np.exp(centred)
        total = grown.sum(axis=axis, keepdims=True, dtype=np.float32)
        result: Floats = centred - np.log(total) if self.log else grown / total
        return result
