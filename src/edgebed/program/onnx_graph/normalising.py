"""Normalisations: folded into the layer before where that is exact, else made of smaller ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.axes import view
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import reshape_of
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import Value, stripped
from edgebed.program.onnx_graph.weighted import fold_scale_and_shift
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.power import Power
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array


def batch_normalization(net: Draft, node: Node) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, one of each a channel."""
    value = net.value(node, 0)
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise node.fail("is in training mode", try_="export in evaluation mode (model.eval())")
    names = ("scale", "bias", "mean", "variance")
    rows = [
        net.known(node, index, name).astype(np.float64).reshape(-1)
        for index, name in enumerate(names, start=1)
    ]
    channels = value.shape[1] if len(value.shape) > 1 else 1
    if any(row.size != channels for row in rows):
        raise node.fail(f"sizes {[row.size for row in rows]} on {channels} channels")
    scale, bias, mean, variance = rows
    spread = variance + node.real("epsilon", 1e-5)
    if not np.isfinite(np.concatenate(rows)).all() or (spread <= 0).any():
        raise node.fail("its numbers are not finite, or a variance is negative")
    factor = scale / np.sqrt(spread)
    affine(net, node, value, factor, bias - mean * factor)


def affine(net: Draft, node: Node, value: Value, factor: Array, shift: Array) -> None:
    """Define the output x * factor + shift, one number a channel (axis 1 of the file)."""
    factor, shift = factor.astype(np.float32), shift.astype(np.float32)
    op = net.writer(value.tensor) if value.tensor is not None else None
    fitting = not isinstance(op, Dense) or len(value.shape) == 2
    if fitting and fold_scale_and_shift(net, node, value, factor, shift):
        return
    shape = (-1, *(1,) * (len(value.shape) - 2))
    tensor = net.emit(node, Multiply, [net.real(value), net.reals(node, factor.reshape(shape))])
    tensor = net.emit(node, Add, [tensor, net.reals(node, shift.reshape(shape))])
    net.define(node, tensor, value.shape)


def image_scaler(net: Draft, node: Node) -> None:
    """X * scale + bias, one bias a channel: the first node of networks made by Core ML."""
    value = net.value(node, 0)
    channels = value.shape[1] if len(value.shape) > 1 else 1
    bias = np.asarray(node.attributes.get("bias", (0.0,) * channels), np.float32)
    if bias.shape != (channels,):
        raise node.fail(f"{bias.size} biases for {channels} channels")
    affine(net, node, value, np.full(channels, node.real("scale", 1.0)), bias)


def standardised(
    net: Draft, node: Node, tensor: str, axes: Sequence[int], epsilon: float, *, centre: bool = True
) -> str:
    """Return (x - mean) / sqrt(variance + epsilon) along axes of the program."""
    axes = tuple(axes)
    if centre:
        mean = net.emit(node, Reduce, [tensor], function="mean", axes=axes, keep=True)
        tensor = net.emit(node, Subtract, [tensor, mean])
    square = net.emit(node, Unary, [tensor], function="square")
    variance = net.emit(node, Reduce, [square], function="mean", axes=axes, keep=True)
    raised = net.emit(node, Add, [variance, net.reals(node, epsilon)])
    spread = net.emit(node, Unary, [raised], function="sqrt")
    return net.emit(node, Divide, [tensor, spread])


def scaled(net: Draft, node: Node, tensor: str, parts: Sequence[Array | None]) -> str:
    """Return tensor * parts[0] + parts[1]; None leaves a step out."""
    for kind, part in zip((Multiply, Add), parts, strict=True):
        if part is not None:
            tensor = net.emit(node, kind, [tensor, net.reals(node, part)])
    return tensor


def _batch_of_one(node: Node, value: Value, rank: int) -> None:
    if len(value.shape) < rank or value.shape[0] != 1:
        raise node.fail(f"its input has shape {value.shape}", why="a batch of 1 is needed")


def instance_normalization(net: Draft, node: Node) -> None:
    """Each channel standardised over its pixels."""
    value = net.value(node, 0)
    _batch_of_one(node, value, 3)
    spread = (-1, *(1,) * (len(value.shape) - 2))
    parts = [net.known(node, i, what).reshape(spread) for i, what in ((1, "scale"), (2, "bias"))]
    axes = range(1, len(value.shape) - 1)
    tensor = standardised(net, node, net.real(value), axes, node.real("epsilon", 1e-5))
    net.define(node, scaled(net, node, tensor, parts), value.shape)


def group_normalization(net: Draft, node: Node) -> None:
    """Groups of channels standardised over their pixels."""
    value = net.value(node, 0)
    _batch_of_one(node, value, 3)
    groups, channels = node.integer("num_groups", 1), value.shape[1]
    if groups < 1 or channels % groups:
        raise node.fail(f"{groups} groups of {channels} channels")
    rows = [net.known(node, i, what) for i, what in ((1, "scale"), (2, "bias"))]
    if node.version < 21:
        rows = [np.repeat(row, channels // groups) for row in rows]
    if any(row.size != channels for row in rows):
        raise node.fail(f"sizes {[row.size for row in rows]} on {channels} channels")
    split = (groups, math.prod(value.shape[1:]) // groups)
    tensor = reshape_of(net, node, net.real(value), split)
    tensor = standardised(net, node, tensor, (1,), node.real("epsilon", 1e-5))
    tensor = reshape_of(net, node, tensor, stripped(value.shape))
    spread = (-1, *(1,) * (len(value.shape) - 2))
    net.define(node, scaled(net, node, tensor, [row.reshape(spread) for row in rows]), value.shape)


def layer_normalization(net: Draft, node: Node) -> None:
    """The axes from `axis` on standardised together."""
    _layer(net, node, centre=True)


def rms_normalization(net: Draft, node: Node) -> None:
    """Like LayerNormalization, without the mean."""
    _layer(net, node, centre=False)


def _layer(net: Draft, node: Node, *, centre: bool) -> None:
    value = net.value(node, 0)
    if any(node.outputs[1:]):
        raise node.fail("its second output is used", try_="a network for inference")
    axis = node.axis(node.integer("axis", -1), len(value.shape))
    axes = range(axis, len(value.shape))
    parts = [
        net.known(node, i, what) if node.has(i) else None for i, what in ((1, "scale"), (2, "bias"))
    ]
    seen = view(net, node, value, axes, net.real(value))
    places = [seen.axis(one) for one in axes]
    tensor = standardised(net, node, seen.tensor, places, node.real("epsilon", 1e-5), centre=centre)
    net.define(node, scaled(net, node, tensor, parts), value.shape)


def mean_variance_normalization(net: Draft, node: Node) -> None:
    """Standardised along the given axes."""
    value = net.value(node, 0)
    rank = len(value.shape)
    given = [node.axis(axis, rank) for axis in node.integers("axes", (0, 2, 3))]
    axes = sorted({axis for axis in given if value.shape[axis] != 1 or axis > 0})
    seen = view(net, node, value, axes, net.real(value))
    places = [seen.axis(axis) for axis in axes]
    net.define(node, standardised(net, node, seen.tensor, places, 1e-9), value.shape)


def lp_normalization(net: Draft, node: Node) -> None:
    """Divided by the length along an axis; 0 stays 0."""
    value = net.value(node, 0)
    axis = node.axis(node.integer("axis", -1), len(value.shape))
    seen = view(net, node, value, [axis], net.real(value))
    place, order = (seen.axis(axis),), node.integer("p", 2)
    if order not in (1, 2):
        raise node.fail(f"p is {order}", try_="1 or 2")
    source = seen.tensor
    if order == 1:
        source = net.emit(node, Unary, [source], function="abs")
    function = "l2" if order == 2 else "sum"
    length = net.emit(node, Reduce, [source], function=function, axes=place, keep=True)
    length = net.emit(node, Unary, [length], function="clip", low=1e-30)
    net.define(node, net.emit(node, Divide, [seen.tensor, length]), value.shape)


def local_response(net: Draft, node: Node) -> None:
    """LRN: x / (bias + alpha / size * sum of squares of near channels) ** beta."""
    value = net.value(node, 0)
    _batch_of_one(node, value, 3)
    size = node.integer("size", 1)
    channels, pixels = value.shape[1], math.prod(value.shape[2:])
    if not 1 <= size <= 2 * channels + 1:
        raise node.fail(f"size {size} on {channels} channels")
    tensor = net.real(value)
    square = net.emit(node, Unary, [tensor], function="square")
    before = (size - 1) // 2
    near = net.emit(
        node,
        AvgPool,
        [reshape_of(net, node, square, (1, channels, pixels))],
        kernel=(size, 1),
        stride=(1, 1),
        padding=(before, 0, size - 1 - before, 0),
        rounding="half_away",
        include_padding=True,
    )
    near = reshape_of(net, node, near, stripped(value.shape))
    near = net.emit(node, Multiply, [near, net.reals(node, node.real("alpha", 1e-4))])
    near = net.emit(node, Add, [near, net.reals(node, node.real("bias", 1.0))])
    divisor = net.emit(node, Power, [near, net.reals(node, node.real("beta", 0.75))])
    net.define(node, net.emit(node, Divide, [tensor, divisor]), value.shape)


OPERATORS: dict[str, Any] = {
    "BatchNormalization": batch_normalization,
    "ImageScaler": image_scaler,
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "SimplifiedLayerNormalization": rms_normalization,
    "RMSNormalization": rms_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "LpNormalization": lp_normalization,
    "LRN": local_response,
}
