"""From the records of a file to a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine
from edgebed.program.tflite.advice import advice
from edgebed.program.tflite.dilated import with_dilations
from edgebed.program.tflite.file import File, Operator
from edgebed.program.tflite.folding import fold
from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Network, Value, stripped
from edgebed.program.tflite.operators import CONVERSIONS
from edgebed.program.types import Op, Program, TensorType


def program_of(file: File) -> Program:
    """Return the program that computes what the file says."""
    if not file.outputs:
        raise EdgebedError("the network has no output", where=file.path.name)
    network = Network(file)
    inputs = {network.names[index]: _add_input(network, index) for index in file.inputs}
    for operator in _needed(file, with_dilations(file)):
        _convert(Layer(network, operator))
    outputs = _add_outputs(network)
    ops = _alive(network.ops, outputs)
    used = {name for op in ops for name in op.constants}
    shapes = {network.names[i]: file.tensors[i].shape for i in file.inputs}
    shapes |= {network.names[i]: network.values[i].shape for i in file.outputs}
    return Program(
        name=file.path.stem,
        inputs=inputs,
        ops=tuple(ops),
        outputs=tuple(outputs),
        constants={name: value for name, value in network.constants.items() if name in used},
        notes=_notes(file, network),
        file_shapes={
            name: shape for name, shape in shapes.items() if shape != (1, *stripped(shape))
        },
    )


def _notes(file: File, network: Network) -> dict[str, str]:
    notes = {"imported from": file.path.name}
    if file.description:
        notes["description"] = file.description
    return notes | network.notes


def _needed(file: File, operators: Sequence[Operator]) -> list[Operator]:
    """Return the operators that the outputs depend on, in the file's order."""
    wanted, kept = set(file.outputs), []
    for operator in reversed(operators):
        if wanted & set(operator.outputs):
            wanted |= set(operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _alive(ops: Sequence[Op], outputs: Sequence[str]) -> list[Op]:
    wanted, kept = set(outputs), []
    for op in reversed(ops):
        if op.output in wanted:
            wanted |= set(op.inputs)
            kept.append(op)
    return kept[::-1]


def _convert(layer: Layer) -> None:
    kind = layer.operator.kind
    convert = CONVERSIONS.get(kind)
    try:
        # Scales at the ends of float32 overflow on the way to results that are then clamped.
        with np.errstate(all="ignore"):
            if fold(layer, convert):
                return
            if convert is not None:
                convert(layer)
    except EdgebedError as error:
        if (error.where or "").startswith(f"{layer.network.file.path.name}: "):
            raise
        raise layer.fail(error.what, why=error.why, try_=error.try_) from error
    if convert is None:
        raise layer.fail(
            f"the operator {kind} is not supported",
            try_=advice(kind, custom=layer.operator.is_custom, known=CONVERSIONS),
        )


def _add_input(network: Network, index: int) -> TensorType:
    tensor = network.file.tensors[index]
    if index in network.values or tensor.data is not None:
        what = "is named twice" if index in network.values else "holds constant values"
        raise EdgebedError(f"an input of the network {what}", where=network.label(index))
    _check_input_shape(network, index)
    kind = network.type_of(index)
    inner = kind.with_shape(stripped(kind.shape))
    name = network.names[index]
    if tensor.dtype == "UINT8":
        outer = TensorType(inner.shape, "uint8", inner.scale, inner.zero_point + 128)
        network.types[name] = outer
        signed = _shifted(network, name, network.free_name(f"{name}.int8"), inner)
        network.bind(index, Value(signed, tensor.shape))
        return outer
    network.types[name] = inner
    network.bind(index, Value(name, tensor.shape))
    return inner


def _check_input_shape(network: Network, index: int) -> None:
    tensor = network.file.tensors[index]
    free = sorted(tensor.dynamic - {0})
    if free:
        raise EdgebedError(
            f"axis {free[0]} of the input has no fixed size", where=network.label(index),
            why="memory is planned before the network runs",
            try_="export the network with a fixed input shape",
        )  # fmt: skip
    if 0 in tensor.shape:
        raise EdgebedError(
            f"the input has shape {list(tensor.shape)}", where=network.label(index),
            try_="export the network with a fixed input shape",
        )  # fmt: skip
    if len(tensor.shape) >= 4 and tensor.shape[0] != 1:
        raise EdgebedError(
            f"the input holds a batch of {tensor.shape[0]}", where=network.label(index),
            why="a program computes one sample at a time",
            try_="export the network with a batch size of 1",
        )  # fmt: skip


def _shifted(network: Network, tensor: str, output: str, kind: TensorType) -> str:
    """Append the exact step between unsigned and signed bytes."""
    low, high = (0, 255) if kind.dtype == "uint8" else (-128, 127)
    rule = Affine(kind.scale, kind.zero_point, low=low, high=high, dtype=kind.dtype)  # type: ignore[arg-type]
    name = network.op_name(output)
    return network.emit("requantize", name, [tensor], output=output, requantize=rule)


def _add_outputs(network: Network) -> list[str]:
    """Return the program's outputs, one of the file's name and type for each of the file's."""
    last = len(network.file.operators)
    indices = list(dict.fromkeys(network.file.outputs))
    for index in indices:
        Layer(network, Operator(last, "OUTPUT", (index,), (index,))).value(0)
    _rename(network, _output_names(network, indices))
    return [_add_output(network, index) for index in indices]


def _output_names(network: Network, indices: Sequence[int]) -> dict[str, str]:
    """Return new names for tensors, so that each output's name is free or already its own."""
    counts = Counter(network.values[index].tensor for index in indices)
    written = {op.output for op in network.ops}
    names: dict[str, str] = {}
    for index in indices:
        tensor, name = network.values[index].tensor, network.names[index]
        if tensor not in written:
            continue
        if _is_unsigned(network, index):
            if tensor == name:
                names[tensor] = network.free_name(f"{name}.int8")
        elif counts[tensor] == 1 and tensor != name:
            names[tensor] = name
    return names


def _rename(network: Network, names: dict[str, str]) -> None:
    if not names:
        return
    network.types = {names.get(name, name): kind for name, kind in network.types.items()}
    network.ops = [
        replace(
            op,
            inputs=tuple(names.get(name, name) for name in op.inputs),
            output=names.get(op.output, op.output),
        )
        for op in network.ops
    ]
    for index, value in list(network.values.items()):
        network.bind(index, Value(names.get(value.tensor, value.tensor), value.shape))


def _is_unsigned(network: Network, index: int) -> bool:
    return network.file.tensors[index].dtype == "UINT8"


def _add_output(network: Network, index: int) -> str:
    """Append what brings an output to its own name and type, and return the name."""
    tensor, name = network.values[index].tensor, network.names[index]
    kind = network.types[tensor]
    if tensor == name:
        return name
    if _is_unsigned(network, index) and name not in network.types:
        outer = TensorType(kind.shape, "uint8", kind.scale, kind.zero_point + 128)
        return _shifted(network, tensor, name, outer)
    if name in network.types:  # an unsigned input that is an output too
        return name
    return network.emit("identity", network.op_name(f"output_{index}"), [tensor], output=name)
