"""Transposed convolutions: every output gathers the inputs that reach it."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.types import Op
from edgebed.targets._shared.rows import requantize
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.stage import Stage

_BYTES = ("int8", "uint8")


def conv_transpose2d(frame: Frame, op: Op) -> None:
    """Lower a transposed convolution of bytes."""
    layer = cast(ConvTranspose2d, op)
    kind, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if kind.dtype not in _BYTES or out.dtype not in _BYTES:
        raise frame.refuse(
            op, f"has no kernel from {kind.dtype} to {out.dtype}", "quantise it to int8"
        )
    weight = frame.program.constants[layer.weight]
    centred = (weight.values.astype(np.int64) - weight.zero_point).transpose(2, 3, 1, 0)
    wide = bool(centred.min() < -128 or centred.max() > 127)
    c_type, dtype = ("int16_t", "<i2") if wide else ("int8_t", "i1")
    lines = _lines(frame, layer, np.abs(centred).sum(axis=(0, 1, 3)))
    weights = frame.table(op, "weights", c_type, centred.astype(dtype).tobytes())
    held = frame.table(op, "lines", "eb_line", requantize.to_table(lines))
    height, width, channels = frame.pixels(op.inputs[0])
    rows, out_width, out_channels = frame.pixels(op.output)
    numbers = ", ".join(map(str, (height, width, channels, out_width, out_channels)))
    pairs = ", ".join(
        f"{{{a}, {b}}}" for a, b in (centred.shape[:2], layer.stride, layer.padding)
    )  # fmt: skip
    last = f"{frame.zero(op.inputs[0])}, {int(wide)}, {requantize.output_text(lines)}"
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(frame.whole(op.inputs[0]),),
            steps=rows, function="eb_transposed", header="transposed.h",
            layer_type="eb_transposed_t",
            layer=f"{{{weights.name}, {held.name}, {numbers}, {pairs}, {last}}}",
            tables=(weights, held), scratch_bytes=4 * out_channels,
            macs=layer.macs(out, frame.program.constants),
        )
    )  # fmt: skip


def _lines(
    frame: Frame, layer: ConvTranspose2d, sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> requantize.Lines:
    """Return the rule of every output; sums of fewer taps lie within those of all."""
    constants = frame.program.constants
    bias = np.zeros(len(sizes), np.int64)
    if layer.bias is not None:
        bias = constants[layer.bias].values.astype(np.int64)
    zero = frame.zero(layer.inputs[0])
    reach = sizes * max(127 - zero, 128 + zero)
    return requantize.lines(
        layer.requantize, layer.factors(constants), bias, bias - reach, bias + reach,
        activation=layer.activation,
    )  # fmt: skip
