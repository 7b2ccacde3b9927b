"""From a graph to a program: inputs, the nodes in order, outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine
from edgebed.program.onnx_graph.branches import branch
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.finishing import finished
from edgebed.program.onnx_graph.folding import fold
from edgebed.program.onnx_graph.graph import Declared, Graph
from edgebed.program.onnx_graph.node import BROKEN, Node
from edgebed.program.onnx_graph.operators import handler
from edgebed.program.onnx_graph.scales import Meaning, meaning_of
from edgebed.program.onnx_graph.values import Value, as_dtype, stripped
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.requantize import Requantize
from edgebed.program.types import DType, Program, TensorType


def build(graph: Graph) -> Program:
    """Return the program of a graph.

    Raises:
        EdgebedError: an operator is not supported, or does not fit its inputs.
    """
    net = Draft(graph)
    for name, array in graph.constants.items():
        net.define_constant(name, array)
    varying = set(graph.inputs)
    for node in graph.nodes:
        if not net.inputs and varying.intersection(node.inputs):
            _define_inputs(net)
        if node.output not in net.done:
            _import(net, node)
    if not net.inputs:
        _define_inputs(net)
    results = {name: _output(net, name) for name in graph.outputs}
    shapes = {name: declared.shape for name, declared in graph.inputs.items()}
    shapes.update({name: net.values[name].shape for name in results})
    return finished(net, results, shapes)


def _import(net: Draft, node: Node) -> None:
    try:
        if node.kind == "If" and not node.domain:
            for inner in branch(net, node):
                _import(net, inner)
        elif not fold(net, node):
            handler(node)(net, node)
    except EdgebedError as error:
        if error.where and error.where.startswith(node.where):
            raise
        raise node.fail(error.what, why=error.why, try_=error.try_) from error
    except BROKEN as error:
        why = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise node.fail("its inputs and attributes do not fit", why=why) from error


def _define_inputs(net: Draft) -> None:
    for name, declared in net.graph.inputs.items():
        net.inputs[name], tensor = _input(net, name, declared)
        dtype = "float32" if declared.dtype.startswith(("float", "bfloat")) else declared.dtype
        net.put(Value(name, declared.shape, dtype, tensor=tensor))


def _input(net: Draft, name: str, declared: Declared) -> tuple[TensorType, str]:
    """Return the type of a program's input and the tensor that the nodes read."""
    shape, dtype = stripped(declared.shape), declared.dtype
    place = f"{net.graph.where}, input {name!r}"
    if dtype.startswith(("float", "bfloat")):
        kind = TensorType(shape, "float32", 1.0)
    elif dtype in ("int8", "uint8", "int16"):
        meaning = _meaning(net, name, dtype)
        kind = TensorType(shape, dtype, meaning.scale, meaning.zero_point)  # type: ignore[arg-type]
    elif dtype in ("int32", "int64", "bool"):
        kind = TensorType(shape, dtype, 1.0)  # type: ignore[arg-type]
    else:
        raise EdgebedError(f"holds {dtype}", where=place, try_="float32, uint8, int8 or int32")
    net.types[name] = kind
    if dtype != "uint8":
        return kind, name
    rule = Affine(kind.scale, kind.zero_point - 128, "float", dtype="int8")
    output = net.unused(f"{name}/int8", net.types)
    return kind, net.append(Requantize, output, [name], output, {"requantize": rule})


def _meaning(net: Draft, name: str, dtype: str) -> Meaning:
    """Return what an input's integers mean to the first node that reads them."""
    for node in net.graph.readers.get(name, ()):
        if node.kind == "DequantizeLinear" and node.inputs[0] == name:
            return replace(meaning_of(net, node, 1, 2, dtype), dtype=dtype)
    return Meaning(dtype, 1.0, 0)


def _output(net: Draft, name: str) -> str:
    value = net.values.get(name)
    if value is None:
        raise EdgebedError(
            f"output {name!r} is a second result that is not supported", where=net.graph.where
        )
    return _result(net, value)


def _result(net: Draft, value: Value) -> str:
    """Return the tensor that leaves the program for a value, in the file's type."""
    place = f"{net.graph.where}, output {value.name!r}"
    if value.dtype == "float32":
        return net.real(value)
    tensor = net.carrier(value)
    kind = net.types[tensor]
    if value.dtype == "uint8" and kind.dtype == "int8":
        zero = kind.zero_point + 128
        rule = Affine(kind.scale, zero, "float", 0, 255, "uint8")
        output = net.unused(f"{value.name}/uint8", net.types)
        return net.append(Requantize, output, [tensor], output, {"requantize": rule})
    if kind.is_float and value.dtype in get_args(DType):
        output = net.unused(f"{value.name}/{value.dtype}", net.types)
        return net.append(Cast, output, [tensor], output, {"dtype": value.dtype})
    if kind.dtype != value.dtype or kind.dtype != as_dtype(value.dtype):
        raise EdgebedError(f"holds {value.dtype}", where=place, try_="float32, uint8 or int8")
    return tensor
