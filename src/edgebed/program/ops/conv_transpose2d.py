"""Transposed convolution: every input value spreads its kernel over the output."""

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
from edgebed.program.types import Array, Constant, TensorType


@dataclass(frozen=True, kw_only=True)
class ConvTranspose2d(Weighted):
    """acc[o, r*s + i - p, c*s + j - p] += x[c', r, c] * w[c', o, i, j], as PyTorch and ONNX do.

    Attributes:
        weight: constant C x O x KH x KW (input channels first).
        bias: constant of O values in accumulator units, or None.
        stride: rows, columns.
        padding: rows, columns cut from each side of the full result.
        output_padding: rows, columns added at the end.
        requantize: rule from accumulator to output; None gives the raw int32 accumulator, or
            float32 for a float network.
        activation: applied after saturation.
    """

    kind: ClassVar[str] = "conv_transpose2d"
    stride: tuple[int, int] = (2, 2)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    requantize: Requantize | None = None
    activation: Activation = "none"

    def infer(self, types: Sequence[TensorType], constants: Mapping[str, Constant]) -> TensorType:
        """Return the type of the output map."""
        (x,), weight = types, constants[self.weight]
        if len(x.shape) != 3 or weight.values.ndim != 4:
            raise self.fail(f"weight {weight.values.shape} on an input {x.shape}")
        inner, out, *kernel = weight.values.shape
        if x.shape[0] != inner:
            raise self.fail(f"weight {weight.values.shape} on {x.shape[0]} channels")
        check_bias(self, constants, self.bias, out)
        rows, columns = (
            (size - 1) * s - 2 * p + k + extra
            for size, s, p, k, extra in zip(
                x.shape[1:], self.stride, self.padding, kernel, self.output_padding, strict=True
            )
        )
        shape = (out, rows, columns)
        return weighted_type(self, shape, x, constants, self.requantize, self.activation)

    def run(
        self,
        inputs: Sequence[Array],
        constants: Mapping[str, Constant],
        types: Sequence[TensorType],
    ) -> Array:
        """Spread the kernels, cut the padding, requantise."""
        (kind,) = types
        x, w = self.centred(inputs[0], kind, constants[self.weight], outputs=1)
        acc = _spread(x, w, self)
        return self.complete(acc, kind, constants, self.requantize, self.activation)

    def macs(
        self,
        out: TensorType,
        constants: Mapping[str, Constant],
        inputs: Sequence[TensorType] = (),
    ) -> int:
        """Return output positions times weights, counting the inserted zeros as a device does."""
        _, rows, columns = out.shape
        return rows * columns * int(constants[self.weight].values.size)


def _spread(x: Array, weight: Array, op: ConvTranspose2d) -> Array:
    batch, _, height, width = x.shape
    _, out, kh, kw = weight.shape
    (sh, sw), (ph, pw), (eh, ew) = op.stride, op.padding, op.output_padding
    full = np.zeros(
        (batch, out, (height - 1) * sh + kh + eh, (width - 1) * sw + kw + ew), dtype=x.dtype
    )
    for i in range(kh):
        for j in range(kw):
            part = np.einsum("nchw,co->nohw", x, weight[:, :, i, j], optimize=True)
            full[:, :, i : i + height * sh : sh, j : j + width * sw : sw] += part
    return full[:, :, ph : full.shape[2] - ph, pw : full.shape[3] - pw]
