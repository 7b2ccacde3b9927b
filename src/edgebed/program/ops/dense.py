"""Fully connected layer on the flattened input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgebed.program.arithmetic import Activation, Requantize
from edgebed.program.ops._accumulate import (
    Weighted,
    accumulator_type,
    check_bias,
    finish,
    weighted_type,
)
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Dense(Weighted):
    """acc = bias + W x with x flattened in C, H, W order; the output is O x 1 x 1.

    Attributes:
        weight: constant O x (C*H*W).
        bias: constant of O values in accumulator units, or None.
        requantize: rule from accumulator to int8; None gives the raw int32 accumulator.
        activation: applied after saturation.
    """

    kind: ClassVar[str] = "dense"
    requantize: Requantize | None = None
    activation: Activation = "none"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the output vector, O x 1 x 1."""
        (x,), weight = types, constants[self.weight]
        out, inner = weight.values.shape
        channels, height, width = x.shape
        if inner != channels * height * width:
            raise self.fail(
                f"weight {weight.values.shape} on {x.shape} = {channels * height * width} values"
            )
        check_bias(self, constants, self.bias, out)
        return weighted_type(self, (out, 1, 1), x, weight, self.requantize, self.activation)

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Multiply the flattened batch with the weights."""
        weight = constants[self.weight].values
        bias = self.bias_values(constants)
        dtype = accumulator_type(weight, bias)
        acc = inputs[0].reshape(len(inputs[0]), -1).astype(dtype) @ weight.astype(dtype).T
        if bias is not None:
            acc += bias.astype(dtype)
        return finish(self, acc[:, :, None, None], self.requantize, self.activation)

    def macs(self, out: TensorType, constants: Mapping[str, Constant]) -> int:
        """Return the number of weights."""
        return int(constants[self.weight].values.size)
