"""Convolutions and dense layers: weights centred, zero points folded, rules turned into lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Op
from edgebed.targets._shared.rows import requantize
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.kernels.sets import Packed, WindowShape
from edgebed.targets._shared.rows.lower import weighted_float, weighted_raw
from edgebed.targets._shared.rows.requantize import Lines
from edgebed.targets._shared.rows.stage import Stage, Window

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Layer:
    """A weighted layer: its geometry, weights (first axis: outputs), lines, macs."""

    op: Weighted
    shape: WindowShape
    weights: Ints
    lines: Lines
    macs: int


def conv2d(frame: Frame, op: Op) -> None:
    """Lower a convolution; groups that are not depthwise become zeros in a full kernel."""
    layer = cast(Conv2d, op)
    if frame.kind(op.inputs[0]).is_float:
        weighted_float.conv2d(frame, layer)
        return
    _check(frame, layer)
    weights = _centred(frame, layer)
    if layer.requantize is None:
        depthwise = layer.groups == frame.pixels(layer.inputs[0])[2] > 1
        full = weights if depthwise else _ungrouped(weights, layer.groups)
        weighted_raw.conv2d(frame, layer, full)
        return
    source, target = frame.pixels(layer.inputs[0]), frame.pixels(layer.output)
    top, left, _, _ = layer.padding
    kernel = cast(tuple[int, int], weights.shape[2:])
    depthwise = layer.groups == source[2] > 1
    pointwise = kernel == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0, 0, 0)
    shape = WindowShape(
        *source, *target, kernel, layer.stride, (top, left), layer.dilation,
        in_place=pointwise and not depthwise and target[2] <= source[2],
    )  # fmt: skip
    lines = _lines(frame, layer, weights.reshape(len(weights), -1))
    macs = layer.macs(frame.kind(layer.output), frame.program.constants)
    if depthwise:
        flat = weights[:, 0]
        packed = frame.kernels.depthwise(shape, flat, frame.goal, linear=lines.linear)
    else:
        full = _ungrouped(weights, layer.groups)
        flat = np.ascontiguousarray(full.transpose(0, 2, 3, 1))
        packed = frame.kernels.conv(shape, flat, frame.goal, linear=lines.linear)
    window = frame.window(layer.inputs[0], kernel[0], layer.stride[0], top, layer.dilation[0])
    _add(frame, _Layer(layer, shape, flat, lines, macs), packed, window)


def dense(frame: Frame, op: Op) -> None:
    """Lower a dense layer; the weights follow the order in which its input lies."""
    layer = cast(Dense, op)
    if frame.kind(op.inputs[0]).is_float:
        weighted_float.dense(frame, layer)
        return
    _check(frame, layer)
    weights = _centred(frame, layer)
    outputs, depth = weights.shape
    count = frame.kind(layer.output).size // outputs
    if layer.last_axis and len(frame.kind(layer.inputs[0]).shape) == 3:
        raise frame.refuse(op, "a dense layer along the width of a map", "a 1x1 convolution")
    if layer.last_axis:
        window = frame.whole(layer.inputs[0])
    else:
        window, indices = frame.flattened(layer.inputs[0])
        weights = np.ascontiguousarray(weights[:, indices])
    if layer.requantize is None:
        weighted_raw.dense(frame, layer, weights, window, count)
        return
    lines = _lines(frame, layer, weights)
    shape = WindowShape(1, count, depth, 1, count, outputs)
    packed = frame.kernels.dense(depth, count, weights, frame.goal, linear=lines.linear)
    macs = count * weights.size
    _add(frame, _Layer(layer, shape, weights, lines, macs), packed, window)


def _check(frame: Frame, op: Weighted) -> None:
    x, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    made = ("int8", "uint8") if cast(Any, op).requantize is not None else ("int32",)
    if x.dtype not in ("int8", "uint8") or out.dtype not in made:
        raise frame.refuse(
            op, f"has no kernel from {x.dtype} to {out.dtype}", "quantise it to int8"
        )
    if cast(Any, op).activation == "abs":
        raise frame.refuse(op, "has no kernel for the activation 'abs'", "a layer abs behind it")


def _centred(frame: Frame, op: Weighted) -> Ints:
    weight = frame.program.constants[op.weight]
    return weight.values.astype(np.int64) - weight.zero_point


def _ungrouped(weights: Ints, groups: int) -> Ints:
    """Return weights of all input channels, zero where a group does not see them."""
    if groups == 1:
        return weights
    outputs, inner = weights.shape[:2]
    full = np.zeros((outputs, inner * groups, *weights.shape[2:]), np.int64)
    each = outputs // groups
    for g in range(groups):
        mine = slice(g * each, (g + 1) * each)
        full[mine, g * inner : (g + 1) * inner] = weights[mine]
    return full


def _lines(frame: Frame, op: Weighted, weights: Ints) -> Lines:
    """Return the rule of every output channel."""
    zero = frame.zero(op.inputs[0])
    bias = np.zeros(len(weights), np.int64)
    if op.bias is not None:
        bias = frame.program.constants[op.bias].values.astype(np.int64)
    low, high = -128 - zero, 127 - zero
    positive, negative = np.maximum(weights, 0).sum(1), np.minimum(weights, 0).sum(1)
    return requantize.lines(
        cast(Any, op).requantize,
        cast(Any, op.factors(frame.program.constants)),
        bias - zero * weights.sum(1),
        bias + low * positive + high * negative,
        bias + high * positive + low * negative,
        activation=cast(Any, op).activation,
    )


def _add(frame: Frame, layer: _Layer, packed: Packed, window: Window) -> None:
    op, shape = layer.op, layer.shape
    name = op.name
    weights = frame.table(op, "weights", packed.c_type, packed.weights)
    lines = frame.table(op, "lines", "eb_line", requantize.to_table(layer.lines))
    (kernel_height, kernel_width), stride = shape.kernel, shape.stride[1]
    numbers = (
        shape.in_width, shape.in_channels, shape.out_width, shape.out_channels, packed.depth,
        kernel_height, kernel_width, stride, shape.padding[1], shape.dilation[1],
        frame.zero(op.inputs[0]),
    )  # fmt: skip
    text = ", ".join([weights.name, lines.name, *map(str, numbers)])
    output = requantize.output_text(layer.lines)
    frame.add(
        Stage(
            name=name, kind=op.kind, output=op.output, inputs=(window,),
            steps=1 if window.whole else shape.out_height,
            function=packed.function, header=packed.header, layer_type="eb_conv",
            layer=f"{{{text}, {output}}}",
            tables=(weights, lines), scratch_bytes=packed.scratch_bytes,
            in_place=(0,) if shape.in_place and not window.whole else (), macs=layer.macs,
        )
    )  # fmt: skip
