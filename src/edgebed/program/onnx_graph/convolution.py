"""Conv and ConvTranspose, of one or two spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import end
from edgebed.program.onnx_graph.values import Value
from edgebed.program.onnx_graph.weighted import (
    integer_layer,
    integer_plan,
    real_bias,
    real_layer,
)
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import Array


@dataclass(frozen=True)
class Window:
    """A sliding window over rows and columns; one spatial axis has columns of size 1.

    Attributes:
        kernel: rows, columns.
        stride: rows, columns.
        dilation: rows, columns.
        before: padding at the top and at the left.
        after: padding at the bottom and at the right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right."""
        return (*self.before, *self.after)


def picture(net: Draft, node: Node, value: Value, tensor: str) -> tuple[str, tuple[int, int]]:
    """Return a value as a C x H x W tensor, and its H and W; one spatial axis becomes the rows.

    Raises:
        EdgebedError: it has not one or two spatial axes, or its batch is not 1.
    """
    shape = value.shape
    if len(shape) not in (3, 4):
        raise node.fail(
            f"its input has shape {shape}",
            why="one or two spatial axes behind batch and channels are needed",
            try_="reshape it, or replace a 3-D layer by 2-D ones",
        )
    if shape[0] != 1:
        raise node.fail(
            f"its input has a batch of {shape[0]}", why="the batch is 1", try_="export with batch 1"
        )
    size = (shape[2], shape[3] if len(shape) == 4 else 1)
    if len(shape) == 3:
        tensor = net.emit(node, Reshape, [tensor], shape=(shape[1], *size))
    return tensor, size


def pair(node: Node, values: Sequence[int], filler: int, axes: int, name: str) -> tuple[int, int]:
    """Return one number an axis as (rows, columns)."""
    if len(values) != axes or min(values) < 0:
        raise node.fail(f"{name} is {tuple(values)}", why=f"{axes} numbers are needed")
    return (values[0], values[1] if axes == 2 else filler)


def window_of(node: Node, kernel: Sequence[int], size: tuple[int, int], axes: int) -> Window:
    """Return a node's window over a map of `size`, with automatic padding worked out.

    Raises:
        EdgebedError: an attribute has the wrong length or sign.
    """
    ones = (1,) * axes
    sides = pair(node, tuple(kernel), 1, axes, "kernel_shape")
    stride = pair(node, node.integers("strides", ones), 1, axes, "strides")
    dilation = pair(node, node.integers("dilations", ones), 1, axes, "dilations")
    if min(*stride, *dilation, *sides) < 1:
        raise node.fail(f"kernel {sides}, strides {stride}, dilations {dilation}", why="at least 1")
    spans = tuple((k - 1) * d + 1 for k, d in zip(sides, dilation, strict=True))
    mode = node.word("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (math.ceil(n / s) - 1) * s + span - n)
            for n, s, span in zip(size, stride, spans, strict=True)
        ]
        small = (total[0] // 2, total[1] // 2)
        large = (total[0] - small[0], total[1] - small[1])
        before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    else:
        before, after = _pads(node, axes, mode)
    return Window(sides, stride, dilation, before, after)


def _pads(node: Node, axes: int, mode: str) -> tuple[tuple[int, int], tuple[int, int]]:
    if mode not in ("NOTSET", "VALID", ""):
        raise node.fail(f"auto_pad {mode!r}", try_="NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    pads = node.integers("pads", (0,) * (2 * axes)) if mode != "VALID" else (0,) * (2 * axes)
    if len(pads) != 2 * axes:
        raise node.fail(f"pads is {pads}", why=f"{2 * axes} numbers are needed")
    return (
        pair(node, pads[:axes], 0, axes, "pads"),
        pair(node, pads[axes:], 0, axes, "pads"),
    )


def conv(net: Draft, node: Node) -> None:
    """Conv, in integers between DequantizeLinear and QuantizeLinear."""
    x, w = net.value(node, 0), net.value(node, 1)
    axes = len(x.shape) - 2
    weight = _weights(net, node, w, axes)
    bias = net.optional(node, 2)
    plan = integer_plan(net, node, x, w, 0)
    tensor, size = picture(net, node, x, net.carrier(x) if plan else net.real(x))
    window = window_of(node, node.integers("kernel_shape", w.shape[2:]), size, axes)
    if window.kernel != (*w.shape[2:], 1)[:2]:
        raise node.fail(f"kernel_shape {window.kernel} with weights of shape {w.shape}")
    attributes: dict[str, Any] = {
        "stride": window.stride,
        "padding": window.padding,
        "dilation": window.dilation,
        "groups": node.integer("group", 1),
    }
    if attributes["groups"] < 1:
        raise node.fail(f"group is {attributes['groups']}")
    if plan is not None:
        values = plan[1].values.reshape(weight.shape)
        result = integer_layer(net, node, Conv2d, tensor, plan, values, bias, **attributes)
        end(net, node, result, _shape(net, result, axes), plan[0])
        return
    real = real_bias(net, node, bias, x, w)
    result = real_layer(net, node, Conv2d, tensor, weight, real, **attributes)
    net.define(node, result, _shape(net, result, axes))


def _weights(net: Draft, node: Node, w: Value, axes: int) -> Array:
    weight = net.known(node, 1, "weights")
    if weight.ndim != axes + 2 or axes not in (1, 2):
        raise node.fail(
            f"weights of shape {weight.shape} on an input with {axes} spatial axes",
            why="one or two spatial axes are supported",
            try_="2-D layers",
        )
    return weight.reshape(*weight.shape, *(1,) * (2 - axes))


def _shape(net: Draft, tensor: str, axes: int) -> tuple[int, ...]:
    channels, rows, columns = net.types[tensor].shape
    return (1, channels, rows, columns)[: axes + 2]


def conv_transpose(net: Draft, node: Node) -> None:
    """ConvTranspose; groups and dilation become zeros in a larger kernel."""
    x, w = net.value(node, 0), net.value(node, 1)
    axes = len(x.shape) - 2
    real = _weights(net, node, w, axes)
    bias = net.optional(node, 2)
    groups = node.integer("group", 1)
    plan = integer_plan(net, node, x, w, 1) if groups == 1 else None
    tensor, size = picture(net, node, x, net.carrier(x) if plan else net.real(x))
    empty = plan[1].zero_point if plan is not None else 0
    weight = plan[1].values.reshape(real.shape) if plan is not None else real
    ones = (1,) * axes
    dilation = pair(node, node.integers("dilations", ones), 1, axes, "dilations")
    weight = _dilated(node, _ungrouped(node, weight, groups), dilation, empty)
    stride = pair(node, node.integers("strides", ones), 1, axes, "strides")
    extra, before, after = _cuts(node, size, weight.shape[2:], stride, axes)
    common = (min(before[0], after[0]), min(before[1], after[1]))
    attributes = {"stride": stride, "padding": common, "output_padding": extra}
    if plan is not None:
        result = integer_layer(net, node, ConvTranspose2d, tensor, plan, weight, bias, **attributes)
    else:
        added = real_bias(net, node, bias, x, w)
        result = real_layer(net, node, ConvTranspose2d, tensor, weight, added, **attributes)
    result = _cut(net, node, result, common, before, after)
    if plan is not None:
        end(net, node, result, _shape(net, result, axes), plan[0])
    else:
        net.define(node, result, _shape(net, result, axes))


def _cuts(
    node: Node,
    size: tuple[int, int],
    kernel: Sequence[int],
    stride: tuple[int, int],
    axes: int,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return output_padding and what is cut before and after; ONNX's rule for output_shape."""
    extra = pair(node, node.integers("output_padding", (0,) * axes), 0, axes, "output_padding")
    mode = node.word("auto_pad", "NOTSET")
    wanted = node.integers("output_shape", ())
    if not wanted and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return (extra, *_pads(node, axes, mode))
    full = [(n - 1) * s + k + e for n, s, k, e in zip(size, stride, kernel, extra, strict=True)]
    shape = (
        pair(node, wanted[-axes:], 1, axes, "output_shape")
        if wanted
        else (size[0] * stride[0], size[1] * stride[1])
    )
    total = [have - want for have, want in zip(full, shape, strict=True)]
    if min(total) < 0:
        extra = tuple(e + max(0, -t) for e, t in zip(extra, total, strict=True))  # type: ignore[assignment]
        total = [max(0, t) for t in total]
    small = (total[0] // 2, total[1] // 2)
    large = (total[0] - small[0], total[1] - small[1])
    return (extra, small, large) if mode == "SAME_UPPER" else (extra, large, small)


def _cut(
    net: Draft,
    node: Node,
    tensor: str,
    common: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
) -> str:
    """Cut what an asymmetric padding removes beyond the symmetric one."""
    first = tuple(b - c for b, c in zip(before, common, strict=True))
    last = tuple(a - c for a, c in zip(after, common, strict=True))
    if not any((*first, *last)):
        return tensor
    channels, rows, columns = net.types[tensor].shape
    return net.emit(
        node,
        StridedSlice,
        [tensor],
        begin=(0, *first),
        end=(channels, rows - last[0], columns - last[1]),
        step=(1, 1, 1),
    )


def _ungrouped(node: Node, weight: Array, groups: int) -> Array:
    """Return C x O x KH x KW weights of one group, with zeros between the groups."""
    if groups == 1:
        return weight
    inner, out, *kernel = weight.shape
    if groups < 1 or inner % groups or weight.size * groups > 1 << 26:
        raise node.fail(f"group {groups} with weights of shape {weight.shape}")
    full = np.zeros((inner, out * groups, *kernel), weight.dtype)
    rows = inner // groups
    for group in range(groups):
        part = slice(group * rows, (group + 1) * rows)
        full[part, group * out : (group + 1) * out] = weight[part]
    return full


def _dilated(node: Node, weight: Array, dilation: tuple[int, int], empty: int) -> Array:
    if dilation == (1, 1):
        return weight
    *outer, rows, columns = weight.shape
    spans = [(k - 1) * d + 1 for k, d in zip((rows, columns), dilation, strict=True)]
    if min(dilation) < 1 or math.prod((*outer, *spans)) > 1 << 26:
        raise node.fail(f"dilations {dilation} with weights of shape {weight.shape}")
    full = np.full((*outer, *spans), empty, weight.dtype)
    full[..., :: dilation[0], :: dilation[1]] = weight
    return full
