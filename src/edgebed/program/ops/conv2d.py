"""Two-dimensional convolution; a one-dimensional one has width 1 and a kernel of (k, 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Activation, Requantize
from edgebed.program.ops._accumulate import (
    Weighted,
    accumulator_type,
    check_bias,
    finish,
    weighted_type,
)
from edgebed.program.ops._windows import output_size, windows
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Conv2d(Weighted):
    """acc = bias + sum(x * w) (cross-correlation, zero padding), then requantise and activate.

    Attributes:
        weight: constant O x C/groups x KH x KW.
        bias: constant of O values in accumulator units, or None.
        stride: rows, columns.
        padding: top, left, bottom, right.
        dilation: rows, columns.
        groups: 1, or a divisor of C and O.
        requantize: rule from accumulator to int8; None gives the raw int32 accumulator.
        activation: applied after saturation.
    """

    kind: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    requantize: Requantize | None = None
    activation: Activation = "none"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the output map."""
        (x,), weight = types, constants[self.weight]
        out, inner, kh, kw = weight.values.shape
        channels, height, width = x.shape
        if channels != inner * self.groups or out % self.groups:
            raise self.fail(
                f"weight {weight.values.shape} with {self.groups} groups on {channels} channels"
            )
        check_bias(self, constants, self.bias, out)
        top, left, bottom, right = self.padding
        shape = (
            out,
            output_size(height, kh, self.stride[0], top, bottom, self.dilation[0]),
            output_size(width, kw, self.stride[1], left, right, self.dilation[1]),
        )
        return weighted_type(self, shape, x, weight, self.requantize, self.activation)

    def run(self, inputs: Sequence[Array], constants: Mapping[str, Constant]) -> Array:
        """Convolve each picture of the batch."""
        weight = constants[self.weight].values
        out, _, *kernel = weight.shape
        bias = self.bias_values(constants)
        dtype = accumulator_type(weight.reshape(out, -1), bias)
        top, left, bottom, right = self.padding
        x = np.pad(inputs[0].astype(dtype), ((0, 0), (0, 0), (top, bottom), (left, right)))
        parts = [
            np.stack([_convolve(image, w, self, tuple(kernel)) for image in group])
            for group, w in zip(
                np.split(x, self.groups, axis=1),
                np.split(weight.astype(dtype), self.groups, axis=0),
                strict=True,
            )
        ]
        acc = np.concatenate(parts, axis=1)
        if bias is not None:
            acc += bias.astype(dtype)[:, None, None]
        return finish(self, acc, self.requantize, self.activation)

    def macs(self, out: TensorType, constants: Mapping[str, Constant]) -> int:
        """Return output positions times weights; padding counts as work."""
        _, rows, columns = out.shape
        return rows * columns * int(constants[self.weight].values.size)


def _convolve(image: Array, weight: Array, op: Conv2d, kernel: tuple[int, int]) -> Array:
    view = windows(image[None], kernel, op.stride, op.dilation)[0]  # C x OH x OW x KH x KW
    _, rows, columns, *_ = view.shape
    patches = view.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)
    result: Array = weight.reshape(len(weight), -1) @ patches
    return result.reshape(-1, rows, columns)
