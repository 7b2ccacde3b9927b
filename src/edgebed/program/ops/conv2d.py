"""Two-dimensional convolution; a one-dimensional one has width 1 and a kernel of (k, 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgebed.program.arithmetic import Activation, Requantize
from edgebed.program.ops._accumulate import (
    Weighted,
    check_bias,
    weighted_type,
)
from edgebed.program.ops._windows import output_size, windows
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class Conv2d(Weighted):
    """acc = bias + sum((x - x_zero) * (w - w_zero)), then requantise and activate.

    A cross-correlation; padding has the real value 0.

    Attributes:
        weight: constant O x C/groups x KH x KW.
        bias: constant of O values in accumulator units, or None.
        stride: rows, columns.
        padding: top, left, bottom, right.
        dilation: rows, columns.
        groups: 1, or a divisor of C and O.
        requantize: rule from accumulator to output; None gives the raw int32 accumulator, or
            float32 for a float network.
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
        if len(x.shape) != 3 or weight.values.ndim != 4:
            raise self.fail(f"weight {weight.values.shape} on an input {x.shape}")
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
        return weighted_type(self, shape, x, constants, self.requantize, self.activation)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Convolve each picture of the batch."""
        (kind,) = types
        x, w = self.centred(inputs[0], kind, constants[self.weight])
        top, left, bottom, right = self.padding
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        if self.groups == x.shape[1] > 1:
            acc = _depthwise(x, w, self)
        else:
            groups = zip(np.split(x, self.groups, 1), np.split(w, self.groups, 0), strict=True)
            parts = [np.stack([_convolve(one, v, self) for one in g]) for g, v in groups]
            acc = np.concatenate(parts, axis=1)
        return self.complete(acc, kind, constants, self.requantize, self.activation)

    def macs(
        self,
        out: TensorType,
        constants: Mapping[str, Constant],
        inputs: Sequence[TensorType] = (),
    ) -> int:
        """Return output positions times weights; padding counts as work."""
        _, rows, columns = out.shape
        return rows * columns * int(constants[self.weight].values.size)


def _convolve(image: Array, weight: Array, op: Conv2d) -> Array:
    kernel = (weight.shape[2], weight.shape[3])
    view = windows(image[None], kernel, op.stride, op.dilation)[0]  # C x OH x OW x KH x KW
    _, rows, columns, *_ = view.shape
    patches = view.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)
    result: Array = weight.reshape(len(weight), -1) @ patches
    return result.reshape(-1, rows, columns)


def _depthwise(x: Array, weight: Array, op: Conv2d) -> Array:
    """Convolve each channel with its own filters, one tap of the kernel after the other."""
    out, _, kh, kw = weight.shape
    if out != x.shape[1]:
        x = np.repeat(x, out // x.shape[1], axis=1)
    view = windows(x, (kh, kw), op.stride, op.dilation)
    acc = np.zeros(view.shape[:4], dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):
            acc += view[..., i, j] * weight[:, 0, i, j][:, None, None]
    return acc
