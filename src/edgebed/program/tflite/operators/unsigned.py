"""Kernels of TensorFlow Lite for unsigned bytes that compute on the stored numbers themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.types import TensorType

_STORED = TensorType((), "int8", 1.0, -128)
"""Signed bytes of the program read as the numbers 0..255 that the file means."""


def through_stored_bytes(layer: Layer, tensor: str, compute: Callable[[str], str]) -> str:
    """Append a function of the numbers 0..255 in float32, rounded half up to a byte.

    Halves of negative signed numbers would go the other way; so the numbers stay positive.

    Args:
        layer: whose output's scale and zero point the result has.
        tensor: signed bytes.
        compute: appends ops from a float32 tensor to another and returns its name.
    """
    rule, same = layer.rule(), np.arange(-128, 128)
    stored = layer.lookup(tensor, same, _STORED, suffix="stored")
    result = compute(layer.emit("dequantize", [stored], suffix="reals"))
    stored = layer.emit("quantize", [result], suffix="bytes", scale=1.0, zero_point=-128)
    meant = TensorType((), "int8", rule.scale, rule.zero_point)
    return layer.lookup(stored, same, meant, suffix="meant")
