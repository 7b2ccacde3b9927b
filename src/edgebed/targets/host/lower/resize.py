"""Interpolated maps: positions and weights are tables, computed when the code is generated."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgebed.program.ops._resize import nearest_indices, taps, whole_positions
from edgebed.program.ops.resize import Resize
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.layout import C_TYPES, View, stored_bias
from edgebed.targets.host.lower.expressions import HEADER, quantised, real_value
from edgebed.targets.host.lower.moves import indexed
from edgebed.targets.host.lower.pools import element
from edgebed.targets.host.steps import Call, Operand, Packed


def resize(frame: Frame, op: Op) -> None:
    """Lower a resize."""
    layer = cast(Resize, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    if layer.mode == "nearest":
        tables = {axis + 1: nearest_indices(layer, x.shape[axis + 1], axis) for axis in (0, 1)}
        indexed(frame, x, out, tables)
        return
    rule = layer.requantize
    if rule is not None and rule.rounding != "float":
        packed, body = _fixed(frame, layer, x, out)
    else:
        packed, body = _real(frame, layer, x, out)
    text = "\n".join(
        [
            "for (int y = y0; y < y1; y++)",
            f"  for (int c = 0; c < {out.shape[2]}; c++)",
            f"    for (int o = 0; o < {out.shape[0]}; o++) {{",
            *("      " + line for line in body),
            "    }",
        ]
    )
    frame.emit(
        Call(text, (Operand("x", x),), (Operand("out", out),), packed, (HEADER,),
             rows=out.shape[1])
    )  # fmt: skip


def _real(frame: Frame, op: Resize, x: View, out: View) -> tuple[tuple[Packed, ...], list[str]]:
    """Mix four values, or (cubic) columns, then rows, in the interpreter's order."""
    packed, found = [], []
    for axis, letter in ((0, "r"), (1, "q")):
        for number, (index, weight) in enumerate(taps(op, x.shape[axis + 1], axis)):
            packed.append(frame.pack(f"{letter}{number}", index.astype(np.int32), "int32_t"))
            packed.append(frame.pack(f"{letter}w{number}", weight.astype(np.float32), "float"))
        found.append(number + 1)
    rows, columns = found
    kind = frame.kind(op.inputs[0])

    def at(r: int, q: int) -> str:
        return real_value(f"x[{element(x, f'r{r}[y]', f'q{q}[c]', 'o')}]", kind)

    body = []
    if op.mode == "bilinear":
        terms = [(r, q) for r in range(rows) for q in range(columns)]
        total = " + ".join(f"{at(r, q)} * (qw{q}[c] * rw{r}[y])" for r, q in terms)
    else:
        for r in range(rows):
            parts = [f"{at(r, q)} * qw{q}[c]" for q in range(columns)]
            body.append(f"const float row{r} = {' + '.join(parts)};")
        total = " + ".join(f"row{r} * rw{r}[y]" for r in range(rows))
    result = total if op.requantize is None else quantised(total, op.requantize)
    store = f"out[{element(out, 'y', 'c', 'o')}]"
    return tuple(packed), [*body, f"{store} = ({C_TYPES[out.stored]})({result});"]


def _fixed(frame: Frame, op: Resize, x: View, out: View) -> tuple[tuple[Packed, ...], list[str]]:
    """TensorFlow Lite's integer kernel: 10-bit weights, one rounding half away from zero."""
    packed = []
    for axis, letter in ((0, "r"), (1, "q")):
        tables = whole_positions(op, x.shape[axis + 1], axis)
        for name, values in zip("abp", tables, strict=True):
            packed.append(frame.pack(letter + name, values.astype(np.int32), "int32_t"))
    bias = stored_bias(frame.kind(op.inputs[0]))
    number = "int32_t" if x.stored == "u8" else "int64_t"

    def at(row: str, column: str) -> str:
        value = f"x[{element(x, f'r{row}[y]', f'q{column}[c]', 'o')}]"
        return f"(({number}){value} - {bias})"

    mixed = [
        f"const {number} {name} = {at('a', name)} * (1024 - rp[y]) + {at('b', name)} * rp[y];"
        for name in ("a", "b")
    ]
    return tuple(packed), [
        *mixed,
        f"const {number} total = a * (1024 - qp[c]) + b * qp[c];",
        f"const {number} size = (total > 0 ? total : -total) + (1 << 19);",
        f"out[{element(out, 'y', 'c', 'o')}] = ({C_TYPES[out.stored]})("
        f"(total > 0 ? size >> 20 : -(size >> 20)) + {bias});",
    ]
