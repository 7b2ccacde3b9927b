"""Operators on two tensors, value by value, and PRELU."""

from __future__ import annotations

import numpy as np

from edgebed.program.ops.tables import prelu_table
from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value
from edgebed.program.tflite.operators.activations import scales_of
from edgebed.program.types import Constant

_KINDS = {
    "ADD": "add", "SUB": "subtract", "MUL": "multiply", "DIV": "divide", "POW": "power",
    "MAXIMUM": "maximum", "MINIMUM": "minimum",
}  # fmt: skip
_FLOAT_ONLY = ("DIV", "POW", "SQUARED_DIFFERENCE")


def _common_shape(layer: Layer, x: Value, y: Value) -> tuple[int, ...]:
    try:
        return tuple(np.broadcast_shapes(x.shape, y.shape))
    except ValueError:
        raise layer.fail(
            f"operands of shape {list(x.shape)} and {list(y.shape)}",
            why="equal sizes or 1 are needed, from the last axis",
        ) from None


def binary(layer: Layer) -> None:
    """Convert ADD, SUB, MUL, DIV, POW, MAXIMUM, MINIMUM and SQUARED_DIFFERENCE."""
    x, y = layer.value(0), layer.value(1)
    shape = _common_shape(layer, x, y)
    if layer.type(x).dtype != layer.type(y).dtype:
        raise layer.fail(f"operands are {layer.type(x).dtype} and {layer.type(y).dtype}")
    kind = layer.operator.kind
    if not layer.quantised(x):
        layer.give(_real(layer, kind, x.tensor, y.tensor), shape)
    elif kind in _FLOAT_ONLY:
        layer.give(_through_reals(layer, kind, x, y), shape)
    else:
        layer.give(_integers(layer, kind, x, y), shape)


def _real(layer: Layer, kind: str, x: str, y: str) -> str:
    if kind == "SQUARED_DIFFERENCE":
        result = layer.emit("subtract", [x, y], suffix="difference")
        return layer.emit("unary", [result], function="square")
    result = layer.emit(_KINDS[kind], [x, y])
    has_activation = kind in ("ADD", "SUB", "MUL", "DIV")
    return layer.activated(result, layer.activation()) if has_activation else result


def _through_reals(layer: Layer, kind: str, x: Value, y: Value) -> str:
    rule = layer.rule(activation=layer.activation() if kind == "DIV" else "NONE")
    layer.note("computed in real numbers; an integer kernel differs by up to a quantum")
    left = layer.emit("dequantize", [x.tensor], suffix="left")
    right = layer.emit("dequantize", [y.tensor], suffix="right")
    return layer.emit(
        "quantize", [_real(layer, kind, left, right)], suffix="quantize", scale=rule.scale,
        zero_point=rule.zero_point, dtype=rule.dtype, low=rule.low, high=rule.high,
    )  # fmt: skip


def _integers(layer: Layer, kind: str, x: Value, y: Value) -> str:
    if kind in ("MAXIMUM", "MINIMUM"):
        meaning = [(t.scale, t.zero_point) for t in (layer.type(x), layer.type(y), layer.result())]
        rule = None if len(set(meaning)) == 1 else layer.rule()
    else:
        rule = layer.rule(activation=layer.activation())
    if kind in ("ADD", "SUB"):
        _check_steps(layer, x, y)
    return layer.emit(_KINDS[kind], [x.tensor, y.tensor], requantize=rule)


def _check_steps(layer: Layer, x: Value, y: Value) -> None:
    """Refuse a result so fine that TensorFlow Lite's sums, with 15 or 20 bits more, cannot tell.

    Its kernels stop there too (`QuantizeMultiplierSmallerThanOneExp`).
    """
    coarse, fine = max(layer.type(x).scale, layer.type(y).scale), layer.result().scale
    bits = 15 if layer.type(x).dtype == "int16" else 20
    if 2 * coarse >= (1 << bits) * fine:
        raise layer.fail(
            f"scales {coarse:g} of an operand and {fine:g} of the result are too far apart",
            try_="quantise the network again",
        )


def prelu(layer: Layer) -> None:
    """Convert PRELU: float32 slopes of any shape, quantised ones per index of the last axis."""
    x = layer.value(0)
    slopes = layer.constant(1, "slope")
    if not layer.quantised(x):
        reals = layer.real(1, "slope")
        inner = reals.reshape(reals.shape[1:]) if reals.ndim == len(x.shape) else reals
        name = layer.store("slope", Constant(np.array(inner), 32))
        layer.give(layer.emit("prelu", [x.tensor], slope=name), x.shape)
        return
    if layer.type(x).dtype != "int8":
        raise layer.fail(f"PRELU on {layer.type(x).dtype}", try_="LEAKY_RELU or RELU")
    channels = x.shape[-1] if x.shape else 1
    rows = slopes.reshape(-1, slopes.shape[-1] if slopes.ndim else 1)
    if len(rows) == 0 or rows.shape[1] not in (1, channels) or (rows != rows[0]).any():
        raise layer.fail(
            f"its slopes have shape {list(slopes.shape)} and differ along more than channels",
            try_="PReLU with shared_axes=[1, 2]",
        )
    alpha = layer.network.type_of(layer.index(1))
    steps = rows[0].astype(np.int64) - alpha.zero_point
    scales = scales_of(layer, x)
    distinct, places = np.unique(steps, return_inverse=True)
    tables = np.stack([prelu_table(scales, int(step), alpha.scale) for step in distinct])[places]
    single = len(tables) == 1
    axis = None if single else len(layer.type(x).shape) - 1
    layer.give(
        layer.lookup(x.tensor, tables[0] if single else tables, layer.result(), axis=axis), x.shape
    )
