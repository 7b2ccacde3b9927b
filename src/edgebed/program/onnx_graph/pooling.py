"""MaxPool, AveragePool and their global forms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from edgebed.program.onnx_graph.convolution import Window, picture, window_of
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import Tail, as_one_integer_op, end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.strided_slice import StridedSlice

LEAST_REAL: Final = -3.4028234663852886e38
"""The least float32."""


def max_pool(net: Draft, node: Node) -> None:
    """MaxPool, on the integers where a value is quantised."""
    if len([name for name in node.outputs if name]) > 1:
        raise node.fail(
            "its second output (where the maxima are) is used", try_="a network without MaxUnpool"
        )
    value = net.value(node, 0)
    tensor, window = _pooled(net, node, value, net.carrier(value))
    if window.dilation != (1, 1):
        tensor = _dilated_maximum(net, node, tensor, window)
    else:
        tensor = net.emit(
            node,
            MaxPool,
            [tensor],
            kernel=window.kernel,
            stride=window.stride,
            padding=window.padding,
        )
    net.define(node, tensor, _shape(net, tensor, len(value.shape)), value.dtype)


def average_pool(net: Draft, node: Node) -> None:
    """AveragePool; quantised between DequantizeLinear and QuantizeLinear."""
    value = net.value(node, 0)
    tail = tail_of(net, node, [value]) if value.tensor is not None else None
    start = net.carrier(value) if tail is not None else net.real(value)
    tensor, window = _pooled(net, node, value, start)
    if window.dilation != (1, 1):
        raise node.fail(f"dilations {window.dilation}", try_="a depthwise convolution")
    counted = bool(node.integer("count_include_pad", 0))
    rule = (as_one_integer_op(tail, [value]) or tail.rule) if tail is not None else None
    one_op = rule is not None and rule.zero_first  # which counts what rounding up adds too
    if counted and node.integer("ceil_mode", 0) and any(window.padding) and not one_op:
        tensor, window = _padded(net, node, tensor, window)
        counted = False
    tensor = net.emit(
        node,
        AvgPool,
        [tensor],
        kernel=window.kernel,
        stride=window.stride,
        padding=window.padding,
        rounding="half_away",
        include_padding=counted,
        requantize=rule,
    )
    _finish(net, node, tensor, _shape(net, tensor, len(value.shape)), tail)


def _finish(net: Draft, node: Node, tensor: str, shape: tuple[int, ...], tail: Tail | None) -> None:
    if tail is not None:
        end(net, node, tensor, shape, tail)
    else:
        net.define(node, tensor, shape)


def _pooled(net: Draft, node: Node, value: Value, tensor: str) -> tuple[str, Window]:
    """Return the input as C x H x W and the window, lengthened where sizes are rounded up."""
    axes = len(value.shape) - 2
    tensor, size = picture(net, node, value, tensor)
    window = window_of(node, node.integers("kernel_shape"), size, axes)
    if not node.integer("ceil_mode", 0) or node.word("auto_pad", "NOTSET").startswith("SAME"):
        return tensor, window
    after = (_ceiled(window, size, 0), _ceiled(window, size, 1))
    return tensor, replace(window, after=after)


def _ceiled(window: Window, size: tuple[int, int], axis: int) -> int:
    """Return the padding behind an axis that lets a last, cut window count.

    A window that would begin behind the input and its first padding does not count.
    """
    span = (window.kernel[axis] - 1) * window.dilation[axis] + 1
    stride, before = window.stride[axis], window.before[axis]
    length = size[axis] + before + window.after[axis]
    count = math.ceil((length - span) / stride) + 1
    if (count - 1) * stride >= size[axis] + before:
        count -= 1
    return max(window.after[axis], (count - 1) * stride + span - size[axis] - before)


def _padded(net: Draft, node: Node, tensor: str, window: Window) -> tuple[str, Window]:
    """Write the declared padding out, so that only what rounding up adds is not counted."""
    pads = node.integers("pads", (0, 0, 0, 0))
    before, after = window.before, (*pads[len(pads) // 2 :], 0)[:2]
    tensor = net.emit(node, Pad, [tensor], before=(0, *before), after=(0, *after))
    rest = (max(0, window.after[0] - after[0]), max(0, window.after[1] - after[1]))
    return tensor, replace(window, before=(0, 0), after=rest)


def _dilated_maximum(net: Draft, node: Node, tensor: str, window: Window) -> str:
    """Return the maximum over a dilated window, as the maximum of shifted pictures."""
    if any(window.padding):
        kind = net.types[tensor]
        value = LEAST_REAL if kind.is_float else int(np.iinfo(kind.dtype).min)
        tensor = net.emit(
            node, Pad, [tensor], before=(0, *window.before), after=(0, *window.after), value=value
        )
    channels, *size = net.types[tensor].shape
    spans = [(k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True)]
    counts = [
        (n - span - 1) // s + 1 for n, span, s in zip(size, spans, window.stride, strict=True)
    ]
    if min(counts) < 1 or window.kernel[0] * window.kernel[1] > 256:
        raise node.fail(f"kernel {window.kernel} with dilations {window.dilation} on {size}")
    best = ""
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            first = (i * window.dilation[0], j * window.dilation[1])
            last = [
                f + (c - 1) * s + 1 for f, c, s in zip(first, counts, window.stride, strict=True)
            ]
            part = net.emit(
                node,
                StridedSlice,
                [tensor],
                begin=(0, *first),
                end=(channels, *last),
                step=(1, *window.stride),
            )
            best = net.emit(node, Maximum, [best, part]) if best else part
    return best


def _shape(net: Draft, tensor: str, rank: int) -> tuple[int, ...]:
    return (1, *net.types[tensor].shape)[:rank]


def global_average_pool(net: Draft, node: Node) -> None:
    """The mean of each channel."""
    value = net.value(node, 0)
    tail = tail_of(net, node, [value]) if value.tensor is not None else None
    tensor = net.carrier(value) if tail is not None else net.real(value)
    axes, shape = _spatial(net, node, value)
    rule = tail.rule if tail is not None else None
    tensor = net.emit(
        node, Reduce, [tensor], function="mean", axes=axes, keep=True, requantize=rule
    )
    _finish(net, node, tensor, shape, tail)


def global_max_pool(net: Draft, node: Node) -> None:
    """The largest value of each channel."""
    value = net.value(node, 0)
    axes, shape = _spatial(net, node, value)
    tensor = net.emit(node, Reduce, [net.carrier(value)], function="max", axes=axes, keep=True)
    net.define(node, tensor, shape, value.dtype)


def _spatial(net: Draft, node: Node, value: Value) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(value.shape)
    if rank < 3:
        raise node.fail(f"its input has shape {value.shape}", why="spatial axes are needed")
    shift = 1 if value.shape[0] == 1 else 0
    axes = tuple(range(2 - shift, rank - shift))
    return axes, (*value.shape[:2], *(1,) * (rank - 2))
