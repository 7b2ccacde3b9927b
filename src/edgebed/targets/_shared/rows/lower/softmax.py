"""Vectors brought to sum one or length one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import high_multiply
from edgebed.program.ops._gemmlowp import exp_negative
from edgebed.program.ops._softmax import INPUT_BITS, softmax_scaling
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.softmax import Softmax
from edgebed.program.types import Op
from edgebed.targets._shared.rows.frame import Frame, usual_order
from edgebed.targets._shared.rows.lower.elementwise import one_row
from edgebed.targets._shared.rows.lower.real import literal, rule_text
from edgebed.targets._shared.rows.stage import Stage, Table, Window

_LONGEST: Final = (1 << 31) // 255**2 - 1  # so long a sum of squares has 31 bits
_BYTES: Final = ("int8", "uint8")
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
    if kind.dtype not in _BYTES or out.dtype not in _BYTES:
        raise frame.refuse(op, f"has no kernel from {kind.dtype} to {out.dtype}", "int8 to int8")
    if not layer.exact:
        _through_reals(frame, layer)
        return
    if kind.shape[layer.axis] > MOST:
        raise frame.refuse(op, f"{kind.shape[layer.axis]} shares", f"at most {MOST}")
    grown = exponentials(kind.scale, layer.beta)
    table = frame.table(op, "exp", "int32_t", grown.astype("<i4").tobytes(), weights=False)
    rule = layer.requantize
    assert rule is not None  # exact says so
    limits = f", {rule.low}, {rule.high}"
    _add(frame, layer, "eb_softmax", f"{table.name}, {len(grown)}", (table,), limits)


def _through_reals(frame: Frame, layer: Softmax) -> None:
    """Lower the rule `float`: float32 in between, as exact as the op's definition."""
    kind, rule = frame.kind(layer.inputs[0]), layer.requantize
    assert rule is not None  # bytes have one
    rows, width, channels = frame.pixels(layer.output)
    count = width * channels
    name = frame.scratch_tensor(f"{layer.output}@reals", rows, 4 * count)
    between = Window(name, whole=rows == 1)
    scaled = f"{{{literal(kind.scale)}, {frame.zero(layer.inputs[0])}, {count}}}"
    frame.add(
        Stage(
            name=f"{layer.name} reals", kind=layer.kind, output=name,
            inputs=(one_row(frame, layer.inputs[0]),), steps=rows, function="eb_dequantize",
            header="real.h", layer_type="eb_dequantize_t", layer=scaled,
        )
    )  # fmt: skip
    shares = frame.scratch_tensor(f"{layer.output}@shares", rows, 4 * count)
    _add(frame, layer, "eb_softmax_real", literal(layer.beta), (), source=name, output=shares)
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=layer.output,
            inputs=(replace(between, tensor=shares),), steps=rows, function="eb_quantize",
            header="real.h", layer_type="eb_quantize_t",
            layer=f"{{{rule_text(rule)}, {count}}}", in_place=(0,),
        )
    )  # fmt: skip


def exponentials(scale: float, beta: float) -> npt.NDArray[np.int64]:
    """Return exp(-k * scale * beta) for k = 0, 1, ..., with 31 bits, up to the last that counts."""
    multiplier, left, least = softmax_scaling(scale, beta)
    steps = np.arange(min(-least, 255) + 1, dtype=np.int64)
    scaled = high_multiply(-steps << left, np.array(multiplier))
    return exp_negative(scaled, INPUT_BITS)


def l2_normalize(frame: Frame, op: Op) -> None:
    """Lower bytes over their Euclidean length, in fixed point."""
    layer, kind = cast(L2Normalize, op), frame.kind(op.inputs[0])
    rule = layer.requantize
    if rule is None or rule.rounding == "float" or kind.dtype != "int8":
        raise frame.refuse(op, f"has no kernel for {kind.dtype} with this rule", "fixed point")
    if kind.shape[layer.axis] > _LONGEST:
        raise frame.refuse(op, f"{kind.shape[layer.axis]} values", f"at most {_LONGEST}")
    limits = f", {kind.zero_point}, {rule.low}, {rule.high}"
    _add(frame, layer, "eb_normalize", "", (), limits)


def _add(
    frame: Frame,
    layer: Softmax | L2Normalize,
    function: str,
    first: str,
    tables: tuple[Table, ...],
    last: str = "",
    *,
    source: str = "",
    output: str = "",
) -> None:
    """Add the stage: row by row where the axis lies within a row."""
    kind = frame.kind(layer.output)
    order, rows = usual_order(kind), frame.pixels(layer.output)[0]
    by_row = rows > 1 and layer.axis != order[0]
    axes = order[1:] if by_row else order
    at = axes.index(layer.axis)
    outer = math.prod(kind.shape[a] for a in axes[:at])
    inner = math.prod(kind.shape[a] for a in axes[at + 1 :])
    if source:
        window = Window(source, whole=not by_row)
    else:
        given = layer.inputs[0]
        window = one_row(frame, given) if by_row else frame.whole(given)
    frame.add(
        Stage(
            name=layer.name, kind=layer.kind, output=output or layer.output, inputs=(window,),
            steps=rows if by_row else 1, function=function, header=f"{function[3:]}.h",
            layer_type=f"{function}_t",
            layer=f"{{{first}{', ' if first else ''}{outer}, {kind.shape[layer.axis]}, "
            f"{inner}{last}}}",
            tables=tables, in_place=(0,) if inner == 1 and (by_row or rows == 1) else (),
        )
    )  # fmt: skip
