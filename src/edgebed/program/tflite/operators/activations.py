"""Functions of one tensor, value by value: float32 ones as they are, int8 ones as tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebed.program.arithmetic import Affine, multiply_by_quantized, quantize_multiplier
from edgebed.program.ops._functions import Function, apply
from edgebed.program.ops.tables import Scales, Table, real_table, table
from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value

_FUNCTIONS: dict[str, Function] = {
    "RELU": "relu",
    "RELU6": "relu6",
    "RELU_N1_TO_1": "clip",
    "RELU_0_TO_1": "clip",
    "LEAKY_RELU": "leaky_relu",
    "LOGISTIC": "sigmoid",
    "TANH": "tanh",
    "HARD_SWISH": "hard_swish",
    "ELU": "elu",
    "GELU": "gelu",
    "EXP": "exp",
    "LOG": "log",
    "ABS": "abs",
    "NEG": "neg",
    "SQRT": "sqrt",
    "RSQRT": "rsqrt",
    "SQUARE": "square",
    "SIN": "sin",
    "COS": "cos",
    "FLOOR": "floor",
    "CEIL": "ceil",
    "ROUND": "round",
    "SIGN": "sign",
}
KINDS = tuple(_FUNCTIONS)


def scales_of(layer: Layer, x: Value) -> Scales:
    """Return the meaning of an operator's input and output."""
    source, target = layer.type(x), layer.result()
    return Scales(source.scale, source.zero_point, target.scale, target.zero_point)


def unary(layer: Layer) -> None:
    """Convert an operator that applies a function to each value."""
    x = layer.value(0)
    fields = _fields(layer)
    function = _FUNCTIONS[layer.operator.kind]
    if layer.operator.kind == "GELU" and layer.flag("Approximate"):
        function = "gelu_tanh"
    if not layer.quantised(x):
        layer.give(layer.emit("unary", [x.tensor], function=function, **fields), x.shape)
        return
    layer.rule()  # the output must have a scale
    if layer.type(x).dtype == "int8":
        values = _table(layer, x, function, fields)
        layer.give(layer.lookup(x.tensor, values, layer.result()), x.shape)
        return
    layer.give(_wide(layer, x, function, fields), x.shape)


def _fields(layer: Layer) -> dict[str, Any]:
    kind = layer.operator.kind
    if kind == "LEAKY_RELU":
        return {"alpha": layer.number("Alpha")}
    if kind == "ELU":
        return {"alpha": 1.0}
    if kind in ("RELU_N1_TO_1", "RELU_0_TO_1"):
        return {"low": -1.0 if kind == "RELU_N1_TO_1" else 0.0, "high": 1.0}
    return {}


def _table(layer: Layer, x: Value, function: Function, fields: dict[str, Any]) -> Table:
    scales = scales_of(layer, x)
    if _is_clamp(layer, function):
        return _rescaled(scales, layer.rule(activation=layer.operator.kind))
    if not _has_kernel(layer, function, scales):
        # What the integer kernels do not take is computed in real numbers for each of the values.
        def real(values: np.ndarray) -> np.ndarray:
            return apply(function, values, **{"alpha": 0.0, "beta": 0.0, **fields})

        return real_table(real, scales, rounding="fixed_point")
    return table(function, scales, **fields)


def _is_clamp(layer: Layer, function: Function) -> bool:
    """True for clamps that TensorFlow Lite, not its micro version, has a kernel for."""
    unsigned = layer.tensor(0).dtype == "UINT8"
    return layer.operator.kind == "RELU_N1_TO_1" or (function == "relu6" and unsigned)


def _rescaled(scales: Scales, rule: Affine) -> Table:
    multiplier, shift = (np.array(n) for n in quantize_multiplier(scales.ratio))
    steps = multiply_by_quantized(scales.centred, multiplier, shift)
    limited: Table = np.clip(steps + scales.zero_out, rule.low, rule.high).astype(np.int8)
    return limited


def _has_kernel(layer: Layer, function: Function, scales: Scales) -> bool:
    """False where TensorFlow Lite Micro has no kernel for the tensor's meaning."""
    if layer.tensor(0).dtype == "UINT8" and function not in ("relu", "leaky_relu", "hard_swish"):
        return False
    fixed = {"sigmoid": (1 / 256, -128), "tanh": (1 / 128, 0)}.get(function)
    if fixed is not None:
        return (scales.scale_out, scales.zero_out) == fixed
    if function == "relu6" and np.float32(scales.scale_in) != np.float32(scales.scale_out):
        layer.note("as TensorFlow Lite Micro: the clamped input, read by the output's scale")
    if function == "hard_swish":
        return scales.ratio / 128 < 1
    return True


def _wide(layer: Layer, x: Value, function: Function, fields: dict[str, Any]) -> str:
    """Append a function of int16: a clamp exactly, others through real numbers."""
    rule = layer.rule()
    if function in ("relu", "relu6") or (function == "clip" and fields["low"] == -1.0):
        rule = layer.rule(activation=layer.operator.kind)
        return layer.emit("requantize", [x.tensor], requantize=rule)
    layer.note("computed in real numbers; a 16-bit kernel differs by some quanta")
    reals = layer.emit("dequantize", [x.tensor], suffix="reals")
    result = layer.emit("unary", [reals], function=function, **fields)
    return layer.emit(
        "quantize", [result], suffix="quantize", scale=rule.scale, zero_point=rule.zero_point,
        dtype=rule.dtype,
    )  # fmt: skip
