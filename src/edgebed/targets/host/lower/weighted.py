"""Convolutions and dense layers on the blocked kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import INT8_MAX, INT8_MIN, Affine
from edgebed.program.ops._accumulate import Weighted
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.types import Op, TensorType
from edgebed.targets.host.frame import Frame, is_map, pitches
from edgebed.targets.host.kernels import conv, depthwise
from edgebed.targets.host.kernels.conv import ConvShape, Names, Part, Tile
from edgebed.targets.host.kernels.conv_fold import fold, fold_weights, pixels
from edgebed.targets.host.kernels.conv_tiles import tiles
from edgebed.targets.host.kernels.isa import AVX2, AVX512, AVXVNNI, PORTABLE, Isa
from edgebed.targets.host.kernels.requantize import Bounds, Clamp, Requantization
from edgebed.targets.host.kernels.rules import Rescale
from edgebed.targets.host.kernels.snapped import snapped
from edgebed.targets.host.layout import BYTES, View, ordered_strides
from edgebed.targets.host.lower import plain_conv
from edgebed.targets.host.steps import Blocked, Call, Operand, Packed, TileKey
from edgebed.targets.host.wishes import padding_margins

HEADER: Final = "conv.h"
_ISAS: Final = (AVX512, AVXVNNI, AVX2, PORTABLE)
"""The last one has no fused multiply-add."""
SHARES: Final = 240
"""Into so many equal shares threads may cut a layer; it divides by all small numbers."""


def conv2d(frame: Frame, op: Op) -> None:
    """Lower a convolution."""
    layer = cast(Conv2d, op)
    if not is_fast(layer, frame.kind(op.inputs[0]), frame.kind(op.output)):
        plain_conv.conv2d(frame, layer)
        return
    x = frame.map(op.inputs[0], padding_margins(op))
    out = frame.output(op)
    target = out if is_map(out) else frame.scratch(out.stored, out.shape, (1, 2, 0))
    groups = layer.groups
    if groups == x.shape[0] > 1:
        _depthwise(frame, layer, x, target)
    else:
        _blocked(frame, layer, x, target)
    frame.copy(target, out)


def is_fast(op: Weighted, x: TensorType, out: TensorType) -> bool:
    """Return whether the byte kernels compute this layer."""
    activation = cast(Any, op).activation
    rule = cast(Any, op).requantize
    outputs = ("int32",) if rule is None else ("int8", "uint8")
    return x.dtype == "int8" and out.dtype in outputs and activation != "abs"


def rescale_of(frame: Frame, op: Weighted, channels: int) -> Rescale:
    """Return the rule of every output channel."""
    rule, activation = cast(Any, op).requantize, cast(Any, op).activation
    if rule is None:
        return Rescale("none")
    if not isinstance(rule, Affine):
        low = 0 if activation == "relu" else INT8_MIN
        shifts = np.full(channels, rule.right_shift, np.int64)
        return Rescale("shift", Clamp(0, low, INT8_MAX), shifts=shifts)
    off = 128 if rule.dtype == "uint8" else 0
    clamp = Clamp(rule.zero_point - off, rule.low - off, rule.high - off)
    factors = op.factors(frame.program.constants)
    assert factors is not None
    if rule.rounding == "float":
        return Rescale("float", clamp, scales=np.broadcast_to(factors, (channels,)))
    multipliers, shifts = np.broadcast_to(factors, (2, channels))
    name = "fixed_single" if rule.rounding == "fixed_point_single" else "fixed"
    return Rescale(cast(Any, name), clamp, multipliers, shifts)


def _origin(layer: Conv2d, x: View) -> int:
    """Return how far before the map's first value its padding begins."""
    row, pixel = pitches(x)
    top, left, *_ = layer.padding
    return top * row + left * pixel


def _depthwise(frame: Frame, op: Conv2d, x: View, out: View) -> None:
    channels, row_pixel, size = x.shape[0], pitches(x), BYTES[out.stored]
    out_row, out_pixel = pitches(out)
    shape = depthwise.Depthwise(
        out_height=out.shape[1], out_width=out.shape[2], channels=channels,
        in_row=row_pixel[0], in_pixel=row_pixel[1],
        out_row=out_row * size, out_pixel=out_pixel * size,
        kernel=cast(Any, frame.values(op.weight).shape[2:]),
        stride=op.stride, dilation=op.dilation, multiplier=out.shape[0] // channels,
    )  # fmt: skip
    weight = frame.program.constants[op.weight]
    centred = weight.values.astype(np.int64)[:, 0].transpose(1, 2, 0) - weight.zero_point
    packed = depthwise.pack(
        shape, centred, _bias(frame, op, shape.outputs), frame.kind(op.inputs[0]).zero_point,
        rescale_of(frame, op, shape.outputs),
    )  # fmt: skip
    constants = frame.pack("packed", packed.data, "uint8_t")
    to = "out" if size == 1 else "(uint8_t *)(void *)out"
    frame.emit(
        Call(
            packed.call("x", to, "packed", "y0", "y1"),
            (Operand("x", x, _origin(op, x)),),
            (Operand("out", out),),
            (constants,),
            (depthwise.HEADER,),
            rows=shape.out_height,
            macs=shape.macs,
        )
    )


def _bias(frame: Frame, op: Weighted, channels: int) -> npt.NDArray[Any]:
    return np.zeros(channels, np.int64) if op.bias is None else frame.values(op.bias)


def _blocked(frame: Frame, op: Conv2d, x: View, out: View) -> None:
    weight = frame.program.constants[op.weight]
    (row, pixel), (out_row, out_pixel) = pitches(x), pitches(out)
    size = BYTES[out.stored]
    shape = ConvShape(
        in_row_pitch=row, in_pixel_pitch=pixel, in_channels=weight.values.shape[1],
        out_height=out.shape[1], out_width=out.shape[2], out_channels=out.shape[0],
        out_row_pitch=out_row * size, out_pixel_pitch=out_pixel * size,
        kernel=cast(Any, weight.values.shape[2:]), stride=op.stride, dilation=op.dilation,
        groups=op.groups, weight_zero_point=weight.zero_point,
    )  # fmt: skip
    values = np.ascontiguousarray(weight.values.transpose(0, 2, 3, 1))
    gemm(frame, op, shape, values, Operand("x", x, _origin(op, x)), out)


def gemm(
    frame: Frame,
    op: Weighted,
    shape: ConvShape,
    weights: npt.NDArray[Any],
    x: Operand,
    out: View,
) -> None:
    """Write the step of a layer on the blocked kernel; weights are O x KH x KW x I."""
    weights, shape = centred(weights, shape)
    rescale, macs = rescale_of(frame, op, shape.out_channels), shape.macs
    count = pixels(shape)
    weights, shape = fold_weights(weights, shape, count), fold(shape, count)
    zero = frame.kind(op.inputs[0]).zero_point
    bias = None if op.bias is None else np.tile(frame.values(op.bias), count)
    folded = conv.fold_bias(bias, weights, shape, zero)
    bounds = conv.accumulator_bounds(folded, weights, shape)
    spread = type(bounds)(*(conv.per_channel(b, shape) for b in (bounds.low, bounds.high)))
    parts = [np.tile(p, count) for p in (rescale.multipliers, rescale.shifts, rescale.scales)]
    rule = Rescale(
        rescale.rule, rescale.clamp, *(conv.per_channel(p, shape) if len(p) else p for p in parts)
    )
    packed = frame.pack("weights", conv.pack_weights(weights, shape), "int8_t")
    tables = _tables(frame, rule, spread, folded, shape)
    to = "out" if out.stored == "u8" else "(uint8_t *)(void *)out"
    frame.blocked.append(Blocked(shape, tables[0].rule))
    text = _per_isa(shape, tables, to, frame.tuned)
    constants = (packed, *(one for table in tables for one in table.constants))
    frame.emit(
        Call(text, (x,), (Operand("out", out),), constants, (HEADER,), rows=SHARES,
             macs=macs)
    )  # fmt: skip


@dataclass(frozen=True)
class _Tables:
    """A layer's requantisation for some instruction sets: bias and table among the constants."""

    rule: Requantization
    constants: tuple[Packed, ...]
    isas: tuple[Isa, ...]

    def names(self, to: str) -> Names:
        """Return the C expressions of the layer's pointers."""
        bias, table = self.constants[0].name, self.constants[-1].name
        return Names("x", "weights", bias, table, to)  # without a table any pointer will do


def _tables(
    frame: Frame, rescale: Rescale, bounds: Bounds, folded: conv.IntArray, shape: ConvShape
) -> tuple[_Tables, ...]:
    """Pack the requantisation that is cheapest with a multiply-add, and the one without."""
    exact = rescale.requantization(bounds, movable_bias=True)
    fast = snapped(rescale, bounds)
    kinds: tuple[tuple[Requantization, str, tuple[Isa, ...]], ...] = ((exact, "", _ISAS),)
    if fast is not None:
        kinds = ((fast, "", _ISAS[:-1]), (exact, "plain_", _ISAS[-1:]))
    found = []
    for rule, prefix, isas in kinds:
        bias = conv.pack_bias(folded, shape, rule)
        constants: tuple[Packed, ...] = (frame.pack(f"{prefix}bias", bias, "int32_t"),)
        if rule.table_words:
            constants = (*constants, frame.pack(f"{prefix}table", rule.table, "int32_t"))
        found.append(_Tables(rule, constants, isas))
    return tuple(found)


@lru_cache(maxsize=4096)
def best_tile(shape: ConvShape, isa: Isa) -> Tile:
    """Return the tile that the model of the processor prefers."""
    return tiles(shape, isa)[0]


def centred(weights: npt.NDArray[Any], shape: ConvShape) -> tuple[npt.NDArray[Any], ConvShape]:
    """Take the weights' zero point off where the difference still fits a byte: it costs time."""
    real = weights.astype(np.int16) - shape.weight_zero_point
    if shape.weight_zero_point == 0 or real.min() < INT8_MIN or real.max() > INT8_MAX:
        return weights, shape
    return real.astype(np.int8), replace(shape, weight_zero_point=0)


def _per_isa(
    shape: ConvShape, tables: Sequence[_Tables], to: str, tuned: Mapping[TileKey, Tile]
) -> str:
    """Return the call with the tile and the tables that suit each instruction set."""
    texts: dict[str, list[int]] = {}
    for number, table in enumerate(tables):
        rest = (*tables[:number], *tables[number + 1 :])
        others = [one.name for other in rest for one in other.constants]
        unused = "".join(f"(void){name};\n" for name in others)
        for isa in table.isas:
            tile = tuned.get((shape, isa.name)) or best_tile(shape, isa)
            text = conv.call(shape, table.rule, table.names(to), tile, _shares(shape, tile))
            texts.setdefault(unused + text, []).append(isa.level)
    if len(texts) == 1:
        return next(iter(texts))
    lines = []
    for number, (text, levels) in enumerate(texts.items()):
        test = " || ".join(f"EB_ISA == {level}" for level in levels)
        lines += [f"#{'el' if number else ''}if {test}", text]
    return "\n".join([*lines, "#endif"])


def _shares(shape: ConvShape, tile: Tile) -> Part:
    """Return the part of a layer from share y0 to y1 of SHARES: strips of rows, or channels."""
    strips, groups = conv.strips(shape, tile), conv.channel_groups(shape, tile)
    along_rows = strips >= groups
    count = strips if along_rows else groups
    ends = (f"{count} * y0 / {SHARES}", f"{count} * y1 / {SHARES}")
    return Part(*ends, "0", str(groups)) if along_rows else Part("0", str(strips), *ends)


def dense(frame: Frame, op: Op) -> None:
    """Lower a dense layer: a convolution of one pixel, or of one pixel a row."""
    layer = cast(Dense, op)
    if not is_fast(layer, frame.kind(op.inputs[0]), frame.kind(op.output)):
        plain_conv.dense(frame, layer)
        return
    weight = frame.program.constants[layer.weight]
    outputs, inner = weight.values.shape
    values = weight.values
    if layer.last_axis:
        x = frame.flat(op.inputs[0])
    else:
        x, values = flattened(frame, op.inputs[0], values)
    out = frame.output(op)
    target = out if out.is_row_major else frame.scratch(out.stored, out.shape)
    rows, size = out.size // outputs, BYTES[out.stored]
    shape = ConvShape(
        in_row_pitch=inner * rows, in_pixel_pitch=inner, in_channels=inner,
        out_height=1, out_width=rows, out_channels=outputs,
        out_row_pitch=outputs * rows * size, out_pixel_pitch=outputs * size,
        weight_zero_point=weight.zero_point,
    )  # fmt: skip
    gemm(frame, layer, shape, values[:, None, None, :], Operand("x", x), target)
    frame.copy(target, out)


def flattened(
    frame: Frame, tensor: str, weights: npt.NDArray[Any]
) -> tuple[View, npt.NDArray[Any]]:
    """Return a gapless view and the weights (O x K) in the order in which its values lie.

    A map lies channels last while its flattened order is channels first: instead of moving the
    values, the weights change places.
    """
    while tensor in frame.lazy:
        tensor = frame.lazy[tensor]
    view = frame.view(tensor)
    if not view.is_block:
        return frame.flat(tensor), weights
    order = view.order
    moved = weights.reshape(len(weights), *view.shape).transpose(0, *(a + 1 for a in order))
    flat = View(view.store, view.stored, (view.size,), (1,), view.offset, ((0, 0),))
    assert ordered_strides(view.shape, order)
    return flat, np.ascontiguousarray(moved.reshape(len(weights), -1))
