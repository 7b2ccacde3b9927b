"""Weights, biases and factors of the layers that multiply."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import multiplier_table
from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value
from edgebed.program.tflite.quantisation import offset
from edgebed.program.types import Constant

Array = npt.NDArray[Any]

_INTEGER_WEIGHTS: Final = ("INT8", "UINT8", "INT4")
_BIAS_TOLERANCE: Final = 0.02


def parameters(
    layer: Layer,
    x: Value,
    *,
    place: int,
    bias: int,
    output_axis: int,
    order: tuple[int, ...],
    inputs_first: bool = False,
) -> dict[str, Any]:
    """Add a layer's constants and return the fields of its op that name them.

    Args:
        layer: the layer.
        x: its input.
        place: of the weights among the operands.
        bias: place of the bias.
        output_axis: of the weights in the file; scales per channel must lie along it.
        order: of the file's axes in the program, output channels first.
        inputs_first: the program's op wants the first two axes exchanged.
    """
    quantised = layer.quantised(x)
    build = _integer_constants if quantised else _float_constants
    weight, count = build(layer, place, order, inputs_first)
    fields: dict[str, Any] = {"weight": weight, "bias": _bias(layer, x, bias, count)}
    if quantised:
        _check_scales(layer, place, output_axis)
        factors = _factors(layer, x, place, bias)
        table = Constant(multiplier_table(factors), 32)
        fields["multiplier"] = layer.store("multiplier", table)
        fields["requantize"] = layer.rule(activation=layer.activation())
    return fields


def _arranged(values: Array, order: tuple[int, ...], inputs_first: bool) -> tuple[Array, int]:
    moved = values.transpose(order)
    count = moved.shape[0]
    return np.ascontiguousarray(moved.swapaxes(0, 1) if inputs_first else moved), count


def _float_constants(
    layer: Layer, place: int, order: tuple[int, ...], inputs_first: bool
) -> tuple[str, int]:
    values, count = _arranged(layer.real(place, "weight"), order, inputs_first)
    if layer.tensor(place).dtype in _INTEGER_WEIGHTS:
        layer.network.notes["hybrid layers"] = (
            "weights of layers with float activations were dequantised when the file was read"
        )
    return layer.store("weight", Constant(values, 32)), count


def _integer_constants(
    layer: Layer, place: int, order: tuple[int, ...], inputs_first: bool
) -> tuple[str, int]:
    tensor = layer.tensor(place)
    raw = layer.constant(place, "weight")
    found = tensor.quantisation
    if tensor.dtype not in _INTEGER_WEIGHTS or found is None:
        scale = "no scale" if found is None else "a scale"
        raise layer.fail(
            f"its weights are {tensor.dtype} with {scale} on a quantised input",
            why=f"{' or '.join(_INTEGER_WEIGHTS)} weights with scales are needed",
        )
    if tensor.dtype != "UINT8" and any(found.zero_points):
        raise layer.fail(
            f"its weights have zero point {next(z for z in found.zero_points if z)}",
            why=f"{tensor.dtype} weights are symmetric, with zero point 0",
            try_="quantise the weights symmetrically",
        )
    values, count = _arranged(raw, order, inputs_first)
    single = len(found.scales) == 1
    constant = Constant(
        values, 4 if tensor.dtype == "INT4" else 8, scale=found.scales[0],
        zero_point=found.zero_points[0] - offset(tensor), scales=() if single else found.scales,
    )  # fmt: skip
    return layer.store("weight", constant), count


def _check_scales(layer: Layer, place: int, output_axis: int) -> None:
    found = layer.tensor(place).quantisation
    assert found is not None  # _integer_constants() saw to it
    if len(found.scales) > 1 and found.axis != output_axis:
        raise layer.fail(
            f"quantized_dimension of its weights is {found.axis}",
            why=f"{layer.operator.kind} has its output channels along axis {output_axis}",
            try_="export it again",
        )


def _bias(layer: Layer, x: Value, place: int, count: int) -> str | None:
    if not layer.has(place):
        return None
    if layer.type(x).is_float:
        values: Array = layer.real(place, "bias")
        bits = 32
    else:
        values = layer.constant(place, "bias")
        bits = {"int32": 32, "int64": 64}.get(str(values.dtype), 0)
        if not bits:
            raise layer.fail(f"its bias is {values.dtype}", why="INT32 or INT64 is needed")
        if bits == 32 and layer.type(x).dtype == "int16":
            layer.note("a 32-bit bias on 16-bit activations: the last rounding may differ by one")
    if values.size != count:
        raise layer.fail(f"its bias has {values.size} values", why=f"it has {count} channels")
    return layer.store("bias", Constant(np.array(values.reshape(-1)), bits))


def _factors(layer: Layer, x: Value, place: int, bias: int) -> list[float]:
    """Return s_in * s_w / s_out in double precision, one or one per output channel."""
    found = layer.tensor(place).quantisation
    assert found is not None
    source, target = layer.type(x).scale, layer.result().scale
    if len(found.scales) == 1:
        _check_bias_scale(layer, bias, source * found.scales[0], target)
    return [source * scale / target for scale in found.scales]


def _check_bias_scale(layer: Layer, place: int, product: float, target: float) -> None:
    found = layer.tensor(place).quantisation if layer.has(place) else None
    if found is None or layer.tensor(place).dtype != "INT32":
        return
    if abs(product - found.scales[0]) / target > _BIAS_TOLERANCE:
        raise layer.fail(
            f"its bias has scale {found.scales[0]}",
            why=f"scale of the input times scale of the weights is {product}",
            try_="quantise the network again",
        )
