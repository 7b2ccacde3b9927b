"""Ops that compute every value from the values at its place: one generated loop nest each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops._binary import Binary
from edgebed.program.ops._elementwise import Elementwise
from edgebed.program.ops._sum import early_sum, sum_factors
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.multiply import early_ratio
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.squared_difference import headroom
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.layout import C_TYPES, View
from edgebed.targets.host.loops import nest
from edgebed.targets.host.lower import bytes as bytes_
from edgebed.targets.host.lower.expressions import (
    HEADER,
    by_multiplier,
    centred,
    clamped,
    is_same_number,
    multiplied,
    quantised,
    real,
    real_value,
    rescaled,
    rounded_early,
    value_of,
    whole,
)
from edgebed.targets.host.lower.views import same_numbers
from edgebed.targets.host.steps import Call, Operand, Packed

Values = Sequence[str]
"""C expressions of the operands' stored values at one place."""


def each(
    frame: Frame,
    op: Op,
    compute: Callable[[Values], str],
    *,
    extra: Sequence[View] = (),
    packed: tuple[Packed, ...] = (),
    headers: tuple[str, ...] = (HEADER,),
) -> None:
    """Write the step of an element-wise op.

    Args:
        frame: where to.
        op: the op.
        compute: the stored output of the stored operands, as C expressions.
        extra: further operands, constants for instance; they broadcast too.
        packed: constants that `compute` uses by name.
        headers: kernel headers that `compute` needs.
    """
    inputs = [frame.view(name) for name in op.inputs]
    out = frame.output(op)
    views = [view.broadcast(out.shape) for view in (*inputs, *extra)]
    names = [f"x{number}" for number in range(len(views))]
    strides = {"out": out.strides} | {
        name: view.strides for name, view in zip(names, views, strict=True)
    }
    text = nest(
        out.shape,
        strides,
        lambda at: f"{at['out']} = ({C_TYPES[out.stored]})({compute([at[n] for n in names])});",
    )
    reads = tuple(Operand(name, view) for name, view in zip(names, views, strict=True))
    frame.emit(Call(text, reads, (Operand("out", out),), packed, headers, in_place=True))


# ---- Sums and differences ----------------------------------------------------------------------


def add(frame: Frame, op: Op) -> None:
    """Lower a sum."""
    _sum(frame, cast(Elementwise, op), "+")


def subtract(frame: Frame, op: Op) -> None:
    """Lower a difference."""
    _sum(frame, cast(Elementwise, op), "-")


def _sum(frame: Frame, op: Elementwise, sign: str) -> None:
    types = [frame.kind(name) for name in op.inputs]
    rule, join = op.requantize, f" {sign} "
    if rule is None and types[0].is_float:
        each(frame, op, join.join)
    elif bytes_.pair(frame, op, "sum" if sign == "+" else "difference"):
        return
    elif rule is None:
        each(frame, op, lambda v: f"eb_clamp({_chain(v, types, sign)}, -128, 127) + 128")
    elif rule.zero_first:
        each(frame, op, lambda v: _early_sum(v, types, rule))
    elif rule.rounding == "float":
        each(frame, op, lambda v: quantised(join.join(map(real_value, v, types)), rule))
    else:
        each(frame, op, lambda v: _fixed_sum(v, types, rule, sign))


def _chain(values: Values, types: Sequence[TensorType], sign: str) -> str:
    return f" {sign} ".join(centred(v, kind) for v, kind in zip(values, types, strict=True))


def _fixed_sum(values: Values, types: Sequence[TensorType], rule: Affine, sign: str) -> str:
    factors = sum_factors(types, rule)
    parts = [
        by_multiplier(f"{centred(v, kind)} * {1 << factors.left_shift}", *factor, rule)
        for v, kind, factor in zip(values, types, factors.operands, strict=True)
    ]
    return clamped(by_multiplier(f" {sign} ".join(parts), *factors.output, rule), rule)


def _early_sum(values: Values, types: Sequence[TensorType], rule: Affine) -> str:
    """Return ONNX Runtime's quantised Add; see `edgebed.program.ops._sum.early_sum`."""
    sums = early_sum(types, rule)
    a, b = (
        f"(float)({value_of(v, kind)} + {offset})"
        for v, kind, offset in zip(values, types, sums.offsets, strict=True)
    )
    first, second = map(real, map(float, sums.ratios))
    inner = f"fmaf({b}, {second}, {real(float(sums.fixed))})"
    return rounded_early(f"fmaf({a}, {first}, {inner})", rule)


# ---- Other pairs -------------------------------------------------------------------------------


def multiply(frame: Frame, op: Op) -> None:
    """Lower a product."""
    rule = cast(Binary, op).requantize
    types = [frame.kind(name) for name in op.inputs]
    if rule is None:
        each(frame, op, lambda v: _product(v, types[0]))
    elif bytes_.pair(frame, op, "product"):
        return
    elif rule.zero_first:
        each(frame, op, lambda v: _early_product(v, types, rule))
    elif rule.rounding == "float":
        each(frame, op, lambda v: quantised(" * ".join(map(real_value, v, types)), rule))
    else:
        a, b = types
        factor = np.float32(a.scale) * np.float32(b.scale) / np.float32(rule.scale)
        pair = zip  # keeps the lambda short
        each(
            frame,
            op,
            lambda v: clamped(
                multiplied(" * ".join(centred(*p) for p in pair(v, types, strict=True)),
                           float(factor), rule),
                rule,
            ),
        )  # fmt: skip


def _early_product(values: Values, types: Sequence[TensorType], rule: Affine) -> str:
    """Return ONNX Runtime's quantised Mul."""
    product = " * ".join(centred(*pair) for pair in zip(values, types, strict=True))
    ratio = real(float(early_ratio(types, rule)))
    return rounded_early(f"(float)({product}) * {ratio} + {real(float(rule.early_zero))}", rule)


def _product(values: Values, kind: TensorType) -> str:
    """Return a plain product; integers wrap, which C leaves open for signed ones."""
    if kind.is_float:
        return " * ".join(values)
    wide = "uint64_t" if kind.dtype == "int64" else "uint32_t"
    return " * ".join(f"({wide}){v}" for v in values)


def squared_difference(frame: Frame, op: Op) -> None:
    """Lower the square of a difference."""
    rule = cast(Binary, op).requantize
    types = [frame.kind(name) for name in op.inputs]
    if rule is None:
        each(frame, op, lambda v: _squared(v, types[0].dtype))
    elif rule.rounding == "float":
        each(
            frame,
            op,
            lambda v: quantised(_squared(_reals(v, types)), rule),
        )
    elif not bytes_.pair(frame, op, "product"):
        each(frame, op, lambda v: _fixed_square(v, types, rule))


def _reals(values: Values, types: Sequence[TensorType]) -> list[str]:
    return [real_value(v, kind) for v, kind in zip(values, types, strict=True)]


def _squared(values: Values, dtype: str = "float32") -> str:
    """Return (a - b)**2; integers wrap."""
    if dtype in ("int32", "int64"):
        wide = f"u{dtype}_t"
        values = [f"({wide}){v}" for v in values]
    a, b = values
    return f"({a} - {b}) * ({a} - {b})"


def _fixed_square(values: Values, types: Sequence[TensorType], rule: Affine) -> str:
    """Return TensorFlow Lite Micro's rule; see the op."""
    raised = headroom(types)
    twice = 2.0 * max(kind.scale for kind in types)
    a, b = (
        multiplied(f"{centred(v, kind)} * {1 << raised}", kind.scale / twice, rule)
        for v, kind in zip(values, types, strict=True)
    )
    step = float(np.float32(1 << (2 * raised)) * np.float32(rule.scale))
    factor = twice * twice / step
    return clamped(multiplied(f"({a} - {b}) * ({a} - {b})", factor, rule), rule)


def maximum(frame: Frame, op: Op) -> None:
    """Lower the larger of two."""
    if not bytes_.extreme(frame, op, "maximum"):
        _extreme(frame, cast(Binary, op), ">")


def minimum(frame: Frame, op: Op) -> None:
    """Lower the smaller of two."""
    if not bytes_.extreme(frame, op, "minimum"):
        _extreme(frame, cast(Binary, op), "<")


def _extreme(frame: Frame, op: Binary, sign: str) -> None:
    types, rule = [frame.kind(name) for name in op.inputs], op.requantize

    def compute(values: Values) -> str:
        a, b = values
        if rule is not None:
            a, b = (rescaled(v, kind, rule) for v, kind in zip(values, types, strict=True))
        return f"{a} {sign} {b} ? {a} : {b}"

    each(frame, op, compute)


def divide(frame: Frame, op: Op) -> None:
    """Lower a quotient."""
    each(frame, op, " / ".join)


def power(frame: Frame, op: Op) -> None:
    """Lower a power."""
    each(frame, op, lambda v: f"powf({v[0]}, {v[1]})")


def bit_or(frame: Frame, op: Op) -> None:
    """Lower a bitwise or; stored bytes differ from the numbers in their highest bit."""
    each(frame, op, lambda v: "((" + " | ".join(f"({x} ^ 128)" for x in v) + ") ^ 128)")


def bit_xor(frame: Frame, op: Op) -> None:
    """Lower a bitwise exclusive or."""
    each(frame, op, lambda v: "((" + " ^ ".join(f"({x} ^ 128)" for x in v) + ") ^ 128)")


# ---- One operand -------------------------------------------------------------------------------


def requantize(frame: Frame, op: Op) -> None:
    """Lower a change of scale; where the stored numbers stay, nothing is done."""
    layer, kind = cast(Requantize, op), frame.kind(op.inputs[0])
    if is_same_number(kind, layer.requantize):
        same_numbers(frame, layer)
        return
    if bytes_.table(frame, op):
        return
    each(frame, op, lambda v: rescaled(v[0], kind, layer.requantize))


def quantize(frame: Frame, op: Op) -> None:
    """Lower the step from real numbers to integers."""
    layer = cast(Quantize, op)
    low, high = layer.limits
    rule = Affine(layer.scale, layer.zero_point, "float", low, high, layer.dtype)
    if layer.rounding == "half_even":
        each(frame, op, lambda v: quantised(v[0], rule))
        return
    bias = 128 if layer.dtype == "int8" else 0
    numbers = ", ".join(f"INT64_C({n + bias})" for n in (layer.zero_point, low, high))
    each(frame, op, lambda v: f"eb_quantise_away({v[0]}, {real(layer.scale)}, {numbers})")


def dequantize(frame: Frame, op: Op) -> None:
    """Lower the step from integers to real numbers."""
    kind = frame.kind(op.inputs[0])
    each(frame, op, lambda v: real_value(v[0], kind))


def cast_(frame: Frame, op: Op) -> None:
    """Lower a numeric conversion."""
    layer, kind = cast(Cast, op), frame.kind(op.inputs[0])

    def compute(values: Values) -> str:
        value = value_of(values[0], kind)
        if layer.dtype == "bool":
            return f"{value} != 0"
        if layer.dtype == "float32":
            return f"(float){value}"
        bias = " + 128" if layer.dtype == "int8" else ""
        if kind.is_float:
            info = np.iinfo(layer.dtype)
            ends = f"{whole(int(info.min))}, {whole(int(info.max))}"
            return f"eb_truncate({value}, {ends}){bias}"
        return f"({_signed(layer.dtype)}){value}{bias}"

    each(frame, op, compute)


def _signed(dtype: str) -> str:
    return f"{dtype}_t"


def lookup(frame: Frame, op: Op) -> None:
    """Lower a table; it holds stored bytes and is entered by stored bytes."""
    layer = cast(Lookup, op)
    table = (frame.values(layer.table).astype(np.int16) + 128).astype(np.uint8)
    if layer.axis is None and bytes_.table(frame, op):
        return
    if layer.axis is None:
        packed = (frame.pack("table", table, "uint8_t"),)
        each(frame, op, lambda v: f"table[{v[0]}]", packed=packed, headers=())
        return
    _lookup_rows(frame, layer, table)


def _lookup_rows(frame: Frame, op: Lookup, table: np.ndarray[Any, Any]) -> None:
    """Lower a table with a row for each index of an axis: the row is one more operand."""
    assert op.axis is not None
    x, out = frame.view(op.inputs[0]), frame.output(op)
    starts = tuple(256 if axis == op.axis else 0 for axis in range(len(x.shape)))
    text = nest(
        out.shape,
        {"out": out.strides, "x0": x.strides, "table": starts},
        lambda at: f"{at['out']} = {at['table'][:-1]} + {at['x0']}];",
    )
    packed = (frame.pack("table", table, "uint8_t"),)
    frame.emit(Call(text, (Operand("x0", x),), (Operand("out", out),), packed, in_place=True))


def prelu(frame: Frame, op: Op) -> None:
    """Lower slopes below zero."""
    slope = frame.constant(frame.values(cast(Prelu, op).slope), "f32")
    each(frame, op, lambda v: f"{v[0]} >= 0 ? {v[0]} : {v[0]} * {v[1]}", extra=(slope,))
