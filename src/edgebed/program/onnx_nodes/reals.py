"""Ops that compute: their real-valued form between dequantise and quantise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgebed.program.onnx_nodes.graph import Graph, elem_type
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.resize import Resize
from edgebed.program.types import Op

Emitter = Callable[[Graph, Any], None]
_BOUNDED = {"nearest": "nearest", "bilinear": "linear", "cubic": "cubic"}


def _operands(graph: Graph, op: Weighted) -> list[str]:
    names = (*op.inputs, op.weight, *([op.bias] if op.bias is not None else []))
    return [graph.real(tensor, op) for tensor in names]


def _activated(graph: Graph, op: Any, kind: str, inputs: list[str], **attributes: Any) -> None:
    """Write kind(inputs) through the op's activation."""
    after = {"relu": "Relu", "abs": "Abs"}.get(op.activation)
    if after is None:
        graph.result(kind, inputs, op, **attributes)
        return
    graph.result(after, [graph.node(kind, inputs, f"{op.name}/real", **attributes)], op)


def _conv2d(graph: Graph, op: Conv2d) -> None:
    _activated(
        graph,
        op,
        "Conv",
        _operands(graph, op),
        pads=op.padding,
        strides=op.stride,
        dilations=op.dilation,
        group=op.groups,
    )


def _conv_transpose2d(graph: Graph, op: ConvTranspose2d) -> None:
    _activated(
        graph,
        op,
        "ConvTranspose",
        _operands(graph, op),
        pads=(*op.padding, *op.padding),
        strides=op.stride,
        output_padding=op.output_padding,
    )


def _dense(graph: Graph, op: Dense) -> None:
    x, weight, *bias = _operands(graph, op)
    if op.last_axis:
        turned = graph.node("Transpose", [weight], f"{op.name}/turned", perm=[1, 0])
        if not bias:
            _activated(graph, op, "MatMul", [x, turned])
            return
        product = graph.node("MatMul", [x, turned], f"{op.name}/product")
        _activated(graph, op, "Add", [product, *bias])
        return
    flat = graph.node("Flatten", [x], f"{op.name}/flat", axis=1)
    product = graph.node("Gemm", [flat, weight, *bias], f"{op.name}/product", transB=1)
    shape = graph.extra(f"{op.name}/shape", [0, -1, 1, 1], np.int64)
    _activated(graph, op, "Reshape", [product, shape])


def _avg_pool(graph: Graph, op: AvgPool) -> None:
    graph.result(
        "AveragePool",
        [graph.real(op.inputs[0], op)],
        op,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding,
        count_include_pad=int(op.include_padding),
    )


def _elementwise(kind: str) -> Emitter:
    def emit(graph: Graph, op: Op) -> None:
        left, *rest = _aligned(graph, op)
        for index, right in enumerate(rest[:-1]):
            left = graph.node(kind, [left, right], f"{op.name}/real{index}")
        graph.result(kind, [left, rest[-1]], op)

    return emit


def _aligned(graph: Graph, op: Op) -> list[str]:
    """Return the operands with axes of size 1 behind the batch, so that ranks are equal."""
    types = [graph.program.types[name] for name in op.inputs]
    rank = max(len(kind.shape) for kind in types)
    found = []
    for index, (name, kind) in enumerate(zip(op.inputs, types, strict=True)):
        real = graph.real(name, op)
        if len(kind.shape) < rank:
            shape = [0, *[1] * (rank - len(kind.shape)), *kind.shape]
            size = graph.extra(f"{op.name}/size{index}", shape, np.int64)
            real = graph.node("Reshape", [real, size], f"{op.name}/aligned{index}")
        found.append(real)
    return found


_PLAIN = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "hard_swish": "HardSwish", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg", "floor": "Floor", "ceil": "Ceil",
    "round": "Round", "softplus": "Softplus", "softsign": "Softsign", "erf": "Erf", "sign": "Sign",
    "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "mish": "Mish", "selu": "Selu",
}  # fmt: skip
_SHAPED = {"leaky_relu": "LeakyRelu", "elu": "Elu", "celu": "Celu"}


def _unary(graph: Graph, op: Any) -> None:
    (x,) = op.inputs
    if op.function in _PLAIN:
        graph.node(_PLAIN[op.function], [x], op.output)
    elif op.function in _SHAPED:
        graph.node(_SHAPED[op.function], [x], op.output, alpha=op.alpha)
    elif op.function == "hard_sigmoid":
        graph.node("HardSigmoid", [x], op.output, alpha=op.alpha, beta=op.beta)
    elif op.function in ("clip", "relu6"):
        low, high = (op.low, op.high) if op.function == "clip" else (0.0, 6.0)
        ends = [(k, v) for k, v in (("low", low), ("high", high)) if v is not None]
        names = {k: graph.extra(f"{op.name}/{k}", v, np.float32) for k, v in ends}
        inputs = [x, names.get("low", ""), names.get("high", "")]
        graph.node("Clip", inputs if "high" in names else inputs[:2], op.output)
    elif op.function == "square":
        graph.node("Mul", [x, x], op.output)
    elif op.function == "silu":
        graph.node("Mul", [x, graph.node("Sigmoid", [x], f"{op.name}/gate")], op.output)
    elif op.function == "rsqrt":
        root = graph.node("Sqrt", [x], f"{op.name}/root")
        graph.node("Reciprocal", [root], op.output)
    else:
        graph.own(op)


def _softmax(graph: Graph, op: Any) -> None:
    x = graph.real(op.inputs[0], op)
    if op.beta != 1.0:
        beta = graph.extra(f"{op.name}/beta", op.beta, np.float32)
        x = graph.node("Mul", [x, beta], f"{op.name}/scaled")
    graph.result("LogSoftmax" if op.log else "Softmax", [x], op, axis=op.axis + 1)


_REDUCTIONS = {
    "mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin",
    "prod": "ReduceProd", "l2": "ReduceL2",
}  # fmt: skip


def _reduce(graph: Graph, op: Any) -> None:
    axes = graph.extra(f"{op.name}/axes", [axis + 1 for axis in op.axes], np.int64)
    x = graph.real(op.inputs[0], op)
    graph.result(_REDUCTIONS[op.function], [x, axes], op, keepdims=int(op.keep))


def _resize(graph: Graph, op: Resize) -> None:
    given = {"tf_half_pixel_for_nn": "half_pixel"}.get(op.coordinates, op.coordinates)
    rows, columns = graph.program.types[op.inputs[0]].chw[1:]
    ratio = op.scales or (op.size[0] / rows, op.size[1] / columns)
    scales = graph.extra(f"{op.name}/scales", [1, 1, *ratio], np.float32)
    graph.result(
        "Resize",
        [graph.real(op.inputs[0], op), "", scales],
        op,
        mode=_BOUNDED[op.mode],
        coordinate_transformation_mode=given,
        nearest_mode=op.nearest,
        cubic_coeff_a=op.cubic,
    )


def _requantize(graph: Graph, op: Op) -> None:
    graph.quantised(graph.real(op.inputs[0], op), op)


def _quantize(graph: Graph, op: Op) -> None:
    graph.quantised(op.inputs[0], op)


def _dequantize(graph: Graph, op: Op) -> None:
    real = graph.real(op.inputs[0], op)
    graph.node("Identity", [real], op.output)


def _cast(graph: Graph, op: Any) -> None:
    graph.node("Cast", [*op.inputs], op.output, to=elem_type(op.dtype))


def _prelu(graph: Graph, op: Any) -> None:
    graph.node("PRelu", [*op.inputs, op.slope], op.output)


def _argmax(graph: Graph, op: Any) -> None:
    kind = "ArgMin" if op.least else "ArgMax"
    settings = {"axis": op.axis + 1, "keepdims": int(op.keep), "select_last_index": int(op.last)}
    if op.dtype == "int64":
        graph.node(kind, [*op.inputs], op.output, **settings)
        return
    index = graph.node(kind, [*op.inputs], f"{op.name}/index", **settings)
    graph.node("Cast", [index], op.output, to=elem_type(op.dtype))


def _batch_matmul(graph: Graph, op: Any) -> None:
    operands: list[str] = []
    rank = 1 + max(len(graph.program.types[name].shape) for name in op.inputs)
    for real, turn in zip(_aligned(graph, op), (op.transpose_a, op.transpose_b), strict=True):
        if turn:
            perm = [*range(rank - 2), rank - 1, rank - 2]
            real = graph.node("Transpose", [real], f"{op.name}/turned{len(operands)}", perm=perm)
        operands.append(real)
    graph.result("MatMul", operands, op)


def _squared_difference(graph: Graph, op: Any) -> None:
    apart = graph.node("Sub", _aligned(graph, op), f"{op.name}/apart")
    graph.result("Mul", [apart, apart], op)


EMIT: dict[str, Emitter] = {
    "add": _elementwise("Add"),
    "argmax": _argmax,
    "avg_pool": _avg_pool,
    "batch_matmul": _batch_matmul,
    "cast": _cast,
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "dense": _dense,
    "dequantize": _dequantize,
    "divide": _elementwise("Div"),
    "maximum": _elementwise("Max"),
    "minimum": _elementwise("Min"),
    "multiply": _elementwise("Mul"),
    "power": _elementwise("Pow"),
    "prelu": _prelu,
    "quantize": _quantize,
    "reduce": _reduce,
    "requantize": _requantize,
    "resize": _resize,
    "softmax": _softmax,
    "squared_difference": _squared_difference,
    "subtract": _elementwise("Sub"),
    "unary": _unary,
}
