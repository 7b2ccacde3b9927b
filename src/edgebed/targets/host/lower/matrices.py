"""Products of two activations, and vectors brought to length one."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.layout import C_TYPES, View
from edgebed.targets.host.loops import joined, place, wrap
from edgebed.targets.host.lower.expressions import (
    centred,
    clamped,
    ends,
    multiplied,
    quantised,
    real,
    real_value,
)
from edgebed.targets.host.lower.softmax import along
from edgebed.targets.host.steps import Call, Operand

_BLOCK = 256


def batch_matmul(frame: Frame, op: Op) -> None:
    """Lower a matrix product: sums of a block of columns grow together, row by row."""
    layer = cast(BatchMatmul, op)
    a, b = (frame.view(name) for name in op.inputs)
    out = frame.output(op)
    if layer.transpose_a:
        a = _swapped(a)
    if layer.transpose_b:
        b = _swapped(b)
    outer = out.shape[:-2]
    wide = [view.broadcast((*outer, *view.shape[-2:])) for view in (a, b)]
    loops = joined((*outer, out.shape[-2]), [
        out.strides[:-1], wide[0].strides[:-1], (*wide[1].strides[:-2], 0),
    ])  # fmt: skip
    starts = [place([one.strides[k] for one in loops]) for k in range(3)]
    body = _row(frame, layer, (a, b, out), starts)
    text = wrap([one.size for one in loops], body)
    reads = (Operand("a", a), Operand("b", b))
    macs = out.size * a.shape[-1]
    frame.emit(Call(text, reads, (Operand("out", out),), (), ("plain.h",), macs=macs))


def _swapped(view: View) -> View:
    rank = len(view.shape)
    return view.permuted((*range(rank - 2), rank - 1, rank - 2))


def _row(frame: Frame, op: BatchMatmul, views: tuple[View, View, View], starts: list[str]) -> str:
    """Return the statements of one row of the result."""
    a, b, out = views
    types = [frame.kind(name) for name in op.inputs]
    inner, columns = b.shape[-2:]
    number, value = ("float", real_value) if op.requantize is None else ("int64_t", centred)
    left = value(f"a[{starts[1]} + k * {a.strides[-1]}]", types[0])
    right = value(f"b[{starts[2]} + k * {b.strides[-2]} + n * {b.strides[-1]}]", types[1])
    store = f"out[{starts[0]} + n * {out.strides[-1]}]"
    result = _result(op, types)
    return f"""for (int first = 0; first < {columns}; first += {_BLOCK}) {{
  const int last = first + {_BLOCK} < {columns} ? first + {_BLOCK} : {columns};
  {number} acc[{_BLOCK}] = {{0}};
  for (int k = 0; k < {inner}; k++) {{
    const {number} left = {left};
    for (int n = first; n < last; n++) acc[n - first] += left * {right};
  }}
  for (int n = first; n < last; n++) {store} = ({C_TYPES[out.stored]})({result});
}}"""


def _result(op: BatchMatmul, types: list[TensorType]) -> str:
    rule, total = op.requantize, "acc[n - first]"
    if rule is None:
        return total
    if rule.rounding == "float":
        first, second, last = (np.float32(s) for s in (types[0].scale, types[1].scale, rule.scale))
        return f"eb_to_integer((float){total} * {real(float(first * second / last))}, {ends(rule)})"
    step = float(np.float32(types[0].scale) * np.float32(types[1].scale))
    return clamped(multiplied(total, step / float(np.float32(rule.scale)), rule), rule)


def l2_normalize(frame: Frame, op: Op) -> None:
    """Lower a normalisation along an axis."""
    layer = cast(L2Normalize, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    count, step, to = x.shape[layer.axis], x.strides[layer.axis], out.strides[layer.axis]
    kind, rule = frame.kind(op.inputs[0]), layer.requantize
    element, store = f"x[i * {step}]", f"y[i * {to}] = ({C_TYPES[out.stored]})"
    loop = f"for (int i = 0; i < {count}; i++)"
    if rule is not None and rule.rounding != "float":
        body = _exact_length(centred(element, kind), loop, store, rule)
    else:
        value = real_value(element, kind)
        result = f"{value} / length"
        done = result if rule is None else quantised(result, rule)
        body = (
            f"float total = 0;\n{loop} total += {value} * {value};\n"
            f"const float root = sqrtf(total), least = {real(layer.epsilon)};\n"
            f"const float length = root > least ? root : least;\n{loop} {store}({done});"
        )
    text = along(x, out, layer.axis, body)
    header = ("plain_gemmlowp.h",)
    frame.emit(Call(text, (Operand("in", x),), (Operand("out", out),), (), header))


def _exact_length(value: str, loop: str, store: str, rule: Affine) -> str:
    scaled = f"eb_fixed({value}, multiplier, shift + 7)"
    return (
        f"int32_t total = 0, shift;\n{loop} total += {value} * {value};\n"
        "const int32_t multiplier = eb_inverse_root(total, &shift);\n"
        f"{loop} {store}({clamped(scaled, rule)});"
    )
