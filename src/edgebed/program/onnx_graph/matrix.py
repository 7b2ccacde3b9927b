"""Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.onnx_graph.weighted import (
    integer_layer,
    integer_plan,
    real_bias,
    real_layer,
)
from edgebed.program.ops.add import Add
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.reshape import Reshape


def gemm(net: Draft, node: Node) -> None:
    """Product: alpha * A @ B + beta * C; a layer where B is constant and A is not transposed."""
    a, b = net.value(node, 0), net.value(node, 1)
    c = net.optional(node, 2)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise node.fail(f"operands have shapes {a.shape} and {b.shape}", why="two axes each")
    left, right = node.integer("transA", 0), node.integer("transB", 0)
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    rows = a.shape[1 if left else 0]
    columns = b.shape[0 if right else 1]
    simple = b.array is not None and not left and alpha == beta == 1
    if simple and (c is None or (c.array is not None and c.array.size in (1, columns))):
        _layer(net, node, a, b, c, transposed=bool(right))
        return
    product = _product(net, node, a, b, bool(left), bool(right))
    if alpha != 1:
        product = net.emit(node, Multiply, [product, net.reals(node, alpha)])
    if c is not None and beta != 0:
        added = net.real(c)
        if beta != 1:
            added = net.emit(node, Multiply, [added, net.reals(node, beta)])
        product = net.emit(node, Add, [product, added])
    net.define(node, product, (rows, columns))


def matmul(net: Draft, node: Node) -> None:
    """The matrix product over the last two axes, as numpy's."""
    a, b = net.value(node, 0), net.value(node, 1)
    if b.array is not None and b.array.ndim == 2 and len(a.shape) >= 1 and a.array is None:
        _layer(net, node, a, b, None, transposed=False)
        return
    shape = matmul_shape(node, a.shape, b.shape)
    tail = tail_of(net, node, [a, b])
    integers = (net.quantised(a), net.quantised(b))
    if tail is not None and min(len(a.shape), len(b.shape)) >= 2:
        operands = [
            _ranked(net, node, value, tensor or "")
            for value, tensor in zip((a, b), integers, strict=True)
        ]
        tensor = net.emit(node, BatchMatmul, operands, requantize=tail.rule)
        end(net, node, tensor, shape, tail)
        return
    net.define(node, _product(net, node, a, b, False, False), shape)


def matmul_shape(node: Node, a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a product, by numpy's rules.

    Raises:
        EdgebedError: the operands do not fit.
    """
    if not a or not b or a[-1] != (b[-2] if len(b) > 1 else b[0]):
        raise node.fail(f"operands have shapes {tuple(a)} and {tuple(b)}")
    try:
        outer = np.broadcast_shapes(tuple(a[:-2]), tuple(b[:-2]))
    except ValueError as error:
        raise node.fail(f"operands have shapes {tuple(a)} and {tuple(b)}") from error
    return (*outer, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))


def _ranked(net: Draft, node: Node, value: Value, tensor: str, *, column: bool = False) -> str:
    """Return a tensor with two axes or more; a vector becomes a row, or a column."""
    have = net.types[tensor].shape
    if len(value.shape) == 1:
        wanted: tuple[int, ...] = (value.shape[0], 1) if column else (1, value.shape[0])
    elif len(have) < 2:
        wanted = value.shape
    else:
        return tensor
    return net.emit(node, Reshape, [tensor], shape=wanted)


def _product(net: Draft, node: Node, a: Value, b: Value, left: bool, right: bool) -> str:
    first = _ranked(net, node, a, net.real(a))
    second = _ranked(net, node, b, net.real(b), column=True)
    return net.emit(node, BatchMatmul, [first, second], transpose_a=left, transpose_b=right)


def _layer(
    net: Draft, node: Node, a: Value, b: Value, c: Value | None, *, transposed: bool
) -> None:
    """Append a dense layer; B is N x K where transposed, else K x N."""
    outputs = 0 if transposed else 1
    weight = net.array(b)
    assert weight is not None
    plan = integer_plan(net, node, a, b, outputs, bias=c is None)
    tensor = net.carrier(a) if plan is not None else net.real(a)
    if plan is not None and not _fits(plan[0].bias, a, weight.shape[outputs]):
        plan, tensor = None, net.real(a)
    if a.shape[-1] != weight.shape[1 - outputs]:
        raise node.fail(f"operands have shapes {a.shape} and {b.shape}")
    shape = (*a.shape[:-1], weight.shape[outputs])
    if a.shape == (1,):
        tensor = net.emit(node, Reshape, [tensor], shape=(1,))
    if plan is not None:
        values = plan[1].values if transposed else plan[1].values.T
        result = integer_layer(net, node, Dense, tensor, plan, values, c, last_axis=True)
        end(net, node, result, shape, plan[0])
        return
    bias = real_bias(net, node, c, a, b)
    rows = weight if transposed else weight.T
    result = real_layer(net, node, Dense, tensor, rows, bias, last_axis=True)
    net.define(node, result, shape)


def _fits(bias: Value | None, a: Value, outputs: int) -> bool:
    """Return whether a constant that is added, if any, has one value an output."""
    if bias is None:
        return True
    return (
        len(bias.shape) <= len(a.shape)
        and bias.shape[-1:] == (outputs,)
        and (set(bias.shape[:-1]) <= {1})
    )
