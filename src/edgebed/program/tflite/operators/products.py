"""FULLY_CONNECTED and BATCH_MATMUL."""

from __future__ import annotations

import math

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value, stripped
from edgebed.program.tflite.operators.convolutions import weight_shape
from edgebed.program.tflite.operators.weights import parameters


def fully_connected(layer: Layer) -> None:
    """Convert FULLY_CONNECTED; the input is cut into rows as long as the weights."""
    if layer.integer("WeightsFormat", default=0):
        raise layer.fail("its weights are shuffled", try_="export it with plain weights")
    if layer.known(1) is None:
        _computed_weights(layer)
        return
    x = layer.value(0)
    outputs, inner = weight_shape(layer, 1, 2)
    lead = _lead(layer, x, inner)
    fields = parameters(layer, x, place=1, bias=2, output_axis=0, order=(0, 1))
    rows = _rows(layer, x, lead, inner)
    result = layer.emit("dense", [rows], last_axis=True, **fields)
    if layer.type(x).is_float:
        result = layer.activated(result, layer.activation())
    layer.give(result, (*lead, outputs))


def _lead(layer: Layer, x: Value, inner: int) -> tuple[int, ...]:
    """Return the axes of the output before the last one."""
    total = math.prod(x.shape)
    keep = layer.flag("KeepNumDims")
    if total % inner or (keep and x.shape[-1:] != (inner,)):
        raise layer.fail(f"its input has shape {list(x.shape)}", why=f"rows of {inner} are needed")
    return x.shape[:-1] if keep else (total // inner,)


def _rows(layer: Layer, x: Value, lead: tuple[int, ...], inner: int) -> str:
    shape = (*stripped(lead), inner)
    if layer.type(x).shape == shape:
        return x.tensor
    return layer.emit("reshape", [x.tensor], suffix="rows", shape=shape)


def _computed_weights(layer: Layer) -> None:
    x, y = layer.value(0), layer.value(1)
    if layer.has(2):
        raise layer.fail("its weights are computed by the network and it has a bias",
                         try_="BATCH_MATMUL and ADD")  # fmt: skip
    if len(y.shape) != 2:
        raise layer.fail(f"its weights have shape {list(y.shape)}", why="two axes are needed")
    outputs, inner = y.shape
    lead = _lead(layer, x, inner)
    rows = layer.emit("reshape", [x.tensor], suffix="rows", shape=(math.prod(lead), inner))
    activation = layer.activation()
    rule = layer.rule(activation=activation) if layer.quantised(x) else None
    result = layer.emit("batch_matmul", [rows, layer.full(y)], transpose_b=True, requantize=rule)
    if rule is None:
        result = layer.activated(result, activation)
    layer.give(result, (*lead, outputs))


def batch_matmul(layer: Layer) -> None:
    """Convert BATCH_MATMUL."""
    x, y = layer.value(0), layer.value(1)
    if min(len(x.shape), len(y.shape)) < 2:
        raise layer.fail(f"operands {list(x.shape)} and {list(y.shape)}", why="2 axes are needed")
    adjoint = layer.flag("AdjX"), layer.flag("AdjY")
    rule = layer.rule() if layer.quantised(x) else None
    result = layer.emit(
        "batch_matmul", [_matrices(layer, x), _matrices(layer, y)],
        transpose_a=adjoint[0], transpose_b=adjoint[1], requantize=rule,
    )  # fmt: skip
    rows = x.shape[-1] if adjoint[0] else x.shape[-2]
    columns = y.shape[-2] if adjoint[1] else y.shape[-1]
    outer = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    layer.give(result, (*outer, rows, columns))


def _matrices(layer: Layer, value: Value) -> str:
    return value.tensor if len(value.shape) > 2 else layer.full(value)
