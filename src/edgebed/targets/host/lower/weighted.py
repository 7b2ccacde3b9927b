"""Convolutions and dense layers on the blocked kernels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import INT8_MAX, INT8_MIN, Affine
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame, is_map, pitches
from edgebed.targets.host.kernels import depthwise
from edgebed.targets.host.kernels.conv import ConvShape
from edgebed.targets.host.kernels.requantize import Clamp
from edgebed.targets.host.kernels.rules import Rescale
from edgebed.targets.host.layout import BYTES, View, ordered_strides
from edgebed.targets.host.lower import plain_conv
from edgebed.targets.host.lower.gemm import gemm
from edgebed.targets.host.steps import Call, Operand
from edgebed.targets.host.wishes import padding_margins


def conv2d(frame: Frame, op: Op) -> None:
    """Lower a convolution."""
    layer = cast(Conv2d, op)
    if not is_fast(layer, frame.kind(op.inputs[0]), frame.kind(op.output)):
        plain_conv.conv2d(frame, layer)
        return
    x = frame.map(op.inputs[0], padding_margins(op))
    out = frame.output(op)
    target = out if is_map(out) else frame.scratch(out.stored, out.shape, (1, 2, 0))
    groups = layer.groups
    if groups == x.shape[0] > 1:
        _depthwise(frame, layer, x, target)
    else:
        _blocked(frame, layer, x, target)
    frame.copy(target, out)


def is_fast(op: Weighted, x: TensorType, out: TensorType) -> bool:
    """Return whether the byte kernels compute this layer."""
    activation = cast(Any, op).activation
    rule = cast(Any, op).requantize
    outputs = ("int32",) if rule is None else ("int8", "uint8")
    return x.dtype == "int8" and out.dtype in outputs and activation != "abs"


def rescale_of(frame: Frame, op: Weighted, channels: int) -> Rescale:
    """Return the rule of every output channel."""
    rule, activation = cast(Any, op).requantize, cast(Any, op).activation
    if rule is None:
        return Rescale("none")
    if not isinstance(rule, Affine):
        low = 0 if activation == "relu" else INT8_MIN
        shifts = np.full(channels, rule.right_shift, np.int64)
        return Rescale("shift", Clamp(0, low, INT8_MAX), shifts=shifts)
    off = 128 if rule.dtype == "uint8" else 0
    clamp = Clamp(rule.zero_point - off, rule.low - off, rule.high - off)
    factors = op.factors(frame.program.constants)
    assert factors is not None
    if rule.rounding == "float":
        return Rescale("float", clamp, scales=np.broadcast_to(factors, (channels,)))
    multipliers, shifts = np.broadcast_to(factors, (2, channels))
    name = "fixed_single" if rule.rounding == "fixed_point_single" else "fixed"
    return Rescale(cast(Any, name), clamp, multipliers, shifts)


def _origin(layer: Conv2d, x: View) -> int:
    """Return how far before the map's first value its padding begins."""
    row, pixel = pitches(x)
    top, left, *_ = layer.padding
    return top * row + left * pixel


def _depthwise(frame: Frame, op: Conv2d, x: View, out: View) -> None:
    channels, row_pixel, size = x.shape[0], pitches(x), BYTES[out.stored]
    out_row, out_pixel = pitches(out)
    shape = depthwise.Depthwise(
        out_height=out.shape[1], out_width=out.shape[2], channels=channels,
        in_row=row_pixel[0], in_pixel=row_pixel[1],
        out_row=out_row * size, out_pixel=out_pixel * size,
        kernel=cast(Any, frame.values(op.weight).shape[2:]),
        stride=op.stride, dilation=op.dilation, multiplier=out.shape[0] // channels,
    )  # fmt: skip
    weight = frame.program.constants[op.weight]
    centred = weight.values.astype(np.int64)[:, 0].transpose(1, 2, 0) - weight.zero_point
    packed = depthwise.pack(
        shape, centred, _bias(frame, op, shape.outputs), frame.kind(op.inputs[0]).zero_point,
        rescale_of(frame, op, shape.outputs),
    )  # fmt: skip
    constants = frame.pack("packed", packed.data, "uint8_t")
    to = "out" if size == 1 else "(uint8_t *)(void *)out"
    frame.emit(
        Call(
            packed.call("x", to, "packed", "y0", "y1"),
            (Operand("x", x, _origin(op, x)),),
            (Operand("out", out),),
            (constants,),
            (depthwise.HEADER,),
            rows=shape.out_height,
            macs=shape.macs,
        )
    )


def _bias(frame: Frame, op: Weighted, channels: int) -> npt.NDArray[Any]:
    return np.zeros(channels, np.int64) if op.bias is None else frame.values(op.bias)


def _blocked(frame: Frame, op: Conv2d, x: View, out: View) -> None:
    weight = frame.program.constants[op.weight]
    (row, pixel), (out_row, out_pixel) = pitches(x), pitches(out)
    size = BYTES[out.stored]
    shape = ConvShape(
        in_row_pitch=row, in_pixel_pitch=pixel, in_channels=weight.values.shape[1],
        out_height=out.shape[1], out_width=out.shape[2], out_channels=out.shape[0],
        out_row_pitch=out_row * size, out_pixel_pitch=out_pixel * size,
        kernel=cast(Any, weight.values.shape[2:]), stride=op.stride, dilation=op.dilation,
        groups=op.groups, weight_zero_point=weight.zero_point,
    )  # fmt: skip
    values = np.ascontiguousarray(weight.values.transpose(0, 2, 3, 1))
    rescale = rescale_of(frame, op, shape.out_channels)
    gemm(frame, op, shape, rescale, values, Operand("x", x, _origin(op, x)), out)


def dense(frame: Frame, op: Op) -> None:
    """Lower a dense layer: a convolution of one pixel, or of one pixel a row."""
    layer = cast(Dense, op)
    if not is_fast(layer, frame.kind(op.inputs[0]), frame.kind(op.output)):
        plain_conv.dense(frame, layer)
        return
    weight = frame.program.constants[layer.weight]
    outputs, inner = weight.values.shape
    values = weight.values
    if layer.last_axis:
        x = frame.flat(op.inputs[0])
    else:
        x, values = flattened(frame, op.inputs[0], values)
    out = frame.output(op)
    target = out if out.is_row_major else frame.scratch(out.stored, out.shape)
    rows, size = out.size // outputs, BYTES[out.stored]
    shape = ConvShape(
        in_row_pitch=inner * rows, in_pixel_pitch=inner, in_channels=inner,
        out_height=1, out_width=rows, out_channels=outputs,
        out_row_pitch=outputs * rows * size, out_pixel_pitch=outputs * size,
        weight_zero_point=weight.zero_point,
    )  # fmt: skip
    rescale = rescale_of(frame, layer, outputs)
    gemm(frame, layer, shape, rescale, values[:, None, None, :], Operand("x", x), target)
    frame.copy(target, out)


def flattened(
    frame: Frame, tensor: str, weights: npt.NDArray[Any]
) -> tuple[View, npt.NDArray[Any]]:
    """Return a gapless view and the weights (O x K) in the order in which its values lie.

    A map lies channels last while its flattened order is channels first: instead of moving the
    values, the weights change places.
    """
    while tensor in frame.lazy:
        tensor = frame.lazy[tensor]
    view = frame.view(tensor)
    if not view.is_block:
        return frame.flat(tensor), weights
    order = view.order
    moved = weights.reshape(len(weights), *view.shape).transpose(0, *(a + 1 for a in order))
    flat = View(view.store, view.stored, (view.size,), (1,), view.offset, ((0, 0),))
    assert ordered_strides(view.shape, order)
    return flat, np.ascontiguousarray(moved.reshape(len(weights), -1))
