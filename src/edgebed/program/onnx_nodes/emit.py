"""Which ONNX nodes an op becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.onnx_nodes import moves, reals
from edgebed.program.onnx_nodes.graph import Graph
from edgebed.program.types import Op

Emitter = Callable[[Graph, Any], None]


def emit(graph: Graph, op: Op) -> None:
    """Append the nodes of an op; one that ONNX does not have becomes a node of our own domain."""
    emitter = _EMIT.get(op.kind)
    if emitter is None:
        graph.own(op)
    else:
        emitter(graph, op)


def _bitwise(kind: str) -> Emitter:
    def bitwise(graph: Graph, op: Op) -> None:
        left = op.inputs[0]
        for index, right in enumerate(op.inputs[1:]):
            last = index == len(op.inputs) - 2
            left = graph.node(kind, [left, right], op.output if last else f"{op.name}/{index}")

    return bitwise


def _lookup(graph: Graph, op: Any) -> None:
    index = graph.node("Cast", [*op.inputs], f"{op.name}/number", to=6)  # int32
    offset: Any = 128
    if op.axis is not None:
        shape = graph.program.types[op.inputs[0]].shape
        rows = np.arange(shape[op.axis]) * 256 + 128
        offset = rows.reshape([-1 if axis == op.axis else 1 for axis in range(len(shape))])
    shift = graph.extra(f"{op.name}/offset", offset, np.int32)
    index = graph.node("Add", [index, shift], f"{op.name}/index")
    flat = graph.extra(f"{op.name}/flat", [-1], np.int64)
    table = graph.node("Reshape", [op.table, flat], f"{op.name}/table")
    graph.node("Gather", [table, index], op.output)


_EMIT: dict[str, Emitter] = {
    "bit_or": _bitwise("BitwiseOr"),
    "bit_xor": _bitwise("BitwiseXor"),
    "lookup": _lookup,
    **moves.EMIT,
    **reals.EMIT,
}
