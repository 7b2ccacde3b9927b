"""Layers with weights, in reals or in integers: what convolutions and matrix products share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import IntegerWeights, Tail, integer_weights, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Array

INT32 = np.iinfo(np.int32)


def integer_plan(
    net: Draft, node: Node, x: Value, w: Value, axis: int, *, bias: bool = False
) -> tuple[Tail, IntegerWeights] | None:
    """Return how a layer is computed in integers; None where it stays real.

    Args:
        net: so far.
        node: the layer.
        x: its activation.
        w: its weights.
        axis: of the weights' output channels.
        bias: an Add of a constant that follows is the bias.
    """
    if x.tensor is None:
        return None
    weights = integer_weights(w, axis)
    tail = tail_of(net, node, [x], bias=bias) if weights is not None else None
    return None if tail is None or weights is None else (tail, weights)


def integer_layer(
    net: Draft,
    node: Node,
    kind: type[Weighted],
    tensor: str,
    plan: tuple[Tail, IntegerWeights],
    weight: Array,
    bias: Value | None,
    **attributes: Any,
) -> str:
    """Append a layer on integers.

    The factors are s_in * s_w / s_out in float32, in this order, as ONNX Runtime computes them.

    Args:
        net: so far.
        node: the layer.
        kind: of op.
        tensor: its input.
        plan: from `integer_plan`.
        weight: int8, in the program's layout.
        bias: in the file, or None.
        **attributes: of the op.
    """
    tail, weights = plan
    step = np.float32(net.types[tensor].scale) * weights.scales.astype(np.float32)
    channels = weight.shape[1] if kind is ConvTranspose2d else weight.shape[0]
    factors = step / np.float32(tail.rule.scale)
    names = {
        "weight": net.constant(
            node,
            "weight",
            weight,
            bits=8,
            scale=float(weights.scales.max()),
            zero_point=weights.zero_point,
            scales=tuple(map(float, weights.scales)) if weights.scales.size > 1 else (),
        ),
        "multiplier": net.constant(node, "multiplier", factors.astype(np.float32)),
    }
    whole = integer_bias(net, node, bias or tail.bias, step, channels)
    if whole is not None:
        names["bias"] = net.constant(node, "bias", whole)
    return net.emit(node, kind, [tensor], requantize=tail.rule, **names, **attributes)


def integer_bias(
    net: Draft, node: Node, bias: Value | None, step: Array, channels: int
) -> Array | None:
    """Return a bias as int32 accumulator units; None for none.

    Integers whose scale is that of the accumulator (within 1 in 1000), or that have none (QLinear
    operators), are taken as they are, as ONNX Runtime does; anything else is rounded to the
    accumulator's scale.
    """
    if bias is None:
        return None
    if bias.array is None:
        raise node.fail("its bias is computed from the network's input", try_="a constant bias")
    steps = bias.steps
    if steps is None and bias.array.dtype == np.int32:
        return _of_channels(node, bias.array, channels)
    if steps is not None and bias.array.dtype == np.int32 and not steps.zero_point.any():
        close = np.isclose(steps.scale.reshape(-1), step, rtol=1e-3, atol=0)
        if close.all():
            return _of_channels(node, bias.array, channels)
    real = net.array(bias)
    assert real is not None
    if not np.isfinite(real).all():
        raise node.fail("its bias holds NaN or infinity", try_="train or export it again")
    wide = _of_channels(node, real, channels).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.nan_to_num(np.rint(wide / step.astype(np.float64)))
    result: Array = np.clip(whole, INT32.min, INT32.max).astype(np.int32)
    return result


def real_bias(net: Draft, node: Node, bias: Value | None, x: Value, w: Value) -> Array | None:
    """Return a bias in reals; integers without a scale of their own have the accumulator's."""
    if bias is None:
        return None
    values = net.array(bias)
    if values is None:
        raise node.fail("its bias is computed from the network's input", try_="a constant bias")
    kind = net.kind_of(x)
    if values.dtype != np.int32 or w.steps is None or kind is None or kind.is_float:
        return values
    step = np.float32(kind.scale) * w.steps.scale.astype(np.float32).reshape(-1)
    result: Array = values.astype(np.float32) * step
    return result


def _of_channels(node: Node, values: Array, channels: int) -> Array:
    flat = values.reshape(-1)
    if flat.size == 1:
        return np.repeat(flat, channels)
    if flat.size != channels:
        raise node.fail(f"its bias has shape {values.shape}", why=f"{channels} values are needed")
    return flat.copy()


def real_layer(
    net: Draft,
    node: Node,
    kind: type[Weighted],
    tensor: str,
    weight: Array,
    bias: Array | None,
    **attributes: Any,
) -> str:
    """Append a layer on real numbers; see `integer_layer`."""
    channels = weight.shape[1] if kind is ConvTranspose2d else weight.shape[0]
    if weight.dtype.kind != "f":
        raise node.fail(f"its weights hold {weight.dtype}", why="real numbers are needed")
    names = {"weight": net.constant(node, "weight", weight.astype(np.float32))}
    if bias is not None and bias.dtype.kind != "f":
        raise node.fail(f"its bias holds {bias.dtype} and its output real numbers")
    if bias is not None:
        wide = _of_channels(node, bias.astype(np.float32), channels)
        names["bias"] = net.constant(node, "bias", wide)
    return net.emit(node, kind, [tensor], **names, **attributes)


def fold_scale_and_shift(
    net: Draft, node: Node, x: Value, scale: Array | None, shift: Array | None
) -> bool:
    """Fold x * scale + shift, one value a channel, into the layer that wrote x.

    Returns:
        False, and nothing has changed, where x is not the result of a real layer that only this
        node reads.
    """
    op = net.writer(x.tensor) if x.tensor is not None else None
    if not isinstance(op, Weighted) or not net.types[op.output].is_float:
        return False
    if not net.sole(x, node) or getattr(op, "activation", "none") != "none":
        return False
    if isinstance(op, Dense) and not op.last_axis:
        return False
    weight = net.constants[op.weight].values
    bias = None if op.bias is None else net.constants[op.bias].values
    axis = 1 if isinstance(op, ConvTranspose2d) else 0
    channels = weight.shape[axis]
    total = np.zeros(channels, np.float32) if bias is None else bias
    names: dict[str, Any] = {}
    if scale is not None:
        row = np.broadcast_to(scale, channels).astype(np.float32)
        spread = row.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        names["weight"] = net.constant(node, "weight", weight * spread)
        total = total * row
    if shift is not None:
        total = total + np.broadcast_to(shift, channels)
    if bias is not None or shift is not None:
        names["bias"] = net.constant(node, "bias", total.astype(np.float32))
    net.rewrite(op, replace(op, **names))
    net.alias(node.output, x)
    return True


def channel_values(array: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """Return a constant as one value, or one a channel, if it broadcasts so; else None.

    Args:
        array: the constant, with the file's axes.
        shape: of the program's tensor that it meets.
        axis: of the channels in that shape.
    """
    sizes = list(array.shape)
    while len(sizes) > len(shape) and sizes[0] == 1:
        sizes.pop(0)
    sizes = [1] * (len(shape) - len(sizes)) + sizes
    if len(sizes) > len(shape) or sizes[axis] not in (1, shape[axis]):
        return None
    if any(size != 1 for index, size in enumerate(sizes) if index != axis):
        return None
    return array.reshape(-1)
