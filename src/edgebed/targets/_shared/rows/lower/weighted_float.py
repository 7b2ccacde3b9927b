"""Convolutions and dense layers in float32: what quantisation would cost too much accuracy for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.stage import Stage, Window

Floats = npt.NDArray[np.float32]
_AFTER: Final = {"none": 0, "relu": 1, "abs": 2}


@dataclass(frozen=True)
class _Geometry:
    """Widths and channels of both maps, kernel, horizontal stride, left padding, dilation."""

    numbers: tuple[int, ...]
    steps: int
    macs: int


def conv2d(frame: Frame, op: Conv2d) -> None:
    """Lower a float32 convolution; groups that are not depthwise become zeros."""
    weights = frame.program.constants[op.weight].values.astype(np.float32)
    _, in_width, in_channels = frame.pixels(op.inputs[0])
    out_height, out_width, out_channels = frame.pixels(op.output)
    kernel_height, kernel_width = weights.shape[2:]
    top, left, _, _ = op.padding
    macs = op.macs(frame.kind(op.output), frame.program.constants)
    geometry = _Geometry(
        (in_width, in_channels, out_width, out_channels, kernel_height, kernel_width,
         op.stride[1], left, op.dilation[1]),
        out_height, macs,
    )  # fmt: skip
    window = frame.window(op.inputs[0], kernel_height, op.stride[0], top, op.dilation[0])
    if op.groups == in_channels > 1:
        _add(frame, op, "eb_float_depthwise", weights[:, 0].transpose(1, 2, 0), window, geometry)
        return
    full = np.zeros((out_channels, in_channels, kernel_height, kernel_width), np.float32)
    each, inner = out_channels // op.groups, weights.shape[1]
    for g in range(op.groups):
        mine = slice(g * each, (g + 1) * each)
        full[mine, g * inner : (g + 1) * inner] = weights[mine]
    packed = _by_four(full.transpose(0, 2, 3, 1))
    _add(frame, op, "eb_float_conv", packed, window, geometry)


def dense(frame: Frame, op: Dense) -> None:
    """Lower a float32 dense layer; the weights follow the order in which its input lies."""
    weights = frame.program.constants[op.weight].values.astype(np.float32)
    outputs, depth = weights.shape
    count = frame.kind(op.output).size // outputs
    if op.last_axis and len(frame.kind(op.inputs[0]).shape) == 3:
        raise frame.refuse(op, "a dense layer along the width of a map", "a 1x1 convolution")
    if op.last_axis:
        window = frame.whole(op.inputs[0])
    else:
        window, indices = frame.flattened(op.inputs[0])
        weights = weights[:, indices]
    packed = _by_four(weights.reshape(outputs, 1, 1, depth))
    numbers = (count, depth, count, outputs, 1, 1, 1, 0, 1)
    geometry = _Geometry(numbers, 1, count * weights.size)
    _add(frame, op, "eb_float_conv", packed, window, geometry)


def _by_four(weights: Floats) -> Floats:
    """Return O x KH x KW x I as O/4 x KH x KW x I x 4."""
    outputs = len(weights)
    full = np.zeros((-(-outputs // 4) * 4, *weights.shape[1:]), np.float32)
    full[:outputs] = weights
    return np.moveaxis(full.reshape(-1, 4, *weights.shape[1:]), 1, -1)


def _add(
    frame: Frame, op: Weighted, function: str, packed: Floats, window: Window, geometry: _Geometry
) -> None:
    outputs = geometry.numbers[3]
    bias = np.zeros(outputs, np.float32)
    if op.bias is not None:
        bias = frame.program.constants[op.bias].values.astype(np.float32)
    data = np.ascontiguousarray(packed, "<f4").tobytes()
    weights = frame.table(op, "weights", "float", data)
    biases = frame.table(op, "bias", "float", bias.astype("<f4").tobytes())
    after = _AFTER[cast(Any, op).activation]
    text = ", ".join([weights.name, biases.name, *map(str, geometry.numbers), str(after)])
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(window,),
            steps=1 if window.whole else geometry.steps, function=function,
            header="float_conv.h", layer_type="eb_float_conv_t", layer=f"{{{text}}}",
            tables=(weights, biases), macs=geometry.macs,
        )
    )  # fmt: skip
