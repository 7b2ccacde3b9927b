"""Operators between number types."""

from __future__ import annotations

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value
from edgebed.program.tflite.quantisation import offset, real_values
from edgebed.program.types import TensorType


def quantize(layer: Layer) -> None:
    """Convert QUANTIZE, from float32 or from integers of another scale."""
    x = layer.value(0)
    rule = layer.rule()
    if layer.type(x).is_float:
        result = layer.emit(
            "quantize", [x.tensor], scale=rule.scale, zero_point=rule.zero_point,
            dtype=rule.dtype, rounding="half_away",
        )  # fmt: skip
    elif layer.type(x) == layer.result().with_shape(layer.type(x).shape):
        result = x.tensor  # as from unsigned bytes to signed ones
    else:
        result = layer.emit("requantize", [x.tensor], requantize=rule)
    layer.give(result, x.shape)


def dequantize(layer: Layer) -> None:
    """Convert DEQUANTIZE; constants become float32 here."""
    values = layer.known(0)
    if values is not None:
        layer.give_known(real_values(layer.tensor(0), values))
        return
    x = layer.value(0)
    layer.give(layer.emit("dequantize", [x.tensor]), x.shape)


def cast(layer: Layer) -> None:
    """Convert CAST, which keeps the stored numbers whatever they mean."""
    x = layer.value(0)
    target = layer.network.file.tensors[layer.output_index(0)]
    if target.dtype == "UINT8":
        raise layer.fail("a cast to UINT8 is not supported", try_="QUANTIZE")
    dtype = layer.result().dtype
    tensor = _stored_numbers(layer, x)
    if layer.network.types[tensor].dtype != dtype:
        tensor = layer.emit("cast", [tensor], dtype=dtype)
    layer.give(tensor, x.shape)


def _stored_numbers(layer: Layer, x: Value) -> str:
    """Return the numbers of the file; those of unsigned bytes are 128 more than the program's."""
    if not offset(layer.tensor(0)):
        return x.tensor
    plain = TensorType((), "int8", 1.0, -offset(layer.tensor(0)))
    same = layer.lookup(x.tensor, np.arange(-128, 128), plain, suffix="bytes")
    return layer.emit("dequantize", [same], suffix="numbers")
