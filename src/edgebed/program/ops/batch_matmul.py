"""Matrix product of two activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import (
    Affine,
    multiply_by_quantized,
    multiply_wide,
    quantize_multiplier,
)
from edgebed.program.ops._axes import aligned, broadcast_shape
from edgebed.program.ops._float import ruled_type
from edgebed.program.types import Array, Constant, Op, TensorType


@dataclass(frozen=True, kw_only=True)
class BatchMatmul(Op):
    """The product of the last two axes, M x K times K x N; axes before them broadcast.

    float32: sums in float32, within 1e-6 of the sum of the magnitudes. Fixed point: the exact sum
    of (a - za) * (b - zb) times sa * sb / scale (in double precision); int16 operands have 64-bit
    sums and a 16-bit multiplier. The `float` rule multiplies the exact sum, as float32, by
    sa * sb / scale.

    Attributes:
        transpose_a: the first operand is K x M.
        transpose_b: the second operand is N x K.
        requantize: rule to the output's integers.
    """

    kind: ClassVar[str] = "batch_matmul"
    transpose_a: bool = False
    transpose_b: bool = False
    requantize: Affine | None = None

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the product."""
        a, b = types
        if min(len(a.shape), len(b.shape)) < 2:
            raise self.fail(f"shapes {a.shape} and {b.shape}", why="two axes or more are needed")
        if a.dtype != b.dtype:
            raise self.fail(f"operands are {a.dtype} and {b.dtype}", why="one type is needed")
        rows, inner = a.shape[-2:][:: -1 if self.transpose_a else 1]
        other, columns = b.shape[-2:][:: -1 if self.transpose_b else 1]
        if inner != other:
            raise self.fail(f"{rows} x {inner} times {other} x {columns}")
        outer = broadcast_shape(self, [a.shape[:-2], b.shape[:-2]])
        return ruled_type(self, a, (*outer, rows, columns), self.requantize)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Multiply."""
        operands, rule = aligned(inputs), self.requantize
        if rule is None:
            return self.product(*operands)
        pairs = zip(operands, types, strict=True)
        a, b = (x.astype(np.float64) - kind.zero_point for x, kind in pairs)
        return _requantized(self.product(a, b).astype(np.int64), types, rule)

    def product(self, a: Array, b: Array) -> Array:
        """Return the matrix product in the operands' type."""
        left = np.swapaxes(a, -1, -2) if self.transpose_a else a
        right = np.swapaxes(b, -1, -2) if self.transpose_b else b
        return np.asarray(np.matmul(left, right))

    def macs(
        self,
        out: TensorType,
        constants: Mapping[str, Constant],
        inputs: Sequence[TensorType] = (),
    ) -> int:
        """Return the output's values times the inner size; 0 without the types of the inputs."""
        if not inputs:
            return 0
        return out.size * inputs[0].shape[-2 if self.transpose_a else -1]


def _requantized(sums: Array, types: Sequence[TensorType], rule: Affine) -> Array:
    first, second, out = (np.float32(s) for s in (types[0].scale, types[1].scale, rule.scale))
    if rule.rounding == "float":
        return rule.apply(sums, np.array([first * second / out]))
    factor = quantize_multiplier(float(first) * float(second) / float(out))
    multiplier, shift = (np.array(n) for n in factor)
    if types[0].dtype == "int16":
        return rule.clamp(multiply_wide(sums, multiplier, shift))
    single = rule.rounding == "fixed_point_single"
    return rule.clamp(multiply_by_quantized(sums, multiplier, shift, single=single))
