"""Fully connected layer on the flattened input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.arithmetic import Activation, Requantize
from edgebed.program.ops._accumulate import (
    Weighted,
    check_bias,
    weighted_type,
)
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Dense(Weighted):
    """acc = bias + (W - w_zero) (x - x_zero), with x flattened in row-major order or row by row.

    Attributes:
        weight: constant O x K.
        bias: constant of O values in accumulator units, or None.
        last_axis: the last axis, of K values, becomes O values; otherwise all K values of the
            input become O x 1 x 1.
        requantize: rule from accumulator to output; None gives the raw int32 accumulator, or
            float32 for a float network.
        activation: applied after saturation.
    """

    kind: ClassVar[str] = "dense"
    last_axis: bool = False
    requantize: Requantize | None = None
    activation: Activation = "none"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the output, O x 1 x 1 or ... x O."""
        (x,), weight = types, constants[self.weight]
        if weight.values.ndim != 2:
            raise self.fail(f"its weight has shape {weight.values.shape}", why="O x K is needed")
        out, inner = weight.values.shape
        if self.last_axis and not x.shape:
            raise self.fail("a single number has no last axis", try_="last_axis=False")
        given = x.shape[-1] if self.last_axis else x.size
        if inner != given:
            raise self.fail(f"weight {weight.values.shape} on {x.shape} = {given} values")
        check_bias(self, constants, self.bias, out)
        shape = (*x.shape[:-1], out) if self.last_axis else (out, 1, 1)
        return weighted_type(self, shape, x, constants, self.requantize, self.activation)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Multiply the batch with the weights."""
        (kind,) = types
        x, w = self.centred(inputs[0], kind, constants[self.weight])
        rows = x if self.last_axis else x.reshape(len(x), -1)
        acc = rows @ w.T
        done = self.complete(acc, kind, constants, self.requantize, self.activation, axis=-1)
        return done if self.last_axis else done[:, :, None, None]

    def macs(
        self,
        out: TensorType,
        constants: Mapping[str, Constant],
        inputs: Sequence[TensorType] = (),
    ) -> int:
        """Return the number of weights times the rows."""
        size = int(constants[self.weight].values.size)
        return size * out.size // out.shape[-1] if self.last_axis else size
