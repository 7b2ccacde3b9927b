"""Cast, comparisons, logic and Where.

Truth values are the real numbers 0 and 1 inside a program, and bool at its outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import broadcast, numbers
from edgebed.program.onnx_graph.load import dtype_name
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.add import Add
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary

Handler = Callable[[Draft, Node], None]


def cast(net: Draft, node: Node) -> None:
    """Another number type; every real type is float32."""
    value = net.value(node, 0)
    name = dtype_name(node.integer("to", 1), f"{node.where}, layer {node.name!r}")
    if name in ("float16", "bfloat16", "float64"):
        name = "float32"
    if name == value.dtype:
        net.alias(node.output, value)
    elif name == "float32":
        net.define(node, numbers(net, node, value), value.shape)
    elif name == "bool":
        net.define(node, truth(net, node, value), value.shape, "bool")
    elif name in ("int32", "int64"):
        tensor = net.emit(node, Cast, [numbers(net, node, value)], dtype=name)
        net.define(node, tensor, value.shape, name)
    else:
        raise node.fail(f"casts {value.dtype} to {name}", try_="float, int32, int64 or bool")


def truth(net: Draft, node: Node, value: Value) -> str:
    """Return 0 or 1 for each number: not 0."""
    tensor = numbers(net, node, value)
    if value.dtype == "bool":
        return tensor
    return net.emit(node, Unary, [net.emit(node, Unary, [tensor], function="sign")], function="abs")


def _positive(net: Draft, node: Node, tensor: str) -> str:
    sign = net.emit(node, Unary, [tensor], function="sign")
    return net.emit(node, Unary, [sign], function="relu")


def opposite(net: Draft, node: Node, tensor: str) -> str:
    """Return 1 - x."""
    return net.emit(node, Subtract, [net.reals(node, 1.0), tensor])


def comparison(kind: str) -> Handler:
    """Return the importer of Greater, Less, Equal, GreaterOrEqual or LessOrEqual."""

    def handle(net: Draft, node: Node) -> None:
        values = [net.value(node, 0), net.value(node, 1)]
        shape = broadcast(node, values)
        a, b = (numbers(net, node, value) for value in values)
        if kind in ("Less", "GreaterOrEqual"):
            a, b = b, a
        difference = net.emit(node, Subtract, [a, b])
        if kind == "Equal":
            sign = net.emit(node, Unary, [difference], function="sign")
            tensor = net.emit(node, Unary, [sign], function="abs")
        else:
            tensor = _positive(net, node, difference)
        if kind not in ("Greater", "Less"):
            tensor = opposite(net, node, tensor)
        net.define(node, tensor, shape, "bool")

    return handle


def both(net: Draft, node: Node) -> None:
    """And."""
    values = [net.value(node, 0), net.value(node, 1)]
    tensors = [truth(net, node, value) for value in values]
    net.define(node, net.emit(node, Multiply, tensors), broadcast(node, values), "bool")


def either(net: Draft, node: Node) -> None:
    """Or."""
    values = [net.value(node, 0), net.value(node, 1)]
    tensors = [truth(net, node, value) for value in values]
    net.define(node, net.emit(node, Maximum, tensors), broadcast(node, values), "bool")


def one_of(net: Draft, node: Node) -> None:
    """Xor."""
    values = [net.value(node, 0), net.value(node, 1)]
    tensors = [truth(net, node, value) for value in values]
    difference = net.emit(node, Subtract, tensors)
    tensor = net.emit(node, Unary, [difference], function="abs")
    net.define(node, tensor, broadcast(node, values), "bool")


def negation(net: Draft, node: Node) -> None:
    """Not."""
    value = net.value(node, 0)
    net.define(node, opposite(net, node, truth(net, node, value)), value.shape, "bool")


def where(net: Draft, node: Node) -> None:
    """Choose: condition * x + (1 - condition) * y, of finite x and y."""
    condition, x, y = (net.value(node, index) for index in range(3))
    shape = broadcast(node, [condition, x, y])
    for value in (x, y):
        array = net.array(value)
        if array is not None and not np.isfinite(array).all():
            raise node.fail(
                f"chooses from {value.name!r}, which holds infinity",
                try_="a large finite number instead",
            )
    chosen = truth(net, node, condition)
    left = net.emit(node, Multiply, [chosen, numbers(net, node, x)])
    rest = opposite(net, node, chosen)
    right = net.emit(node, Multiply, [rest, numbers(net, node, y)])
    tensor = net.emit(node, Add, [left, right])
    if x.dtype != "float32":
        tensor = net.emit(node, Cast, [tensor], dtype=x.dtype)
    net.define(node, tensor, shape, x.dtype)


def thresholded_relu(net: Draft, node: Node) -> None:
    """Keep x above alpha, else 0."""
    value = net.value(node, 0)
    real = net.real(value)
    above = net.emit(node, Subtract, [real, net.reals(node, node.real("alpha", 1.0))])
    tensor = net.emit(node, Multiply, [real, _positive(net, node, above)])
    net.define(node, tensor, value.shape)


def shrink(net: Draft, node: Node) -> None:
    """X + bias below -lambd, x - bias above lambd, else 0."""
    value = net.value(node, 0)
    real, bound = net.real(value), node.real("lambd", 0.5)
    size = net.emit(node, Unary, [real], function="abs")
    above = net.emit(node, Subtract, [size, net.reals(node, bound)])
    outside = _positive(net, node, above)
    sign = net.emit(node, Unary, [real], function="sign")
    less = net.emit(node, Multiply, [sign, net.reals(node, node.real("bias", 0.0))])
    moved = net.emit(node, Subtract, [real, less])
    net.define(node, net.emit(node, Multiply, [moved, outside]), value.shape)


OPERATORS: dict[str, Handler] = {
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "Cast": cast,
    "And": both,
    "Or": either,
    "Xor": one_of,
    "Not": negation,
    "Where": where,
    **{
        kind: comparison(kind)
        for kind in ("Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual")
    },
}
