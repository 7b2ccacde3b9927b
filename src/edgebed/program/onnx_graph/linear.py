"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import numpy as np

from edgebed.program.onnx_graph.axes import view
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import numbers
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import (
    Meaning,
    has_several_scales,
    meaning_of,
    output_dtype,
    parameters,
    quantised_meaning,
    steps_of,
)
from edgebed.program.onnx_graph.values import OFFSET, Steps, Value, spread
from edgebed.program.ops.add import Add
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array


def dequantize_linear(net: Draft, node: Node) -> None:
    """Keep the integers and note what they mean; an op that needs reals computes them."""
    value = net.value(node, 0)
    if value.array is not None:
        _dequantized_constant(net, node, value)
        return
    if has_several_scales(net, node):
        _dequantize_channels(net, node, value)
        return
    meaning = meaning_of(net, node, 1, 2, value.dtype)
    tensor, kind = value.tensor, net.kind_of(value)
    assert tensor is not None and kind is not None
    if value.dtype == meaning.dtype and meaning.fits(kind):
        net.put(Value(node.output, value.shape, "float32", tensor=tensor, integers=value.dtype))
        return
    net.define(node, reals_of(net, node, value, meaning), value.shape)


def _dequantized_constant(net: Draft, node: Node, value: Value) -> None:
    array = value.array
    assert array is not None
    if array.dtype.kind not in "iu" or value.steps is not None:
        raise node.fail(f"dequantises {value.dtype}", why="integers are needed")
    scales, zeros = parameters(net, node, 1, 2, str(array.dtype))
    net.define_constant(node.output, array, steps_of(node, array, scales, zeros))


def reals_of(net: Draft, node: Node, value: Value, meaning: Meaning) -> str:
    """Return (q - zero_point) * scale of integers whose tensor has another meaning, in float32."""
    if value.tensor is None or value.dtype == "float32":
        raise node.fail(f"dequantises {value.dtype}", why="integers are needed")
    numbers = net.emit(node, Cast, [value.tensor], dtype="float32")
    shift = OFFSET.get(value.dtype, 0) - meaning.zero_point
    if shift:
        numbers = net.emit(node, Add, [numbers, net.reals(node, float(shift))])
    if meaning.scale == 1:
        return numbers
    return net.emit(node, Multiply, [numbers, net.reals(node, meaning.scale)])


def quantize_linear(net: Draft, node: Node) -> None:
    """Quantise a real tensor; one that is integers already changes its scale."""
    value = net.value(node, 0)
    if value.array is not None:
        _quantized_constant(net, node, value)
        return
    if has_several_scales(net, node):
        _quantize_channels(net, node, value)
        return
    meaning = quantised_meaning(net, node)
    rule, integers = meaning.rule(), net.quantised(value)
    if integers is None:
        tensor = net.emit(
            node,
            Quantize,
            [net.real(value)],
            scale=rule.scale,
            zero_point=rule.zero_point,
            dtype=rule.dtype,
            rounding="half_even",
        )
        net.define(node, tensor, value.shape, meaning.dtype)
    elif meaning.fits(net.types[integers]):
        net.put(Value(node.output, value.shape, meaning.dtype, tensor=integers))
    else:
        tensor = net.emit(node, Requantize, [integers], requantize=rule)
        net.define(node, tensor, value.shape, meaning.dtype)


def _quantize_channels(net: Draft, node: Node, value: Value) -> None:
    """Quantise an activation with a scale a channel: whole numbers held in float32."""
    scales, zeros = parameters(net, node, 1, 2, output_dtype(node))
    start, scale, zero = _channels(net, node, value, net.real(value), (scales, zeros))
    steps = net.emit(node, Divide, [start, scale])
    steps = net.emit(node, Add, [net.emit(node, Unary, [steps], function="round"), zero])
    ends = np.iinfo(zeros.dtype)
    low, high = float(ends.min), float(ends.max)
    whole = net.emit(node, Unary, [steps], function="clip", low=low, high=high)
    net.define(node, whole, value.shape, str(zeros.dtype))


def _dequantize_channels(net: Draft, node: Node, value: Value) -> None:
    """Return activations with a scale a channel to reals."""
    parts = parameters(net, node, 1, 2, value.dtype)
    start, scale, zero = _channels(net, node, value, numbers(net, node, value), parts)
    centred = net.emit(node, Subtract, [start, zero])
    net.define(node, net.emit(node, Multiply, [centred, scale]), value.shape)


def _channels(
    net: Draft, node: Node, value: Value, tensor: str, parts: tuple[Array, Array]
) -> tuple[str, str, str]:
    """Return a tensor in which the node's axis exists, and its scales and zero points along it."""
    axis = node.axis(node.integer("axis", 1), len(value.shape))
    count = value.shape[axis]
    if node.integer("block_size", 0) or any(part.size != count for part in parts):
        sizes = f"{parts[0].size} scales on axis {axis} of shape {value.shape}"
        raise node.fail(sizes, why=f"one, or {count} are known for an activation")
    if not (parts[0] > 0).all():
        raise node.fail("one of its scales is 0", why="they must be positive")
    seen = view(net, node, value, [axis], tensor)
    shape = [1] * len(net.types[seen.tensor].shape)
    shape[axis - seen.shift] = count
    scale, zero = (net.reals(node, part.reshape(shape)) for part in parts)
    return seen.tensor, scale, zero


def _quantized_constant(net: Draft, node: Node, value: Value) -> None:
    array = net.array(value)
    assert array is not None
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise node.fail("quantises something else than finite real numbers")
    scales, zeros = parameters(net, node, 1, 2, output_dtype(node))
    steps = steps_of(node, np.empty(array.shape, zeros.dtype), scales, zeros)
    net.define_constant(node.output, quantised(array, steps))


def quantised(array: Array, steps: Steps) -> Array:
    """Return integers for reals: round half to even, then saturate."""
    scale = spread(steps.scale.astype(np.float32), array.ndim, array.shape, steps)
    zero = spread(steps.zero_point.astype(np.int64), array.ndim, array.shape, steps)
    limits = np.iinfo(steps.zero_point.dtype)
    with np.errstate(all="ignore"):
        whole = np.rint(array.astype(np.float32) / scale).astype(np.float64) + zero
    return np.clip(np.nan_to_num(whole), limits.min, limits.max).astype(steps.zero_point.dtype)
