"""Pools over windows and reductions over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value, stripped
from edgebed.program.tflite.operators.convolutions import strides, window_padding

_FUNCTIONS = {
    "MEAN": "mean", "SUM": "sum", "REDUCE_MAX": "max", "REDUCE_MIN": "min", "REDUCE_PROD": "prod",
}  # fmt: skip


def _window(layer: Layer, x: Value) -> dict[str, Any]:
    if len(x.shape) != 4:
        raise layer.fail(f"its input has shape {list(x.shape)}", why="4 axes are needed")
    kernel = layer.integer("FilterHeight", least=1), layer.integer("FilterWidth", least=1)
    stride = strides(layer)
    padding = window_padding(layer, (x.shape[1], x.shape[2]), kernel, stride)
    return {"kernel": kernel, "stride": stride, "padding": padding}


def average_pool(layer: Layer) -> None:
    """Convert AVERAGE_POOL_2D: half away from zero on the file's integers, padding not counted.

    The integers of uint8 are not negative, so that a half goes up; here they may be.
    """
    x, window = layer.value(0), _window(layer, layer.value(0))
    unsigned = layer.quantised(x) and layer.tensor(0).dtype == "UINT8"
    rounding = "half_up" if unsigned else "half_away"
    mean = layer.emit("avg_pool", [layer.planes(x)], rounding=rounding, **window)
    layer.give_planes(clamped(layer, mean))


def max_pool(layer: Layer) -> None:
    """Convert MAX_POOL_2D."""
    x = layer.value(0)
    layer.quantised(x)
    result = layer.emit("max_pool", [layer.planes(x)], **_window(layer, x))
    layer.give_planes(clamped(layer, result))


def clamped(layer: Layer, tensor: str) -> str:
    """Append a fused activation to a tensor that already has the output's scale."""
    activation, kind = layer.activation(), layer.network.types[tensor]
    if activation == "NONE":
        return tensor
    if kind.is_float:
        return layer.activated(tensor, activation)
    rule = layer.rule(activation=activation)
    if kind.dtype == "int8":
        table = np.clip(np.arange(-128, 128), rule.low, rule.high)
        return layer.lookup(tensor, table, layer.result(), suffix="clamp")
    return layer.emit("requantize", [tensor], suffix="clamp", requantize=rule)


def reduction(layer: Layer) -> None:
    """Convert MEAN, SUM and the REDUCE operators."""
    x = layer.value(0)
    axes = normal_axes(layer, layer.integers(1, "axes"), len(x.shape))
    keep = layer.flag("KeepDims")
    shape = tuple(
        1 if axis in axes else size
        for axis, size in enumerate(x.shape) if keep or axis not in axes
    )  # fmt: skip
    function = _FUNCTIONS[layer.operator.kind]
    tensor, inner = x.tensor, axes
    if stripped(x.shape) != x.shape and axes != (0,):
        inner = tuple(axis - 1 for axis in axes if axis)
    elif stripped(x.shape) != x.shape:
        tensor = layer.full(x)
    rule = None
    if layer.type(x).dtype not in ("int32", "int64") and layer.quantised(x):
        rule = layer.rule()
        if function == "prod":
            rule = layer.rule(rounding="float")
    result = layer.emit(
        "reduce", [tensor], function=function, axes=inner, keep=keep, requantize=rule
    )
    layer.give(result, shape)


def normal_axes(layer: Layer, axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return axes from 0 to rank - 1 in rising order.

    Raises:
        EdgebedError: there are none, or one does not exist.
    """
    if not axes or any(not -rank <= axis < rank for axis in axes):
        raise layer.fail(f"its axes are {list(axes)}", why=f"its input has {rank} axes")
    return tuple(sorted({axis % rank for axis in axes}))
