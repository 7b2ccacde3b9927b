"""Depthwise convolution on the host: the layer's shape, its packed constants, its C call.

See depthwise.h for what is computed and how the vector form lays out its operands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.affine import NOWHERE, Affine, find_affine
from edgebed.targets.host.kernels.requantize import Bounds, Requantization, narrowed
from edgebed.targets.host.kernels.rules import Rescale

HEADER = "depthwise.h"
ALIGNMENT = 64
"""Bytes; the packed constants must start at a multiple."""

_BLOCK = 64  # output bytes of a block
_VECTORS = 4  # accumulator vectors of sixteen lanes in a block
_LINE, _KINK, _AMEND = 1, 2, 4

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution over a padded map, all literals of the generated call.

    Attributes:
        out_height, out_width: output pixels.
        channels: input channels.
        multiplier: output channels an input channel; output channel = channel * multiplier + m.
        kernel, stride, dilation: (vertical, horizontal).
        in_row, in_pixel: bytes from one input row or pixel to the next.
        out_row, out_pixel: likewise of the output; int32 output (rule `none`) counts bytes too.
    """

    out_height: int
    out_width: int
    channels: int
    in_row: int
    in_pixel: int
    out_row: int
    out_pixel: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    multiplier: int = 1

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.channels * self.multiplier

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return self.out_height * self.out_width * self.outputs * self.kernel[0] * self.kernel[1]

    @property
    def pixels(self) -> int:
        """Neighbouring pixels that the vector form computes in one block of 64 bytes."""
        dense = self.in_pixel == self.channels == self.out_pixel
        return _BLOCK // self.channels if dense and self.channels < _BLOCK else 1

    @property
    def shared_rows(self) -> int:
        """Output rows that share interleaved columns."""
        neighbours = self.stride[0] == 1 and self.dilation[0] == 1
        return 2 if neighbours and self.kernel[0] > 1 and self.out_height > 1 else 1

    @property
    def quads(self) -> int:
        """Groups of four input rows under the window of the shared rows."""
        return -(-(self.kernel[0] + self.shared_rows - 1) // 4)

    def block_channels(self) -> Ints:
        """Return the channel of each output byte, int64 [blocks, 64]; -1 where there is none."""
        byte = np.arange(_BLOCK)
        if self.pixels > 1:
            used = byte < self.pixels * self.channels
            return np.where(used, byte % self.channels, -1)[None, :]
        starts = [*range(0, max(self.channels - _BLOCK, 0), _BLOCK), max(self.channels - _BLOCK, 0)]
        channel = np.array(starts)[:, None] + byte
        return np.where(channel < self.channels, channel, -1)


@dataclass(frozen=True, eq=False)
class PackedDepthwise:
    """A layer ready for code: constants, their layout and the rule's literals.

    Attributes:
        data: the constants; to be placed at a multiple of ALIGNMENT bytes.
        requantization: literals of the rule.
        shape: the C literal of type eb_depthwise_shape.
        line: whether the fast requantisation was proved exact (bits of EB_DEPTHWISE_LINE).
        vector: whether a vector form was packed.
    """

    layer: Depthwise
    data: bytes
    requantization: Requantization
    shape: str
    line: int
    vector: bool

    @property
    def function(self) -> str:
        """The C function that computes this layer best."""
        layer = self.layer
        if not self.vector:
            return "eb_depthwise_plain"
        columns = layer.kernel[1] == 3 and layer.dilation[1] == 1
        dense = layer.pixels > 1 and layer.pixels * layer.channels == _BLOCK
        whole = layer.pixels == 1 or (dense and layer.channels % 8 == 0)
        if columns and whole and layer.stride[1] == 1 and layer.quads == 1:
            return "eb_depthwise_slid"
        stacks = layer.stride == (2, 2) and layer.dilation[0] == 1 and layer.kernel[0] <= 4
        if columns and stacks and dense and layer.channels in (16, 32) and self.line:
            return "eb_depthwise_stacked"
        return "eb_depthwise_tiled"

    def call(self, source: str, target: str, packed: str, y0: str = "0", y1: str = "") -> str:
        """Return the C statement that computes output rows y0 <= y < y1 (all rows by default).

        Args:
            source: C expression of type const uint8_t *, top left of the padded input.
            target: C expression of type uint8_t *, top left of the output.
            packed: C expression of type const uint8_t *, the constants.
            y0: C expression, the first row.
            y1: C expression, the row behind the last.
        """
        last = y1 or str(self.layer.out_height)
        return (
            f"{self.function}({source}, {packed}, {target}, {self.shape}, "
            f"{self.requantization.literal()}, {y0}, {last});"
        )


def pack(
    layer: Depthwise,
    weights: npt.NDArray[Any],
    bias: npt.NDArray[Any],
    input_zero_point: int,
    rescale: Rescale,
) -> PackedDepthwise:
    """Return the packed constants of a layer.

    Args:
        layer: its shape.
        weights: int [kernel height, kernel width, output channels], zero point taken off,
            -255..255.
        bias: int [output channels], in units of the accumulator.
        input_zero_point: int8 value.
        rescale: the rule of every output channel.
    """
    w = np.asarray(weights).astype(np.int64).reshape(-1, layer.outputs)
    folded = np.asarray(bias).astype(np.int64) - (input_zero_point + 128) * w.sum(axis=0)
    bounds = Bounds(
        folded + 255 * np.minimum(w, 0).sum(axis=0), folded + 255 * np.maximum(w, 0).sum(axis=0)
    )
    exact = narrowed(rescale.requantization(bounds), bounds)
    plain = [_plain_weights(w), _padded(folded), exact.table.tobytes()]
    parts, starts = _aligned(plain)
    blocks, line, planes = b"", 0, _planes(w)
    vector = layer.multiplier == 1 and rescale.rule != "none"
    if vector:
        blocks, line = _blocks(layer, w, folded, bounds, rescale, exact)
    return PackedDepthwise(
        layer,
        parts + blocks,
        exact,
        _literal(layer, planes if vector else [], line, starts, len(parts)),
        line,
        vector,
    )


def _literal(
    layer: Depthwise, planes: list[Ints], line: int, starts: list[int], blocks_at: int
) -> str:
    """Return the C literal; without planes there is no vector form."""
    extra, wide = _further_planes(layer, planes[1:])
    fields: tuple[int, ...] = (
        *(layer.out_width, layer.channels, layer.multiplier),
        *(*layer.kernel, *layer.stride, *layer.dilation),
        *(layer.in_row, layer.in_pixel, layer.out_row, layer.out_pixel),
        *(len(layer.block_channels()) if planes else 0, layer.pixels, layer.shared_rows),
        len(planes),
    )
    rest = (line, starts[1], starts[2], blocks_at)
    texts = [*map(str, fields), f"{extra:#x}u", f"{wide:#x}ull", *map(str, rest)]
    return f"(eb_depthwise_shape){{{', '.join(texts)}}}"


def _further_planes(layer: Depthwise, planes: list[Ints]) -> tuple[int, int]:
    """Return `extra` and `wide` of eb_depthwise_shape: where further planes have weights."""
    extra = wide = 0
    for number, plane in enumerate(planes):
        columns = plane.reshape(*layer.kernel, -1).any(axis=(0, 2))
        for kx in np.flatnonzero(columns):
            extra |= 1 << (number * layer.kernel[1] + int(kx))
        blocks = [plane[:, channels[channels >= 0]].any() for channels in layer.block_channels()]
        for block in np.flatnonzero(blocks):
            wide |= 1 << min(int(block), 63)
    return extra & 0xFFFFFFFF or int(extra > 0), wide


def _aligned(parts: list[bytes]) -> tuple[bytes, list[int]]:
    """Return the parts one behind the other, each at a multiple of ALIGNMENT, and the starts."""
    data, starts = b"", list[int]()
    for part in parts:
        starts.append(len(data))
        data += part + bytes(-len(part) % ALIGNMENT)
    return data, starts


def _plain_weights(w: Ints) -> bytes:
    """Return int16 [taps, output channels padded to 16]."""
    return np.pad(w, ((0, 0), (0, -w.shape[1] % 16))).astype("<i2").tobytes()


def _padded(values: Ints) -> bytes:
    """Return int32 [channels padded to 16]."""
    return np.pad(values, (0, -len(values) % 16)).astype("<i4").tobytes()


def _planes(w: Ints) -> list[Ints]:
    """Split weights of -255..255 into as few int8 terms as add up to them: one, two or three."""
    terms, rest = list[Ints](), w
    while not terms or rest.any():
        terms.append(np.clip(rest, -128, 127))
        rest = rest - terms[-1]
    return terms


def _blocks(
    layer: Depthwise, w: Ints, bias: Ints, bounds: Bounds, rescale: Rescale, exact: Requantization
) -> tuple[bytes, int]:
    """Return the constants of the vector form, block by block, and the bits of its line."""
    # Vector j, lane 4 q + i of a block computes its byte 16 q + 4 j + i.
    quarters = layer.block_channels().reshape(-1, 4, _VECTORS, 4).transpose(0, 2, 1, 3)
    lanes = quarters.reshape(-1, _VECTORS, 16)
    used, channel = lanes >= 0, np.maximum(lanes, 0)
    affine = find_affine(rescale, bounds)
    flat = channel.ravel()
    table = _table_of(rescale, exact, bounds, flat).reshape(*lanes.shape[:2], -1)
    weights = _quad_weights(layer, w, channel, used)
    parts = [
        weights,
        np.where(used, bias[channel], 0).astype("<i4"),
        _line_words(affine, channel),
        table.astype("<i4"),
        _wide(weights),
    ]
    per_block = [part.reshape(len(lanes), -1).view(np.uint8) for part in parts]
    return np.concatenate(per_block, axis=1).tobytes(), _line_bits(affine)


def _table_of(
    rescale: Rescale, exact: Requantization, bounds: Bounds, channels: Ints
) -> npt.NDArray[np.int32]:
    """Return the exact table with its lanes in the order of `channels`."""
    there = rescale.at(channels)
    within = Bounds(bounds.low[channels], bounds.high[channels])
    table = narrowed(there.requantization(within), within)
    assert replace(table, table=exact.table) == exact or table.literal() == exact.literal()
    return table.table


def _quad_weights(
    layer: Depthwise, w: Ints, channel: Ints, used: npt.NDArray[np.bool_]
) -> npt.NDArray[Any]:
    """Return int8 [blocks, planes, columns, quads, rows, vectors, lanes, taps]."""
    height, width = layer.kernel
    planes: npt.NDArray[Any] = np.stack(_planes(w))
    planes = planes.reshape(-1, height, width, w.shape[1])
    rows, quads = layer.shared_rows, layer.quads
    shifted: npt.NDArray[Any] = np.zeros(
        (rows, len(planes), 4 * quads, width, w.shape[1]), np.int64
    )
    for y in range(rows):  # row y of the window lies y rows further down
        shifted[y, :, y : y + height] = planes
    taps: npt.NDArray[Any] = shifted.reshape(rows, len(planes), quads, 4, width, w.shape[1])[
        ..., channel
    ]
    taps = np.where(used, taps, 0)  # rows planes quads taps columns blocks vectors lanes
    ordered = taps.transpose(5, 1, 4, 2, 0, 6, 7, 3)
    return np.ascontiguousarray(ordered.astype(np.int8))


def _wide(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return int16 [blocks, ..., vectors, halves, even or odd, 16]: taps 0, 2 and taps 1, 3."""
    halves = weights.reshape(*weights.shape[:-2], 2, 8 * 2, 2)
    return np.ascontiguousarray(halves.swapaxes(-1, -2).astype("<i2"))


def _line_words(affine: Affine | None, channel: Ints) -> npt.NDArray[Any]:
    """Return int32 [blocks, vectors, 5, 16]: a, b, b for negative ones, amended, by."""
    words = np.zeros((*channel.shape[:2], 5, 16), "<i4")
    if affine is None:
        return words
    nowhere = np.full(len(affine.a), NOWHERE)
    fields = (
        affine.a.view(np.int32),
        affine.b.view(np.int32),
        (affine.b if affine.b_negative is None else affine.b_negative).view(np.int32),
        nowhere if affine.amended is None else affine.amended,
        0 * nowhere if affine.by is None else affine.by,
    )
    for i, values in enumerate(fields):
        words[:, :, i] = values.astype(np.int32)[channel]
    return words


def _line_bits(affine: Affine | None) -> int:
    if affine is None:
        return 0
    kink = _KINK if affine.b_negative is not None else 0
    return _LINE | kink | (_AMEND if affine.amended is not None else 0)
