"""Operators that combine tensors value by value, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import Tail, as_one_integer_op, end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.onnx_graph.weighted import channel_values, fold_scale_and_shift
from edgebed.program.ops.add import Add
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.power import Power
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array, Op

Handler = Callable[[Draft, Node], None]
_RULED: tuple[type[Op], ...] = (Add, Subtract, Multiply, Maximum, Minimum)


def binary(kind: type[Op]) -> Handler:
    """Return the importer of an operator of two operands, or of several from left to right."""

    def handle(net: Draft, node: Node) -> None:
        values = [net.value(node, index) for index in range(len(node.inputs))]
        if len(values) == 1:
            net.alias(node.output, values[0])
            return
        if len(values) == 2:
            values = _aligned_axis(net, node, values)
        shape = broadcast(node, values)
        if len(values) == 2 and (
            _folded(net, node, kind, values, shape) or _gated(net, node, kind, values)
        ):
            return
        tail = tail_of(net, node, values) if kind in _RULED and len(values) == 2 else None
        if tail is not None:
            values, rule = _as_runtime(node, values, tail)
            tensors = [net.quantised(value) or "" for value in values]
            end(net, node, net.emit(node, kind, tensors, requantize=rule), shape, tail)
            return
        if values[0].dtype != "float32":
            _whole(net, node, kind, values, shape)
            return
        tensor = net.real(values[0])
        for value in values[1:]:
            tensor = net.emit(node, kind, [tensor, net.real(value)])
        net.define(node, tensor, shape)

    return handle


def _as_runtime(node: Node, values: list[Value], tail: Tail) -> tuple[list[Value], Affine]:
    """Return operands and rule of a quantised op in the order in which ONNX Runtime adds.

    Its quantised Add begins with the second operand, or with the one that repeats one value along
    the last axes.
    """
    rule = as_one_integer_op(tail, values) if node.kind in ("Add", "Mul") else None
    if rule is None:
        return values, tail.rule
    backwards = (value.shape[::-1] for value in values)
    last = next((pair for pair in zip_longest(*backwards, fillvalue=1) if max(pair) > 1), (1, 1))
    return values[::-1] if last[0] < last[1] else values, rule


def _aligned_axis(net: Draft, node: Node, values: list[Value]) -> list[Value]:
    """Apply the explicit broadcasting of operator sets before 7: axes from `axis` on."""
    first, second = values
    if node.version >= 7 or not node.integer("broadcast", 0) or "axis" not in node.attributes:
        return values
    axis = node.axis(node.integer("axis", 0), len(first.shape))
    shape = (*second.shape, *(1,) * (len(first.shape) - axis - len(second.shape)))
    array = net.array(second)
    if array is None:
        raise node.fail("broadcasts a computed operand along 'axis'", try_="operator set 7")
    wide = Value(f"{second.name}/wide", shape, second.dtype, array=array.reshape(shape))
    return [first, wide]


def broadcast(node: Node, values: list[Value]) -> tuple[int, ...]:
    """Return the common shape of operands.

    Raises:
        EdgebedError: they do not fit.
    """
    try:
        return tuple(np.broadcast_shapes(*(value.shape for value in values)))
    except ValueError as error:
        listed = " and ".join(str(value.shape) for value in values)
        raise node.fail(f"operands have shapes {listed}", why="they do not broadcast") from error


def _folded(
    net: Draft, node: Node, kind: type[Op], values: list[Value], shape: tuple[int, ...]
) -> bool:
    """Fold a constant into the layer before it, where it has one value a channel."""
    first, second = values
    if kind in (Add, Multiply) and first.array is not None:
        first, second = second, first
    array = net.array(second)
    if array is None or first.tensor is None or array.dtype.kind != "f" or first.shape != shape:
        return False
    op = net.writer(first.tensor)
    have = net.types[first.tensor].shape
    if not have:
        return False
    axis = len(have) - 1 if isinstance(op, Dense) else 0
    row = channel_values(array, have, axis)
    if row is None or not np.isfinite(row).all():
        return False
    with np.errstate(all="ignore"):
        factors: dict[type[Op], tuple[Array | None, Array | None]] = {
            Add: (None, row),
            Subtract: (None, -row),
            Multiply: (row, None),
            Divide: (1 / row, None),
        }
    if kind not in factors or (kind is Divide and not row.all()):
        return False
    return fold_scale_and_shift(net, node, first, *factors[kind])


def _gated(net: Draft, node: Node, kind: type[Op], values: list[Value]) -> bool:
    """Make x * sigmoid(x) and x * hard_sigmoid(x) the one function that each is."""
    if kind is not Multiply:
        return False
    for x, gate in (values, values[::-1]):
        op = net.writer(gate.tensor) if gate.tensor is not None else None
        if not isinstance(op, Unary) or x.dtype != "float32" or x.tensor is None:
            continue
        standard = np.isclose(op.alpha, 1 / 6, rtol=1e-4) and op.beta == 0.5
        function = {"sigmoid": "silu", "hard_sigmoid": "hard_swish" if standard else None}
        name = function.get(op.function)
        if name is None or op.inputs != (net.real(x),) or not net.sole(gate, node):
            continue
        net.rewrite(op, replace(op, function=name, alpha=0.0, beta=0.0))  # type: ignore[arg-type]
        net.alias(node.output, gate)
        return True
    return False


def _whole(
    net: Draft, node: Node, kind: type[Op], values: list[Value], shape: tuple[int, ...]
) -> None:
    """Compute integers in float32, which is exact below 2**24, and cut them back."""
    dtype = values[0].dtype
    if kind is Divide:
        raise node.fail(f"divides {dtype}", why="only real numbers are divided", try_="a Cast")
    if dtype not in ("int32", "int64"):
        raise node.fail(f"combines {dtype}", why="real or 32-bit numbers are known", try_="a Cast")
    tensors = [numbers(net, node, value) for value in values]
    tensor = tensors[0]
    for other in tensors[1:]:
        tensor = net.emit(node, kind, [tensor, other])
    net.define(node, net.emit(node, Cast, [tensor], dtype=dtype), shape, dtype)


def numbers(net: Draft, node: Node, value: Value) -> str:
    """Return the numbers that a file's tensor holds, as float32."""
    if value.dtype == "float32":
        return net.real(value)
    tensor = net.carrier(value)
    if net.types[tensor].is_float:
        return tensor
    tensor = net.emit(node, Cast, [tensor], dtype="float32")
    if value.dtype == "uint8" and value.tensor is not None:
        tensor = net.emit(node, Add, [tensor, net.reals(node, 128.0)])
    return tensor


def mean_of(net: Draft, node: Node) -> None:
    """The mean of several operands."""
    values = [net.value(node, index) for index in range(len(node.inputs))]
    tensor = net.real(values[0])
    for value in values[1:]:
        tensor = net.emit(node, Add, [tensor, net.real(value)])
    factor = net.reals(node, 1 / len(values))
    net.define(node, net.emit(node, Multiply, [tensor, factor]), broadcast(node, values))


def power(net: Draft, node: Node) -> None:
    """Base ** exponent; squares and roots become functions."""
    base, exponent = net.value(node, 0), net.value(node, 1)
    array = net.array(exponent)
    known = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}
    if array is not None and array.size == 1 and array.ndim <= len(base.shape):
        function = known.get(float(array.reshape(-1)[0]))
        if function is not None:
            tensor = net.emit(node, Unary, [net.real(base)], function=function)
            net.define(node, tensor, base.shape)
            return
    shape = broadcast(node, [base, exponent])
    left, right = net.real(base), numbers(net, node, exponent)
    net.define(node, net.emit(node, Power, [left, right]), shape)


def prelu(net: Draft, node: Node) -> None:
    """PRelu with constant slopes."""
    value = net.value(node, 0)
    slope = net.known(node, 1, "slope").astype(np.float32)
    if slope.ndim <= 1 < len(value.shape) and slope.size > 1 and node.version < 7:
        slope = slope.reshape(-1, *(1,) * (len(value.shape) - 2))
    have = len(value.shape) - 1 if value.shape[:1] == (1,) else len(value.shape)
    while slope.ndim > have and slope.shape[0] == 1:
        slope = slope[0]
    name = net.constant(node, "slope", slope)
    net.define(node, net.emit(node, Prelu, [net.real(value)], slope=name), value.shape)


def reshape_of(net: Draft, node: Node, tensor: str, shape: tuple[int, ...]) -> str:
    """Return a tensor in another shape of the program."""
    if net.types[tensor].shape == shape:
        return tensor
    return net.emit(node, Reshape, [tensor], shape=shape)


OPERATORS: dict[str, Any] = {
    "Add": binary(Add),
    "Sum": binary(Add),
    "Sub": binary(Subtract),
    "Mul": binary(Multiply),
    "Div": binary(Divide),
    "Max": binary(Maximum),
    "Min": binary(Minimum),
    "Mean": mean_of,
    "Pow": power,
    "PRelu": prelu,
}
