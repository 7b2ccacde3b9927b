"""Softmax and lengths along the last axis."""

from __future__ import annotations

from typing import Any

from edgebed.program.tflite.layer import Layer
from edgebed.program.types import TensorType

_EXACT = {"softmax": {"int8": (2.0**-8, -128), "int16": (2.0**-16, -32768)},
          "l2_normalize": {"int8": (2.0**-7, 0)}}  # fmt: skip


def _along_last_axis(layer: Layer, kind: str, **fields: Any) -> None:
    x = layer.value(0)
    if not x.shape:
        raise layer.fail("its input has no axes")
    tensor = x.tensor if layer.type(x).shape else layer.full(x)
    axis = len(layer.network.types[tensor].shape) - 1
    rule = None
    if layer.quantised(x):
        exact = _has_kernel(layer.type(x), layer.result(), kind) and not fields.get("log")
        rule = layer.rule(rounding="fixed_point" if exact else "float")
        if not exact:
            layer.note("computed in real numbers; an integer kernel differs by some quanta")
    layer.give(layer.emit(kind, [tensor], axis=axis, requantize=rule, **fields), x.shape)


def _has_kernel(source: TensorType, target: TensorType, kind: str) -> bool:
    known = _EXACT[kind].get(target.dtype)
    return source.dtype == "int8" and known == (target.scale, target.zero_point)


def softmax(layer: Layer) -> None:
    """Convert SOFTMAX."""
    _along_last_axis(layer, "softmax", beta=layer.number("Beta", default=1.0))


def log_softmax(layer: Layer) -> None:
    """Convert LOG_SOFTMAX."""
    _along_last_axis(layer, "softmax", log=True)


def l2_normalization(layer: Layer) -> None:
    """Convert L2_NORMALIZATION."""
    layer.activation()
    _along_last_axis(layer, "l2_normalize")
