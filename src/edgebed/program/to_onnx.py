"""Save a program as one ONNX file: a QDQ graph to look at and run, the exact program beside it.

The graph opens in viewers and runs in ONNX Runtime within one quantum per op (its rounding is
half to even, a program's may differ). The exact semantics travel as text in the metadata and
refer to the graph's own initializers, so nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebed import files
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.text import to_text
from edgebed.program.types import Constant, Op, Program, TensorType

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 10
METADATA_KEY = "edgebed.program"


def save(program: Program, path: Path) -> None:
    """Write a program to an `.onnx` file, atomically.

    Raises:
        EdgebedError: the file cannot be written.
    """
    files.write_bytes(path, to_model(program).SerializeToString(deterministic=True))


def to_model(program: Program) -> onnx.ModelProto:
    """Return the ONNX model of a program."""
    from onnx import helper

    graph = _Graph(program)
    for op in program.ops:
        _EMIT[op.kind](graph, op)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            program.name,
            [_value(name, kind) for name, kind in program.inputs.items()],
            [_value(name, program.types[name]) for name in program.outputs],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgebed",
    )
    helper.set_model_props(model, {METADATA_KEY: to_text(program, values=False)})
    return model


class _Graph:
    """Collects nodes and initializers."""

    def __init__(self, program: Program) -> None:
        from onnx import numpy_helper

        self.program = program
        self.nodes: list[Any] = []
        self._from_array = numpy_helper.from_array
        self.initializers = [
            self._from_array(np.ascontiguousarray(constant.values), name)
            for name, constant in program.constants.items()
        ]

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node and return its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def extra(self, name: str, values: Any, dtype: Any) -> str:
        """Add a small constant that belongs to the drawing, not to the program."""
        self.initializers.append(self._from_array(np.asarray(values, dtype=dtype), name))
        return name

    def real(self, tensor: str, user: Op) -> str:
        """Return the real-valued form of a tensor or constant, for one user."""
        source: Constant | TensorType = (
            self.program.constants.get(tensor) or self.program.types[tensor]
        )
        name = f"{user.name}/{tensor}"
        if any(node.name == f"{name}/real" for node in self.nodes):
            return f"{name}/real"  # an op may read a tensor twice
        scale = self.extra(f"{name}/scale", source.scale, np.float32)
        return self.node("DequantizeLinear", [tensor, scale], f"{name}/real")

    def quantised(self, real: str, op: Op) -> None:
        """Write the op's output from its real-valued form."""
        kind = self.program.types[op.output]
        scale = self.extra(f"{op.name}/out_scale", kind.scale, np.float32)
        if kind.dtype == "int8":
            zero = self.extra(f"{op.name}/out_zero", 0, np.int8)
            self.node("QuantizeLinear", [real, scale, zero], op.output)
            return
        steps = self.node("Div", [real, scale], f"{op.name}/steps")
        whole = self.node("Round", [steps], f"{op.name}/whole")
        self.node("Cast", [whole], op.output, to=_elem_type("int32"))


def _elem_type(dtype: str) -> int:
    from onnx import TensorProto

    return int({"int8": TensorProto.INT8, "int32": TensorProto.INT32}[dtype])


def _value(name: str, kind: TensorType) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, _elem_type(kind.dtype), ["N", *kind.shape])


def _weighted(graph: _Graph, op: Conv2d | ConvTranspose2d | Dense, real: str) -> None:
    if op.activation == "relu":
        real = graph.node("Relu", [real], f"{op.name}/relu")
    elif op.activation == "abs":
        real = graph.node("Abs", [real], f"{op.name}/abs")
    graph.quantised(real, op)


def _operands(graph: _Graph, op: Conv2d | ConvTranspose2d | Dense) -> list[str]:
    return [graph.real(tensor, op) for tensor in (*op.inputs, *op.constants)]


def _conv2d(graph: _Graph, op: Conv2d) -> None:
    real = graph.node(
        "Conv",
        _operands(graph, op),
        f"{op.name}/real",
        pads=op.padding,
        strides=op.stride,
        dilations=op.dilation,
        group=op.groups,
    )
    _weighted(graph, op, real)


def _conv_transpose2d(graph: _Graph, op: ConvTranspose2d) -> None:
    real = graph.node(
        "ConvTranspose",
        _operands(graph, op),
        f"{op.name}/real",
        pads=(*op.padding, *op.padding),
        strides=op.stride,
        output_padding=op.output_padding,
    )
    _weighted(graph, op, real)


def _dense(graph: _Graph, op: Dense) -> None:
    x, *weights = _operands(graph, op)
    flat = graph.node("Flatten", [x], f"{op.name}/flat", axis=1)
    product = graph.node("Gemm", [flat, *weights], f"{op.name}/product", transB=1)
    shape = graph.extra(f"{op.name}/shape", [0, -1, 1, 1], np.int64)
    _weighted(graph, op, graph.node("Reshape", [product, shape], f"{op.name}/real"))


def _max_pool(graph: _Graph, op: MaxPool) -> None:
    graph.node("MaxPool", [*op.inputs], op.output, kernel_shape=op.kernel, strides=op.stride)


def _avg_pool(graph: _Graph, op: AvgPool) -> None:
    x = graph.real(op.inputs[0], op)
    name = f"{op.name}/real"
    graph.quantised(
        graph.node("AveragePool", [x], name, kernel_shape=op.kernel, strides=op.stride), op
    )


def _arithmetic(kind: str) -> Callable[[_Graph, Op], None]:
    def emit(graph: _Graph, op: Op) -> None:
        left, *rest = [graph.real(tensor, op) for tensor in op.inputs]
        for index, right in enumerate(rest):
            left = graph.node(kind, [left, right], f"{op.name}/real{index}")
        graph.quantised(left, op)

    return emit


def _bitwise(kind: str) -> Callable[[_Graph, Op], None]:
    def emit(graph: _Graph, op: Op) -> None:
        left = op.inputs[0]
        for index, right in enumerate(op.inputs[1:]):
            last = index == len(op.inputs) - 2
            left = graph.node(kind, [left, right], op.output if last else f"{op.name}/{index}")

    return emit


def _concat(graph: _Graph, op: Op) -> None:
    graph.node("Concat", [*op.inputs], op.output, axis=1)


def _identity(graph: _Graph, op: Op) -> None:
    graph.node("Identity", [*op.inputs], op.output)


def _part(axis: int) -> Callable[[_Graph, Slice | Crop], None]:
    def emit(graph: _Graph, op: Slice | Crop) -> None:
        ends = [
            graph.extra(f"{op.name}/{key}", [value], np.int64)
            for key, value in (("start", op.start), ("stop", op.stop), ("axis", axis))
        ]
        graph.node("Slice", [*op.inputs, *ends], op.output)

    return emit


def _reshape(graph: _Graph, op: Reshape) -> None:
    shape = graph.extra(f"{op.name}/shape", [0, *op.shape], np.int64)
    graph.node("Reshape", [*op.inputs, shape], op.output)


def _space_to_depth(graph: _Graph, op: SpaceToDepth) -> None:
    channels, height, width = graph.program.types[op.inputs[0]].shape
    b = op.block
    split = graph.extra(f"{op.name}/split", [-1, channels, height // b, b, width // b, b], np.int64)
    joined = graph.extra(
        f"{op.name}/joined", [-1, channels * b * b, height // b, width // b], np.int64
    )
    parts = graph.node("Reshape", [*op.inputs, split], f"{op.name}/parts")
    moved = graph.node("Transpose", [parts], f"{op.name}/moved", perm=[0, 3, 5, 1, 2, 4])
    graph.node("Reshape", [moved, joined], op.output)


_EMIT: dict[str, Callable[[_Graph, Any], None]] = {
    "add": _arithmetic("Add"),
    "avg_pool": _avg_pool,
    "bit_or": _bitwise("BitwiseOr"),
    "bit_xor": _bitwise("BitwiseXor"),
    "concat": _concat,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "crop": _part(2),
    "dense": _dense,
    "identity": _identity,
    "max_pool": _max_pool,
    "reshape": _reshape,
    "slice": _part(1),
    "space_to_depth": _space_to_depth,
    "subtract": _arithmetic("Sub"),
}
