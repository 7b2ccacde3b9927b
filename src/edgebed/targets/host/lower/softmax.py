"""Softmax, exact in bytes or in real numbers."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgebed.program.arithmetic import high_multiply, rounding_shift
from edgebed.program.ops._gemmlowp import exp_negative
from edgebed.program.ops._softmax import INPUT_BITS, SUM_BITS, softmax_scaling
from edgebed.program.ops.softmax import Softmax
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.layout import C_TYPES, View
from edgebed.targets.host.loops import joined, place, wrap
from edgebed.targets.host.lower.expressions import quantised, real, real_value
from edgebed.targets.host.steps import Call, Operand, Packed

HEADER = "plain_softmax.h"


def softmax(frame: Frame, op: Op) -> None:
    """Lower a softmax: one call for each row."""
    layer = cast(Softmax, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    packed: tuple[Packed, ...] = ()
    if layer.exact:
        packed = _tables(frame, layer)
        body = _exact(layer, x, out)
    else:
        body = _real(frame, layer, x, out)
    text = along(x, out, layer.axis, body)
    frame.emit(Call(text, (Operand("in", x),), (Operand("out", out),), packed, (HEADER,)))


def _tables(frame: Frame, op: Softmax) -> tuple[Packed, ...]:
    """Return the exponentials of the differences 0 to -255, and what each adds to the sum."""
    multiplier, left, least = softmax_scaling(frame.kind(op.inputs[0]).scale, op.beta)
    difference = -np.arange(256, dtype=np.int64)
    near = np.where(difference >= least, difference, 0) << left
    scaled = high_multiply(near, np.array(multiplier))
    grown = np.where(difference >= least, exp_negative(scaled, INPUT_BITS), 0)
    terms = rounding_shift(grown, SUM_BITS)
    return (
        frame.pack("grown", grown.astype(np.int32), "int32_t"),
        frame.pack("terms", terms.astype(np.int32), "int32_t"),
    )


def along(x: View, out: View, axis: int, body: str) -> str:
    """Return loops over all axes but one; the body uses pointers `x` and `y` to a row's start."""
    shape = [1 if a == axis else n for a, n in enumerate(out.shape)]
    axes = joined(shape, [out.strides, x.strides])
    to, source = (place([one.strides[k] for one in axes]) for k in (0, 1))
    lines = [
        f"const {C_TYPES[x.stored]} *x = in + {source};",
        f"{C_TYPES[out.stored]} *y = out + {to};",
        body,
    ]
    return wrap([one.size for one in axes], "\n".join(lines))


def _exact(op: Softmax, x: View, out: View) -> str:
    assert op.requantize is not None
    bits = 8 if op.requantize.dtype == "int8" else 16
    fields = (
        *(x.shape[op.axis], x.strides[op.axis], out.strides[op.axis]),
        *(bits, op.requantize.low, op.requantize.high),
    )
    literal = f"(eb_softmax_rule){{{', '.join(map(str, fields))}}}"
    return f"eb_softmax_{out.stored}(x, y, grown, terms, {literal});"


def _real(frame: Frame, op: Softmax, x: View, out: View) -> str:
    count, step, to = x.shape[op.axis], x.strides[op.axis], out.strides[op.axis]
    value = real_value(f"x[i * {step}]", frame.kind(op.inputs[0]))
    result = "row[i]" if op.requantize is None else quantised("row[i]", op.requantize)
    return (
        f"float row[{count}];\n"
        f"for (int i = 0; i < {count}; i++) row[i] = {value};\n"
        f"eb_softmax_real(row, {count}, {real(op.beta)}, {int(op.log)});\n"
        f"for (int i = 0; i < {count}; i++) y[i * {to}] = ({C_TYPES[out.stored]})({result});"
    )
