"""Shares that sum to one."""

from __future__ import annotations

import math
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import high_multiply
from edgebed.program.ops._gemmlowp import exp_negative
from edgebed.program.ops._softmax import INPUT_BITS, softmax_scaling
from edgebed.program.ops.softmax import Softmax
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame, usual_order
from edgebed.targets._shared.rows.lower.elementwise import one_row
from edgebed.targets._shared.rows.lower.real import literal
from edgebed.targets._shared.rows.stage import Stage, Table, Window

MOST: Final = 4095
"""Shares whose sum of exponentials stays within 31 bits."""


def softmax(frame: Frame, op: Op) -> None:
    """Lower shares of bytes in fixed point, or of float32."""
    layer = cast(Softmax, op)
    kind, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if layer.log:
        raise frame.refuse(op, "has no kernel for logarithms of shares", "softmax without log")
    if kind.is_float:
        _add(frame, layer, "eb_softmax_real", literal(layer.beta), ())
        return
    if not layer.exact or out.dtype != "int8":
        raise frame.refuse(
            op, f"has no kernel from {kind.dtype} to {out.dtype} with this rule",
            "a dequantize op before it, or int8 with the fixed-point rule",
        )  # fmt: skip
    if kind.shape[layer.axis] > MOST:
        raise frame.refuse(op, f"{kind.shape[layer.axis]} shares", f"at most {MOST}")
    grown = exponentials(kind.scale, layer.beta)
    table = frame.table(op, "exp", "int32_t", grown.astype("<i4").tobytes(), weights=False)
    rule = layer.requantize
    assert rule is not None  # exact says so
    limits = f", {rule.low}, {rule.high}"
    _add(frame, layer, "eb_softmax", f"{table.name}, {len(grown)}", (table,), limits)


def exponentials(scale: float, beta: float) -> npt.NDArray[np.int64]:
    """Return exp(-k * scale * beta) for k = 0, 1, ..., with 31 bits, up to the last that counts."""
    multiplier, left, least = softmax_scaling(scale, beta)
    steps = np.arange(min(-least, 255) + 1, dtype=np.int64)
    scaled = high_multiply(-steps << left, np.array(multiplier))
    return exp_negative(scaled, INPUT_BITS)


def _add(
    frame: Frame,
    layer: Softmax,
    function: str,
    first: str,
    tables: tuple[Table, ...],
    last: str = "",
) -> None:
    """Add the stage: row by row where the axis lies within a row."""
    kind = frame.kind(layer.output)
    order, rows = usual_order(kind), frame.pixels(layer.output)[0]
    by_row = rows > 1 and layer.axis != order[0]
    axes = order[1:] if by_row else order
    at = axes.index(layer.axis)
    outer = math.prod(kind.shape[a] for a in axes[:at])
    inner = math.prod(kind.shape[a] for a in axes[at + 1 :])
    source = layer.inputs[0]
    window: Window = one_row(frame, source) if by_row else frame.whole(source)
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output, inputs=(window,),
            steps=rows if by_row else 1, function=function, header=f"{function[3:]}.h",
            layer_type=f"{function}_t",
            layer=f"{{{first}, {outer}, {kind.shape[layer.axis]}, {inner}{last}}}",
            tables=tables, in_place=(0,) if inner == 1 and (by_row or rows == 1) else (),
        )
    )  # fmt: skip
