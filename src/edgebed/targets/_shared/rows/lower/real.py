"""Ops with real numbers on one side or in between: quantize, dequantize, means added in float32."""

from __future__ import annotations

import math
from typing import Final, cast

import numpy as np

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.quantize import Quantize
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame
from edgebed.targets._shared.rows.stage import Stage, Window

_BYTES: Final = ("int8", "uint8")


def quantize(frame: Frame, op: Op) -> None:
    """Lower float32 to bytes."""
    layer = cast(Quantize, op)
    out = frame.kind(op.output)
    if out.dtype not in _BYTES:
        raise frame.refuse(op, f"has no kernel to {out.dtype}", "quantise to int8 or uint8")
    offset = 128 if out.dtype == "uint8" else 0
    low, high = layer.limits
    away = int(layer.rounding == "half_away")
    numbers = f"{out.zero_point - offset}, {low - offset}, {high - offset}, {away}"
    to = f"{{{literal(layer.scale)}, 0.0f, {numbers}}}"
    each(frame, op, "eb_quantize", "real.h", to, in_place=True)


def dequantize(frame: Frame, op: Op) -> None:
    """Lower bytes to float32."""
    kind = frame.kind(op.inputs[0])
    if kind.dtype not in _BYTES:
        raise frame.refuse(op, f"has no kernel from {kind.dtype}", "int8 or uint8")
    numbers = f"{literal(kind.scale)}, {frame.zero(op.inputs[0])}"
    each(frame, op, "eb_dequantize", "real.h", numbers, in_place=False)


def cast_to(frame: Frame, op: Op) -> None:
    """Lower bytes to the float32 of the same value."""
    kind, out = frame.kind(op.inputs[0]), frame.kind(op.output)
    if kind.dtype not in _BYTES or not out.is_float:
        raise frame.refuse(op, f"has no kernel from {kind.dtype} to {out.dtype}", "int8 to float32")
    offset = -128 if kind.dtype == "uint8" else 0
    each(frame, op, "eb_dequantize", "real.h", f"1.0f, {offset}", in_place=False)


def mean(frame: Frame, layer: AvgPool, window: Window, geometry: str, *, whole: bool) -> None:
    """Lower a mean whose real values are added in float32, in the order of the window."""
    rule = layer.requantize
    assert rule is not None  # the caller saw to it
    kind = frame.kind(layer.inputs[0])
    height, width, channels = frame.pixels(layer.inputs[0])
    inside = height * width if whole else None
    count = _values(layer, inside)
    text = (
        f"{{{geometry}, {literal(kind.scale)}, {frame.zero(layer.inputs[0])}, "
        f"{count}, {rule_text(rule)}}}"
    )
    if not whole:
        _windows(frame, layer, window, text, 4 * channels)
        return
    sums = frame.scratch_tensor(f"{layer.output}@sums", 1, 4 * channels)
    source = frame.row(layer.inputs[0]) if height > 1 else frame.whole(layer.inputs[0])
    frame.add(
        Stage(
            name=f"{layer.name} sums", kind=layer.kind, output=sums, inputs=(source,),
            steps=height, function="eb_real_sums", header="real.h",
            layer_type="eb_real_mean_t", layer=text, accumulates=True,
        )
    )  # fmt: skip
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output,
            inputs=(Window(sums, whole=True),), steps=1, function="eb_real_finish",
            header="real.h", layer_type="eb_real_mean_t", layer=text,
        )
    )  # fmt: skip


def literal(value: float) -> str:
    """Return the C literal of a number rounded to float32."""
    return f"{float(np.float32(value)).hex()}f"


def rule_text(rule: Affine) -> str:
    """Return the initialiser of the eb_real_out_t of a rule `float`."""
    offset = 128 if rule.dtype == "uint8" else 0
    if rule.zero_first:
        moved = rule.file_offset
        early, zero = float(rule.early_zero), -moved - offset
    else:
        early, zero = 0.0, rule.zero_point - offset
    numbers = f"{zero}, {rule.low - offset}, {rule.high - offset}, 0"
    return f"{{{literal(rule.scale)}, {literal(early)}, {numbers}}}"


def _values(layer: AvgPool, whole: int | None) -> int:
    """Return what sums are divided by, or 0 where that differs from window to window."""
    if whole is not None:
        return whole
    if layer.include_padding or not any(layer.padding):
        return math.prod(layer.kernel)
    return 0


def _windows(frame: Frame, layer: AvgPool, window: Window, text: str, scratch: int) -> None:
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output, inputs=(window,),
            steps=frame.pixels(layer.output)[0], function="eb_real_mean", header="real.h",
            layer_type="eb_real_mean_t", layer=text, scratch_bytes=scratch,
        )
    )  # fmt: skip


def each(frame: Frame, op: Op, function: str, header: str, numbers: str, *, in_place: bool) -> None:
    """Add the stage of an op value by value; `numbers` begin its parameters, a count ends them."""
    rows = frame.as_it_lies(op)
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=(rows.window,), steps=rows.steps,
            function=function, header=header, layer_type=f"{function}_t",
            layer=f"{{{numbers}, {rows.values}}}", in_place=(0,) if in_place else (),
        )
    )  # fmt: skip
