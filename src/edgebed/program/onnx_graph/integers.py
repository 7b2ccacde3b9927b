"""Integer products and quantisation at run time: whole numbers held in float32 tensors.

DynamicQuantizeLinear finds scale and zero point from each input, so a program cannot know them;
its integers, their products (ConvInteger, MatMulInteger) and sums are computed as whole numbers in
float32, exact below 2**24.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.convolution import picture, window_of
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import numbers
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import stripped
from edgebed.program.onnx_graph.weighted import real_layer
from edgebed.program.ops.add import Add
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array

LEAST_STEP = 1e-30


def dynamic_quantize(net: Draft, node: Node) -> None:
    """Integers 0 to 255 with the scale and zero point of the input's own range, 0 included."""
    value = net.value(node, 0)
    real = net.real(value)
    ends = [_end(net, node, real, function) for function in ("min", "max")]
    span = net.emit(node, Subtract, [ends[1], ends[0]])
    scale = net.emit(node, Multiply, [span, net.reals(node, 1 / 255)])
    scale = net.emit(node, Unary, [scale], function="clip", low=LEAST_STEP)
    zero = net.emit(node, Divide, [ends[0], scale])
    zero = net.emit(node, Unary, [zero], function="neg")
    zero = _whole(net, node, zero)
    steps = net.emit(node, Unary, [net.emit(node, Divide, [real, scale])], function="round")
    moved = net.emit(node, Add, [steps, zero])
    limited = net.emit(node, Unary, [moved], function="clip", low=0.0, high=255.0)
    net.define(node, limited, value.shape, "uint8")
    for index, tensor, dtype in ((1, scale, "float32"), (2, zero, "uint8")):
        if index < len(node.outputs) and node.outputs[index]:
            net.define(node, tensor, (), dtype, node.outputs[index])


def _end(net: Draft, node: Node, real: str, function: str) -> str:
    axes = tuple(range(len(net.types[real].shape)))
    found = net.emit(node, Reduce, [real], function=function, axes=axes, keep=False)
    bound = {"high": 0.0} if function == "min" else {"low": 0.0}
    return net.emit(node, Unary, [found], function="clip", **bound)


def _whole(net: Draft, node: Node, tensor: str) -> str:
    rounded = net.emit(node, Unary, [tensor], function="round")
    return net.emit(node, Unary, [rounded], function="clip", low=0.0, high=255.0)


def _centred(net: Draft, node: Node, index: int, zero: int) -> str:
    """Return an input's whole numbers less its zero point."""
    tensor = numbers(net, node, net.value(node, index))
    if not node.has(zero):
        return tensor
    value = net.value(node, zero)
    known = net.array(value)
    if known is not None and not known.any():
        return tensor
    if len(value.shape) > 0 and value.shape != (1,):
        raise node.fail(f"its zero point has shape {value.shape}", why="one value is known")
    less = numbers(net, node, value)
    return net.emit(node, Subtract, [tensor, less])


def _weights(net: Draft, node: Node, axis: int) -> Array:
    weight = net.known(node, 1, "weights").astype(np.float32)
    if not node.has(3):
        return weight
    zero = net.known(node, 3, "zero point").astype(np.float32)
    if zero.size == 1:
        return weight - zero.reshape(())
    if zero.size != weight.shape[axis]:
        raise node.fail(f"{zero.size} zero points for {weight.shape[axis]} outputs")
    return weight - zero.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])


def matmul_integer(net: Draft, node: Node) -> None:
    """(A - a_zero) @ (B - b_zero), B constant."""
    value = net.value(node, 0)
    weight = _weights(net, node, 1)
    if weight.ndim != 2 or len(value.shape) < 2 or value.shape[-1] != weight.shape[0]:
        raise node.fail(f"operands have shapes {value.shape} and {weight.shape}")
    tensor = _centred(net, node, 0, 2)
    if net.types[tensor].shape != stripped(value.shape):
        tensor = net.emit(node, Reshape, [tensor], shape=stripped(value.shape))
    result = real_layer(net, node, Dense, tensor, weight.T, None, last_axis=True)
    net.define(node, result, (*value.shape[:-1], weight.shape[1]), "int32")


def conv_integer(net: Draft, node: Node) -> None:
    """The convolution of (x - x_zero) with (w - w_zero), w constant."""
    value = net.value(node, 0)
    weight = _weights(net, node, 0)
    axes = len(value.shape) - 2
    if weight.ndim != axes + 2 or axes not in (1, 2):
        raise node.fail(f"operands have shapes {value.shape} and {weight.shape}")
    tensor, size = picture(net, node, value, _centred(net, node, 0, 2))
    window = window_of(node, weight.shape[2:], size, axes)
    result = real_layer(
        net,
        node,
        Conv2d,
        tensor,
        weight.reshape(*weight.shape, *(1,) * (2 - axes)),
        None,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        groups=node.integer("group", 1),
    )
    net.define(node, result, (1, *net.types[result].shape)[: axes + 2], "int32")


OPERATORS: dict[str, Callable[[Draft, Node], Any]] = {
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
    "ConvInteger": conv_integer,
}
