"""The step of a convolution or dense layer: which kernel and tables each instruction set gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.program.arithmetic import INT8_MAX, INT8_MIN
from edgebed.program.ops._accumulate import Weighted
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.kernels import conv, winograd
from edgebed.targets.host.kernels.conv import ConvShape, IntArray, Names, Part, Tile
from edgebed.targets.host.kernels.conv_fold import fold, fold_weights, pixels
from edgebed.targets.host.kernels.conv_tiles import tiles
from edgebed.targets.host.kernels.isa import AVX2, AVX512, AVXVNNI, PORTABLE, Isa
from edgebed.targets.host.kernels.requantize import Bounds, Requantization, narrowed
from edgebed.targets.host.kernels.rules import Rescale
from edgebed.targets.host.kernels.snapped import snapped
from edgebed.targets.host.kernels.winograd import Winograd
from edgebed.targets.host.layout import View
from edgebed.targets.host.steps import Blocked, Call, Operand, Packed, TileKey

HEADER: Final = "conv.h"
SHARES: Final = 240
"""Into so many equal shares threads may cut a layer; it divides by all small numbers."""
_FUSED: Final = (AVX512, AVXVNNI, AVX2)
"""These have a fused multiply-add; portable code does without."""


@dataclass(frozen=True)
class _Layer:
    """A layer as the kernels see it: biased bytes in, weights O x KH x KW x I.

    Attributes:
        shape: of the layer.
        weights: int8.
        folded: the bias that makes biased bytes give the network's accumulators.
        bounds: of the accumulators, padded to whole vectors.
        rescale: the rule, padded to whole vectors.
        folds: pixels that were taken as one.
    """

    shape: ConvShape
    weights: npt.NDArray[np.int8]
    folded: IntArray
    bounds: Bounds
    rescale: Rescale
    folds: int


@dataclass(frozen=True)
class _Way:
    """How some instruction sets compute a layer.

    Attributes:
        isas: which ones.
        rule: requantisation.
        constants: weights, bias and, where the rule has one, table.
        winograd: the form with fewer products; None: the direct one.
        scaled: the rule is that of the form's own multiple of the accumulators.
    """

    isas: tuple[Isa, ...]
    rule: Requantization
    constants: tuple[Packed, ...]
    winograd: Winograd | None = None
    scaled: bool = False

    def text(self, shape: ConvShape, tile: Tile, to: str) -> str:
        """Return the C statement."""
        weights, bias = (one.name for one in self.constants[:2])
        table = self.constants[-1].name  # without a table any pointer will do
        names = Names("x", weights, bias, table, to)
        if self.winograd is None:
            return conv.call(shape, self.rule, names, tile, _shares(shape, tile))
        ends = (f"{self.winograd.pieces} * {y} / {SHARES}" for y in ("y0", "y1"))
        return winograd.call(self.winograd, self.rule, names, *ends, scaled=self.scaled)


def gemm(
    frame: Frame,
    op: Weighted,
    shape: ConvShape,
    rescale: Rescale,
    weights: npt.NDArray[Any],
    x: Operand,
    out: View,
) -> None:
    """Write the step of a layer on the blocked kernels; weights are O x KH x KW x I."""
    layer = _prepared(frame, op, shape, rescale, weights)
    ways = _ways(frame, layer)
    to = "out" if out.stored == "u8" else "(uint8_t *)(void *)out"
    direct = next(way for way in ways if way.winograd is None)
    frame.blocked.append(Blocked(layer.shape, direct.rule))
    constants = {one.name: one for way in ways for one in way.constants}
    headers = (HEADER, winograd.HEADER) if ways[0].winograd else (HEADER,)
    text = _per_isa(layer.shape, ways, to, frame.tuned)
    frame.emit(
        Call(text, (x,), (Operand("out", out),), tuple(constants.values()), headers,
             rows=SHARES, macs=shape.macs)
    )  # fmt: skip


def _prepared(
    frame: Frame, op: Weighted, shape: ConvShape, rescale: Rescale, weights: npt.NDArray[Any]
) -> _Layer:
    """Centre and fold the layer, and bring its numbers to whole vectors."""
    weights, shape = centred(weights, shape)
    count = pixels(shape)
    weights, shape = fold_weights(weights, shape, count), fold(shape, count)
    zero = frame.kind(op.inputs[0]).zero_point
    bias = None if op.bias is None else np.tile(frame.values(op.bias), count)
    folded = conv.fold_bias(bias, weights, shape, zero)
    bounds = conv.accumulator_bounds(folded, weights, shape)
    spread = Bounds(*(conv.per_channel(b, shape) for b in (bounds.low, bounds.high)))
    parts = [np.tile(p, count) for p in (rescale.multipliers, rescale.shifts, rescale.scales)]
    rule = Rescale(
        rescale.rule, rescale.clamp, *(conv.per_channel(p, shape) if len(p) else p for p in parts)
    )
    return _Layer(shape, weights, folded, spread, rule, count)


def _ways(frame: Frame, layer: _Layer) -> list[_Way]:
    """Return what is cheapest with a fused multiply-add, and without; the best one first."""
    values = conv.pack_weights(layer.weights, layer.shape)
    weights = frame.pack("weights", values, "int8_t", streamed=True)
    quick = snapped(layer.rescale, layer.bounds)
    exact = layer.rescale.requantization(layer.bounds, movable_bias=quick is None)
    exact = narrowed(exact, layer.bounds)
    if quick is None:
        ways = [_way(frame, layer, weights, exact, "", (*_FUSED, PORTABLE))]
    else:
        ways = [
            _way(frame, layer, weights, quick, "", _FUSED),
            _way(frame, layer, weights, exact, "plain_", (PORTABLE,)),
        ]
    sparing = _with_fewer_products(frame, layer, ways[0])
    if sparing is None:
        return ways
    rest = tuple(isa for isa in ways[0].isas if isa not in sparing.isas)
    return [sparing, replace(ways[0], isas=rest), *ways[1:]]


def _way(
    frame: Frame,
    layer: _Layer,
    weights: Packed,
    rule: Requantization,
    prefix: str,
    isas: tuple[Isa, ...],
) -> _Way:
    bias = conv.pack_bias(layer.folded, layer.shape, rule)
    constants: tuple[Packed, ...] = (weights, frame.pack(f"{prefix}bias", bias, "int32_t"))
    if rule.table_words:
        constants = (*constants, frame.pack(f"{prefix}table", rule.table, "int32_t"))
    return _Way(isas, rule, constants)


def _with_fewer_products(frame: Frame, layer: _Layer, direct: _Way) -> _Way | None:
    """Return the layer by Winograd's form where that pays, with a table for its own sums."""
    bytes_out = direct.rule.rule != "EB_NONE" and layer.folds == 1
    if not bytes_out or winograd.plan(layer.shape, layer.bounds) is None:
        return None
    scaled = snapped(layer.rescale, layer.bounds, winograd.SCALE)
    rule = scaled or direct.rule
    moved = 0 if rule.moved is None else rule.moved
    bounds = Bounds(layer.bounds.low + moved, layer.bounds.high + moved)
    found = winograd.plan(layer.shape, bounds)
    if found is None:
        return None
    table = frame.pack("few_table", rule.table, "int32_t") if scaled else direct.constants[-1]
    constants = (
        frame.pack("few", winograd.pack_weights(layer.weights, found), "int16_t", streamed=True),
        frame.pack("few_bias", winograd.pack_bias(layer.folded, rule), "int32_t"),
        table,
    )
    return _Way((AVX512,), rule, constants, found, scaled is not None)


def _per_isa(shape: ConvShape, ways: Sequence[_Way], to: str, tuned: Mapping[TileKey, Tile]) -> str:
    """Return each instruction set's call, with the tile that suits it."""
    every = {one.name: None for way in ways for one in way.constants}
    texts: dict[str, list[int]] = {}
    for way in ways:
        used = {one.name for one in way.constants}
        unused = "".join(f"(void){name};\n" for name in every if name not in used)
        for isa in way.isas:
            tile = tuned.get((shape, isa.name)) or best_tile(shape, isa)
            texts.setdefault(unused + way.text(shape, tile, to), []).append(isa.level)
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
