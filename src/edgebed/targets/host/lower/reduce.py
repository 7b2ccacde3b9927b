"""Sums, means, extremes along axes."""

from __future__ import annotations

from math import prod
from typing import Final, cast

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._reduce import mean_factor, sum_factor
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.reduce import Reduce
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame, is_map, pitches
from edgebed.targets.host.kernels import pool, requantize
from edgebed.targets.host.kernels.requantize import Clamp
from edgebed.targets.host.layout import C_TYPES, View, stored_bias
from edgebed.targets.host.loops import joined, place, wrap
from edgebed.targets.host.lower.expressions import (
    HEADER,
    by_multiplier,
    clamped,
    quantised,
    real,
    real_value,
    rescaled,
)
from edgebed.targets.host.steps import Call, Operand

_FLOAT: Final = {
    "mean": ("0", "acc += v;"),
    "sum": ("0", "acc += v;"),
    "prod": ("1", "acc *= v;"),
    "l2": ("0", "acc += v * v;"),
    "max": ("-INFINITY", "acc = v > acc ? v : acc;"),
    "min": ("INFINITY", "acc = v < acc ? v : acc;"),
}
"""Start and step of each function in real numbers."""


def reduce(frame: Frame, op: Op) -> None:
    """Lower a reduction."""
    layer, kind = cast(Reduce, op), frame.kind(op.inputs[0])
    rule = layer.requantize
    if _is_pool(layer, kind):
        _pooled(frame, layer, kind)
    elif kind.is_float or (_in_reals(rule) and layer.function in ("prod", "l2", "max", "min")):
        count = prod(kind.shape[axis] for axis in layer.axes)
        ending = {"mean": f"acc / {count}.0f", "l2": "sqrtf(acc)"}.get(layer.function, "acc")
        result = ending if rule is None else quantised(ending, rule)
        value = real_value("{}", kind)
        _loops(frame, layer, "float", value, *_FLOAT[layer.function], result)
    else:
        _whole(frame, layer, kind)


def _whole(frame: Frame, op: Reduce, kind: TensorType) -> None:
    """Write a reduction of integers; sums of int64 wrap."""
    rule = op.requantize
    start, step = {
        "max": ("INT64_MIN", "acc = v > acc ? v : acc;"),
        "min": ("INT64_MAX", "acc = v < acc ? v : acc;"),
        "prod": ("1", "acc = (int64_t)((uint64_t)acc * (uint64_t)v);"),
    }.get(op.function, ("0", "acc += v;"))
    if rule is None:
        result = "acc"
    elif op.function in ("max", "min"):
        result = rescaled("acc", kind, rule)
    else:
        result = _total(op, kind, rule)
    _loops(frame, op, "int64_t", "{}", start, step, result)


def _in_reals(rule: Affine | None) -> bool:
    return rule is not None and rule.rounding == "float"


def _total(op: Reduce, kind: TensorType, rule: Affine) -> str:
    """Return a mean or sum at the output's scale, from the sum of the stored numbers."""
    count, mean = prod(kind.shape[axis] for axis in op.axes), op.function == "mean"
    centred = f"(acc - INT64_C({count * (kind.zero_point + stored_bias(kind))}))"
    if _in_reals(rule):
        total = f"(float){centred} * {real(kind.scale)}"
        return quantised(f"{total} / {count}.0f" if mean else total, rule)
    find = mean_factor(kind, rule, count) if mean else sum_factor(kind, rule)
    return clamped(by_multiplier(centred, *find, rule), rule)


def _loops(
    frame: Frame, op: Reduce, number: str, value: str, start: str, step: str, result: str
) -> None:
    x, out = frame.view(op.inputs[0]), frame.output(op)
    kept = out.reshaped(tuple(1 if a in op.axes else n for a, n in enumerate(x.shape)))
    assert kept is not None  # only axes of size 1 come or go
    inner = _inner(x, op.axes, number, value, step)
    shape = [1 if axis in op.axes else size for axis, size in enumerate(x.shape)]
    axes = joined(shape, [kept.strides, x.strides])
    to, source = (place([one.strides[k] for one in axes]) for k in (0, 1))
    body = "\n".join(
        [
            f"const {C_TYPES[x.stored]} *from = in + {source};",
            f"{number} acc = {start};",
            *inner.splitlines(),
            f"out[{to}] = ({C_TYPES[out.stored]})({result});",
        ]
    )
    text = wrap([one.size for one in axes], body)
    frame.emit(Call(text, (Operand("in", x),), (Operand("out", out),), (), (HEADER,)))


def _inner(x: View, axes: tuple[int, ...], number: str, value: str, step: str) -> str:
    sizes = [x.shape[axis] for axis in axes]
    index = place([x.strides[axis] for axis in axes], "k")
    return (
        wrap(sizes, f"const {number} v = {value.format(f'from[{index}]')};\n{step}", "k")
        if (sizes)
        else f"const {number} v = {value.format('from[0]')};\n{step}"
    )


def _is_pool(op: Reduce, kind: TensorType) -> bool:
    rule = op.requantize
    return (
        op.function == "mean"
        and rule is not None
        and rule.rounding == "fixed_point"
        and kind.dtype == "int8"
        and rule.dtype == "int8"
        and len(kind.shape) == 3
        and op.axes in ((0, 1), (1, 2))
    )


def _pooled(frame: Frame, op: Reduce, kind: TensorType) -> None:
    """Write the mean over a map as one window of the pooling kernel."""
    assert op.requantize is not None
    rule = op.requantize
    x, out = frame.view(op.inputs[0]), frame.output(op)
    channel = 2 if op.axes == (0, 1) else 0
    turned = x.permuted((channel, *op.axes))
    if not is_map(turned):
        copy = frame.scratch("u8", turned.shape, (1, 2, 0))
        frame.copy(turned, copy)
        turned = copy
    channels, height, width = turned.shape
    target = out if out.is_block else frame.scratch("u8", out.shape)
    row, pixel = pitches(turned)
    shape = pool.Pool(
        in_height=height, in_width=width, out_height=1, out_width=1, channels=channels,
        in_row=row, in_pixel=pixel, out_row=channels, out_pixel=channels, kernel=(height, width),
        clamp=Clamp(rule.zero_point, rule.low, rule.high),
    )  # fmt: skip
    multiplier, shift = mean_factor(kind, rule, height * width)
    table = requantize.fixed(np.array([multiplier] * 16), np.array([shift] * 16), shape.clamp)
    average = pool.Average("rule", in_zero=kind.zero_point, rule=table)
    packed = (frame.pack("table", table.table, "int32_t"),)
    text = pool.average_pool_call(shape, average, "x", "out", "table")
    reads, writes = (Operand("x", turned),), (Operand("out", target),)
    frame.emit(Call(text, reads, writes, packed, (pool.HEADER,)))
    frame.copy(target, out)


def argmax(frame: Frame, op: Op) -> None:
    """Lower the place of the largest or least value."""
    layer = cast(Argmax, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    kept = out.reshaped(tuple(1 if a == layer.axis else n for a, n in enumerate(x.shape)))
    assert kept is not None
    sign = ("<" if layer.least else ">") + ("=" if layer.last else "")
    shape = [1 if axis == layer.axis else size for axis, size in enumerate(x.shape)]
    axes = joined(shape, [kept.strides, x.strides])
    to, source = (place([one.strides[k] for one in axes]) for k in (0, 1))
    step = x.strides[layer.axis]
    body = f"""const {C_TYPES[x.stored]} *from = in + {source};
int best = 0;
for (int k = 1; k < {x.shape[layer.axis]}; k++)
  if (from[k * {step}] {sign} from[best * {step}]) best = k;
out[{to}] = best;"""
    text = wrap([one.size for one in axes], body)
    frame.emit(Call(text, (Operand("in", x),), (Operand("out", out),), (), (HEADER,)))
