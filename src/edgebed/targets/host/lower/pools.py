"""Maxima and averages over windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, cast

from edgebed.program.arithmetic import Affine, Rounding
from edgebed.program.ops._pool import Pool as PoolOp
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame, is_map, pitches
from edgebed.targets.host.kernels import pool
from edgebed.targets.host.kernels.requantize import Clamp
from edgebed.targets.host.layout import C_TYPES, View, no_margins, stored_bias, stored_zero
from edgebed.targets.host.lower.expressions import HEADER, quantised, real
from edgebed.targets.host.steps import Call, Operand

_KINDS: Final[dict[Rounding, Literal["away", "cut", "up"]]] = {
    "half_away": "away", "truncate": "cut", "half_up": "up",
}  # fmt: skip


def max_pool(frame: Frame, op: Op) -> None:
    """Lower a maximum."""
    layer = cast(MaxPool, op)
    kind = frame.kind(op.inputs[0])
    if kind.dtype in ("int8", "uint8"):
        _bytes(frame, layer, Clamp(), None)
        return
    least = "-INFINITY" if kind.is_float else {"int16": "INT16_MIN", "int32": "INT32_MIN"}.get(
        kind.dtype, "INT64_MIN")  # fmt: skip
    _loops(frame, layer, least, "acc = v > acc ? v : acc;", "acc")


def avg_pool(frame: Frame, op: Op) -> None:
    """Lower an average."""
    layer = cast(AvgPool, op)
    kind = frame.kind(op.inputs[0])
    if layer.requantize is not None and layer.requantize.zero_first:
        _early_average(frame, layer, kind, layer.requantize)
    elif layer.requantize is None and kind.dtype == "int8":
        how = pool.Average(_KINDS[layer.rounding])
        clamp = Clamp(0, layer.low, layer.high)
        if layer.include_padding and any(layer.padding):
            unpadded = replace(layer, padding=(0, 0, 0, 0))
            _bytes(frame, unpadded, clamp, how, _bordered(frame, layer, kind))
        else:
            _bytes(frame, layer, clamp, how)
    else:
        _loops(frame, layer, "0", "acc += v;", _mean(layer, kind))


def _early_average(frame: Frame, op: AvgPool, kind: TensorType, rule: Affine) -> None:
    """Write ONNX Runtime's average of bytes, whose zero point is added before it is rounded."""
    bias = stored_bias(frame.kind(op.output))
    how = pool.Average(
        "float",
        padding_counts=op.include_padding,
        in_zero=stored_zero(kind) - 128,
        out_zero=int(rule.early_zero),
        in_scale=kind.scale,
        out_scale=rule.scale,
        stored=bias - rule.file_offset,
    )
    clamp = Clamp(0, rule.low + bias - 128, rule.high + bias - 128)
    _bytes(frame, op, clamp, how)


def _bordered(frame: Frame, op: AvgPool, kind: TensorType) -> View:
    """Return a copy of the input with its padding, which counts as values."""
    x = frame.view(op.inputs[0])
    top, left, bottom, right = op.padding
    margins = ((0, 0), (top, bottom), (left, right))
    inside = frame.scratch(x.stored, x.shape, (1, 2, 0), margins, stored_zero(kind))
    frame.copy(x, inside)
    channels, height, width = x.shape
    _, row, pixel = inside.strides
    return replace(
        inside,
        shape=(channels, height + top + bottom, width + left + right),
        offset=inside.offset - top * row - left * pixel,
        margins=no_margins(3),
    )


def _mean(op: AvgPool, kind: TensorType) -> str:
    """Return the output for the sum `acc` of `valid` values, `count` of which are counted."""
    if kind.is_float:
        return "acc / (float)count"
    bias = 128 if kind.dtype == "int8" else 0
    if op.requantize is not None:
        centred = f"(float)(acc - (int64_t)valid * {kind.zero_point + bias})"
        return quantised(f"{centred} * {real(kind.scale)} / (float)count", op.requantize)
    total = f"acc - (int64_t)valid * {bias} + (int64_t)(count - valid) * {kind.zero_point}"
    mean = f"eb_divide({total}, count, {int(op.rounding == 'half_away')})"
    if op.rounding == "half_up":
        mean = f"eb_divide_up({total}, count)"
    return f"eb_clamp({mean}, {op.low}, {op.high}) + 128" if kind.dtype == "int8" else mean


def _bytes(
    frame: Frame,
    op: PoolOp,
    clamp: Clamp,
    average: pool.Average | None,
    given: View | None = None,
) -> None:
    x, out = given or frame.map(op.inputs[0]), frame.output(op)
    target = out if is_map(out) else frame.scratch(out.stored, out.shape, (1, 2, 0))
    (row, pixel), (out_row, out_pixel) = pitches(x), pitches(target)
    shape = pool.Pool(
        in_height=x.shape[1], in_width=x.shape[2],
        out_height=out.shape[1], out_width=out.shape[2], channels=x.shape[0],
        in_row=row, in_pixel=pixel, out_row=out_row, out_pixel=out_pixel,
        kernel=op.kernel, stride=op.stride, padding=op.padding[:2], clamp=clamp,
    )  # fmt: skip
    if average is None:
        text = pool.max_pool_call(shape, "x", "out", "y0", "y1")
    else:
        text = pool.average_pool_call(shape, average, "x", "out", "0", "y0", "y1")
    frame.emit(
        Call(text, (Operand("x", x),), (Operand("out", target),), (), (pool.HEADER,),
             rows=out.shape[1])
    )  # fmt: skip
    frame.copy(target, out)


def _loops(frame: Frame, op: PoolOp, start: str, step: str, finish: str) -> None:
    """Write plain loops; windows are cut to the part that lies on the map."""
    x, out = frame.view(op.inputs[0]), frame.output(op)
    (kh, kw), (sy, sx), (top, left) = op.kernel, op.stride, op.padding[:2]
    _, height, width = x.shape
    include = isinstance(op, AvgPool) and op.include_padding
    text = f"""for (int y = y0; y < y1; y++)
  for (int c = 0; c < {out.shape[2]}; c++) {{
    const int r = y * {sy} - {top}, q = c * {sx} - {left};
    const int ra = r < 0 ? 0 : r, rb = r + {kh} > {height} ? {height} : r + {kh};
    const int qa = q < 0 ? 0 : q, qb = q + {kw} > {width} ? {width} : q + {kw};
    const int valid = (rb - ra) * (qb - qa), count = {kh * kw if include else "valid"};
    (void)valid, (void)count;
    for (int o = 0; o < {out.shape[0]}; o++) {{
      {_number(x)} acc = {start};
      for (int i = ra; i < rb; i++)
        for (int k = qa; k < qb; k++) {{
          const {_number(x)} v = x[{element(x, "i", "k", "o")}];
          {step}
        }}
      out[{element(out, "y", "c", "o")}] = ({C_TYPES[out.stored]})({finish});
    }}
  }}"""
    frame.emit(
        Call(text, (Operand("x", x),), (Operand("out", out),), (), (HEADER,), rows=out.shape[1])
    )


def _number(x: View) -> str:
    return "float" if x.stored == "f32" else "int64_t"


def element(view: View, row: str, column: str, channel: str) -> str:
    """Return the C expression of a map's element for these indices."""
    dense, down, across = view.strides
    terms = ((row, down), (column, across), (channel, dense))
    return " + ".join(name if step == 1 else f"{name} * {step}" for name, step in terms)
