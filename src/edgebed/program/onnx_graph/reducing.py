"""Reductions, Softmax, ArgMax, and the normalisations that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from edgebed.program.onnx_graph.axes import view
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import reshape_of
from edgebed.program.onnx_graph.movement import axes_of
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import end, tail_of
from edgebed.program.onnx_graph.values import Value, stripped
from edgebed.program.ops.add import Add
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary

Handler = Callable[[Draft, Node], None]


def _axes(net: Draft, node: Node, rank: int) -> tuple[int, ...]:
    given = axes_of(net, node, 1)
    if not given:
        return () if node.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    axes = sorted({node.axis(axis, rank) for axis in given})
    if len(axes) != len(given):
        raise node.fail(f"axes {given}", why="each once")
    return tuple(axes)


def reduction(function: str, before: str | None = None, after: str | None = None) -> Handler:
    """Return the importer of a reduction.

    Args:
        function: of the op `reduce`.
        before: function of each value.
        after: function of the result.
    """

    def handle(net: Draft, node: Node) -> None:
        value = net.value(node, 0)
        rank = len(value.shape)
        axes, keep = _axes(net, node, rank), bool(node.integer("keepdims", 1))
        plain = before is None and after is None
        tail = tail_of(net, node, [value]) if plain and axes and value.tensor else None
        shape = _left(value.shape, axes, keep)
        if tail is not None:
            tensor = _reduced(net, node, value, net.carrier(value), function, axes, tail.rule)
            end(net, node, reshape_of(net, node, tensor, stripped(shape)), shape, tail)
            return
        order = function in ("max", "min") and plain
        whole = value.dtype in ("int32", "int64") and plain and function != "mean"
        tensor = net.carrier(value) if order or whole else net.real(value)
        if before is not None:
            tensor = net.emit(node, Unary, [tensor], function=before)
        tensor = _reduced(net, node, value, tensor, function, axes, None)
        if after is not None:
            tensor = net.emit(node, Unary, [tensor], function=after)
        net.define(node, tensor, shape, value.dtype)

    return handle


def _left(shape: Sequence[int], axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    if keep:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _reduced(
    net: Draft,
    node: Node,
    value: Value,
    tensor: str,
    function: str,
    axes: Sequence[int],
    rule: Any,
) -> str:
    """Reduce along axes of the file; the batch axis of size 1 changes nothing."""
    axes = [axis for axis in axes if axis > 0 or value.shape[0] != 1]
    if not axes and rule is None and function not in ("l2",):
        return tensor
    seen = view(net, node, value, axes, tensor)
    places = tuple(seen.axis(axis) for axis in axes)
    return net.emit(
        node, Reduce, [seen.tensor], function=function, axes=places, keep=True, requantize=rule
    )


def softmax(log: bool) -> Handler:
    """Return the importer of Softmax or LogSoftmax."""

    def handle(net: Draft, node: Node) -> None:
        value = net.value(node, 0)
        rank = len(value.shape)
        old = node.version < 13 and not node.domain
        axis = node.axis(node.integer("axis", 1 if old else -1), rank)
        tail = tail_of(net, node, [value]) if value.tensor is not None else None
        tensor = net.carrier(value) if tail is not None else net.real(value)
        rule = tail.rule if tail is not None else None
        if old and math.prod(value.shape[axis:]) != value.shape[axis]:
            rows = (math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))
            tensor, place = reshape_of(net, node, tensor, rows), 1
        else:
            seen = view(net, node, value, [axis], tensor)
            tensor, place = seen.tensor, seen.axis(axis)
        tensor = net.emit(node, Softmax, [tensor], axis=place, log=log, requantize=rule)
        if tail is not None:
            end(net, node, reshape_of(net, node, tensor, stripped(value.shape)), value.shape, tail)
        else:
            net.define(node, tensor, value.shape)

    return handle


def arg_extreme(least: bool) -> Handler:
    """Return the importer of ArgMax or ArgMin."""

    def handle(net: Draft, node: Node) -> None:
        value = net.value(node, 0)
        axis = node.axis(node.integer("axis", 0), len(value.shape))
        keep = bool(node.integer("keepdims", 1))
        seen = view(net, node, value, [axis], net.carrier(value))
        tensor = net.emit(
            node,
            Argmax,
            [seen.tensor],
            axis=seen.axis(axis),
            keep=True,
            last=bool(node.integer("select_last_index", 0)),
            least=least,
            dtype="int64",
        )
        net.define(node, tensor, _left(value.shape, [axis], keep), "int64")

    return handle


def log_sum_exp(net: Draft, node: Node) -> None:
    """ReduceLogSumExp: max + log(sum(exp(x - max)))."""
    value = net.value(node, 0)
    axes, keep = _axes(net, node, len(value.shape)), bool(node.integer("keepdims", 1))
    real = net.real(value)
    most = _reduced(net, node, value, real, "max", axes, None)
    grown = net.emit(node, Unary, [net.emit(node, Subtract, [real, most])], function="exp")
    wide = Value(value.name, value.shape, "float32", tensor=grown)
    total = _reduced(net, node, wide, grown, "sum", axes, None)
    tensor = net.emit(node, Add, [net.emit(node, Unary, [total], function="log"), most])
    net.define(node, tensor, _left(value.shape, axes, keep))


OPERATORS: dict[str, Handler] = {
    "ReduceMean": reduction("mean"),
    "ReduceSum": reduction("sum"),
    "ReduceMax": reduction("max"),
    "ReduceMin": reduction("min"),
    "ReduceProd": reduction("prod"),
    "ReduceL1": reduction("sum", before="abs"),
    "ReduceL2": reduction("l2"),
    "ReduceSumSquare": reduction("sum", before="square"),
    "ReduceLogSum": reduction("sum", after="log"),
    "ReduceLogSumExp": log_sum_exp,
    "Softmax": softmax(log=False),
    "LogSoftmax": softmax(log=True),
    "ArgMax": arg_extreme(least=False),
    "ArgMin": arg_extreme(least=True),
}
