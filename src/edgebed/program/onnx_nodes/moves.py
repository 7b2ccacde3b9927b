"""Ops that move numbers without changing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.onnx_nodes.graph import Graph
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import Op


def _max_pool(graph: Graph, op: MaxPool) -> None:
    graph.node(
        "MaxPool",
        [*op.inputs],
        op.output,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding,
    )


def _concat(graph: Graph, op: Any) -> None:
    graph.node("Concat", [*op.inputs], op.output, axis=op.axis + 1)


def _identity(graph: Graph, op: Op) -> None:
    graph.node("Identity", [*op.inputs], op.output)


def _part(axis: int) -> Callable[[Graph, Slice | Crop], None]:
    def emit(graph: Graph, op: Slice | Crop) -> None:
        ends = [
            graph.extra(f"{op.name}/{key}", [value], np.int64)
            for key, value in (("start", op.start), ("stop", op.stop), ("axis", axis))
        ]
        graph.node("Slice", [*op.inputs, *ends], op.output)

    return emit


def _strided_slice(graph: Graph, op: StridedSlice) -> None:
    rank = len(op.begin)
    ends = [np.iinfo(np.int64).min if s < 0 else np.iinfo(np.int64).max for s in op.step]
    stops = [last if end is None else end for end, last in zip(op.end, ends, strict=True)]
    parts = (("begin", op.begin), ("end", stops), ("axes", range(1, rank + 1)), ("step", op.step))
    extras = [graph.extra(f"{op.name}/{key}", list(values), np.int64) for key, values in parts]
    graph.node("Slice", [*op.inputs, *extras], op.output)


def _reshape(graph: Graph, op: Reshape) -> None:
    shape = graph.extra(f"{op.name}/shape", [0, *op.shape], np.int64)
    graph.node("Reshape", [*op.inputs, shape], op.output)


def _transpose(graph: Graph, op: Any) -> None:
    graph.node("Transpose", [*op.inputs], op.output, perm=[0, *(axis + 1 for axis in op.perm)])


def _pad(graph: Graph, op: Pad) -> None:
    if op.mode == "symmetric":
        graph.own(op)
        return
    kind = graph.program.types[op.inputs[0]]
    amounts = graph.extra(f"{op.name}/pads", [0, *op.before, 0, *op.after], np.int64)
    inputs = [*op.inputs, amounts]
    if op.mode == "constant":
        stored = kind.zero_point if op.value is None else op.value
        inputs.append(graph.extra(f"{op.name}/value", stored, kind.dtype))
    graph.node("Pad", inputs, op.output, mode=op.mode)


def _space_to_depth(graph: Graph, op: SpaceToDepth) -> None:
    channels, height, width = graph.program.types[op.inputs[0]].chw
    b = op.block
    split = graph.extra(f"{op.name}/split", [-1, channels, height // b, b, width // b, b], np.int64)
    joined = graph.extra(
        f"{op.name}/joined", [-1, channels * b * b, height // b, width // b], np.int64
    )
    parts = graph.node("Reshape", [*op.inputs, split], f"{op.name}/parts")
    moved = graph.node("Transpose", [parts], f"{op.name}/moved", perm=[0, 3, 5, 1, 2, 4])
    graph.node("Reshape", [moved, joined], op.output)


def _depth_to_space(graph: Graph, op: Any) -> None:
    mode = op.order.upper()
    graph.node("DepthToSpace", [*op.inputs], op.output, blocksize=op.block, mode=mode)


def _gather(graph: Graph, op: Any) -> None:
    graph.node("Gather", [*op.inputs, op.indices], op.output, axis=op.axis + 1)


def _constant(graph: Graph, op: Any) -> None:
    axes = graph.extra(f"{op.name}/batch", [0], np.int64)
    graph.node("Unsqueeze", [op.value, axes], op.output)


EMIT: dict[str, Callable[[Graph, Any], None]] = {
    "concat": _concat,
    "constant": _constant,
    "crop": _part(2),
    "depth_to_space": _depth_to_space,
    "gather": _gather,
    "identity": _identity,
    "max_pool": _max_pool,
    "pad": _pad,
    "reshape": _reshape,
    "slice": _part(1),
    "space_to_depth": _space_to_depth,
    "strided_slice": _strided_slice,
    "transpose": _transpose,
}
