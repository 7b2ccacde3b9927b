"""Builds small .tflite models, so that tests can ask other interpreters about single ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "bool": tflite.TensorType.BOOL,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: unique.
        shape: with the batch axis, as the file stores it.
        dtype: of `TYPES`.
        scale: () for no quantisation; several with `axis` for per-channel weights.
        zero_point: as many as scales.
        values: makes it a constant.
        axis: quantised dimension.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: tuple[float, ...] | float = ()
    zero_point: tuple[int, ...] | int = 0
    values: np.ndarray | None = None
    axis: int = 0

    @property
    def scales(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    @property
    def zero_points(self) -> tuple[int, ...]:
        if isinstance(self.zero_point, tuple):
            return self.zero_point
        return (self.zero_point,) * len(self.scales)


@dataclass(frozen=True)
class Operator:
    """An operator of the file.

    Attributes:
        code: name in tflite.BuiltinOperator, or "CUSTOM".
        inputs: tensor names; "" for an optional one that is left out.
        outputs: tensor names.
        options: table of tflite (as "Conv2DOptions") or "" for none.
        fields: values by the table's field (as "StrideW"); lists become int32 vectors.
        custom_code: name of a custom operator.
        custom_options: bytes of a custom operator.
    """

    code: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    custom_code: str = ""
    custom_options: bytes = b""


def constant(name: str, values: Any, dtype: str = "int32", **meaning: Any) -> Tensor:
    """Return a tensor that holds values."""
    array = np.asarray(values, dtype)
    return Tensor(name, array.shape, dtype, values=array, **meaning)


def build(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """Return the bytes of a model with one subgraph."""
    b = flatbuffers.Builder(1024)
    index = {tensor.name: i for i, tensor in enumerate(tensors)}
    # Buffer 0 is empty by convention; each tensor has one of its own.
    buffers = [_buffer(b, None), *(_buffer(b, tensor.values) for tensor in tensors)]
    table = [_tensor(b, tensor, i + 1) for i, tensor in enumerate(tensors)]
    codes = list(dict.fromkeys((op.code, op.custom_code) for op in operators))
    code_tables = [_code(b, *code) for code in codes]
    op_tables = [
        _operator(b, op, codes.index((op.code, op.custom_code)), index) for op in operators
    ]
    subgraph = _subgraph(
        b, table, [index[n] for n in inputs], [index[n] for n in outputs], op_tables
    )
    vectors = [_offsets(b, v) for v in (code_tables, [subgraph], buffers)]
    text = b.CreateString("built by a test")
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, vectors[0])
    tflite.ModelAddSubgraphs(b, vectors[1])
    tflite.ModelAddDescription(b, text)
    tflite.ModelAddBuffers(b, vectors[2])
    b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
    return bytes(b.Output())


def single(
    code: str,
    tensors: Sequence[Tensor],
    outputs: Sequence[Tensor],
    options: str = "",
    **fields: Any,
) -> bytes:
    """Return a model of one operator; tensors without values are the model's inputs, in order."""
    operator = Operator(code, [t.name for t in tensors], [t.name for t in outputs], options, fields)
    given = [t.name for t in tensors if t.values is None]
    return build([*tensors, *outputs], [operator], given, [t.name for t in outputs])


def _ints(b: flatbuffers.Builder, values: Sequence[int], size: int = 4) -> int:
    b.StartVector(size, len(values), size)
    for value in reversed(values):
        (b.PrependInt32 if size == 4 else b.PrependInt64)(int(value))
    return int(b.EndVector())


def _offsets(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependUOffsetTRelative(value)
    return int(b.EndVector())


def _buffer(b: flatbuffers.Builder, values: np.ndarray | None) -> int:
    data = None
    if values is not None:
        raw = np.ascontiguousarray(values).tobytes()
        b.StartVector(1, len(raw), 16)
        b.head = b.head - len(raw)
        b.Bytes[b.head : b.head + len(raw)] = raw
        data = b.EndVector()
    tflite.BufferStart(b)
    if data is not None:
        tflite.BufferAddData(b, data)
    return int(tflite.BufferEnd(b))


def _quantisation(b: flatbuffers.Builder, tensor: Tensor) -> int:
    b.StartVector(4, len(tensor.scales), 4)
    for scale in reversed(tensor.scales):
        b.PrependFloat32(float(scale))
    scales = b.EndVector()
    zeros = _ints(b, tensor.zero_points, 8)
    tflite.QuantizationParametersStart(b)
    tflite.QuantizationParametersAddScale(b, scales)
    tflite.QuantizationParametersAddZeroPoint(b, zeros)
    tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
    return int(tflite.QuantizationParametersEnd(b))


def _tensor(b: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    name, shape = b.CreateString(tensor.name), _ints(b, tensor.shape)
    meaning = _quantisation(b, tensor) if tensor.scales else None
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TYPES[tensor.dtype])
    tflite.TensorAddBuffer(b, buffer)
    tflite.TensorAddName(b, name)
    if meaning is not None:
        tflite.TensorAddQuantization(b, meaning)
    return int(tflite.TensorEnd(b))


def _code(b: flatbuffers.Builder, name: str, custom: str) -> int:
    number = getattr(tflite.BuiltinOperator, name)
    text = b.CreateString(custom) if custom else None
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
    if text is not None:
        tflite.OperatorCodeAddCustomCode(b, text)
    tflite.OperatorCodeAddVersion(b, 1)
    tflite.OperatorCodeAddBuiltinCode(b, number)
    return int(tflite.OperatorCodeEnd(b))


def _options(b: flatbuffers.Builder, table: str, fields: Mapping[str, Any]) -> int:
    made = {
        key: _ints(b, value) if isinstance(value, (list, tuple)) else value
        for key, value in fields.items()
    }
    getattr(tflite, f"{table}Start")(b)
    for key, value in made.items():
        getattr(tflite, f"{table}Add{key}")(b, value)
    return int(getattr(tflite, f"{table}End")(b))


def _operator(b: flatbuffers.Builder, op: Operator, code: int, index: Mapping[str, int]) -> int:
    inputs = _ints(b, [index[name] if name else -1 for name in op.inputs])
    outputs = _ints(b, [index[name] for name in op.outputs])
    options = _options(b, op.options, op.fields) if op.options else None
    custom = b.CreateByteVector(op.custom_options) if op.custom_options else None
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, code)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, op.options))
        tflite.OperatorAddBuiltinOptions(b, options)
    if custom is not None:
        tflite.OperatorAddCustomOptions(b, custom)
    return int(tflite.OperatorEnd(b))


def _subgraph(
    b: flatbuffers.Builder,
    tensors: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    operators: Sequence[int],
) -> int:
    vectors = (_offsets(b, tensors), _ints(b, inputs), _ints(b, outputs), _offsets(b, operators))
    name = b.CreateString("main")
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, vectors[0])
    tflite.SubGraphAddInputs(b, vectors[1])
    tflite.SubGraphAddOutputs(b, vectors[2])
    tflite.SubGraphAddOperators(b, vectors[3])
    tflite.SubGraphAddName(b, name)
    return int(tflite.SubGraphEnd(b))


def micro(model: bytes, *inputs: np.ndarray, arena: int = 1 << 20) -> list[np.ndarray]:
    """Return a model's outputs as TensorFlow Lite Micro's reference kernels compute them."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena)
    for i, values in enumerate(inputs):
        interpreter.set_input(values, i)
    interpreter.invoke()
    count = tflite.Model.GetRootAs(model, 0).Subgraphs(0).OutputsLength()
    return [interpreter.get_output(i).copy() for i in range(count)]


def lite(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Return a model's outputs as TensorFlow Lite's reference kernels compute them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
