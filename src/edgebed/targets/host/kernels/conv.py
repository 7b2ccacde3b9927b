"""Convolution, pointwise and dense layers for conv.h: packed constants and the C statement.

Every layer is one call of `eb_conv`. A dense layer is a convolution with one output pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.requantize import BLOCK, Bounds, Requantization

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

_QUAD = 4  # input bytes of one dot-product step
_BIAS = 128  # stored byte = int8 value + 128


@dataclass(frozen=True)
class ConvShape:
    """Geometry of one layer, all literals of the generated code.

    Maps lie channels last; pitches are in bytes. The input is already padded: `x` of `call`
    points to the first byte that the first output pixel sees.

    Attributes:
        in_row_pitch, in_pixel_pitch: of the (padded) input map.
        in_channels: of one group.
        kernel, stride, dilation: height, width.
        out_height, out_width: in pixels.
        out_channels: of all groups.
        out_row_pitch, out_pixel_pitch: of the output map; int32 outputs count 4 bytes a number.
        groups: input channels and output channels are cut into so many equal parts.
        weight_zero_point: of the int8 weights (uint8 files: theirs - 128); 0 is fastest.
    """

    in_row_pitch: int
    in_pixel_pitch: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    out_row_pitch: int
    out_pixel_pitch: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    weight_zero_point: int = 0

    @classmethod
    def dense(cls, inputs: int, outputs: int, weight_zero_point: int = 0) -> ConvShape:
        """Return a fully connected layer of one vector."""
        return cls(inputs, inputs, inputs, 1, 1, outputs, outputs, outputs,
                   weight_zero_point=weight_zero_point)  # fmt: skip

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer as the network defines it."""
        taps = self.kernel[0] * self.kernel[1] * self.in_channels
        return self.out_height * self.out_width * self.out_channels * taps

    @property
    def group_channels(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.groups

    @property
    def blocks(self) -> int:
        """Vectors of sixteen output channels in one group."""
        return -(-self.group_channels // BLOCK)

    @property
    def interleave(self) -> int:
        """Blocks whose weights alternate step by step; a multiple of a tile's vectors.

        Weights that only one pixel uses come from the second-level cache at its full speed only in
        one stream; other layers keep a block's weights together.
        """
        if self.out_height * self.out_width > 1:
            return 1
        return next((n for n in (8, 7, 6, 5) if self.blocks % n == 0), min(self.blocks, 8))

    @property
    def runs(self) -> Runs:
        """How the kernel's input bytes are walked; the fewest steps win, then the fewest runs."""
        return min(_all_runs(self), key=lambda r: (r.steps, r.count_y * r.count_x))

    @property
    def scan(self) -> Scan:
        """Rows and columns as the kernel sees them: one column where all pixels are equidistant."""
        in_y = self.stride[0] * self.in_row_pitch
        in_x = self.stride[1] * self.in_pixel_pitch
        whole = (in_y, self.out_row_pitch) == (
            self.out_width * in_x,
            self.out_width * self.out_pixel_pitch,
        )
        if whole or self.out_height == 1:
            pixels = self.out_height * self.out_width
            return Scan(pixels, 1, in_x, in_x, self.out_pixel_pitch)
        return Scan(self.out_height, self.out_width, in_y, in_x, self.out_row_pitch)


@dataclass(frozen=True)
class Runs:
    """count_y x count_x runs of 4 * quads neighbouring input bytes, step_y and step_x apart."""

    count_y: int
    count_x: int
    quads: int
    step_y: int
    step_x: int

    @property
    def steps(self) -> int:
        """Dot-product steps of one output pixel."""
        return self.count_y * self.count_x * self.quads


@dataclass(frozen=True)
class Scan:
    """Output pixels as rows x columns, with input strides and the output's row pitch in bytes."""

    height: int
    width: int
    stride_y: int
    stride_x: int
    out_row: int


@dataclass(frozen=True)
class Tile:
    """Registers of one step: rows x columns pixels x vectors of 16 channels, `splits` times."""

    rows: int
    columns: int
    vectors: int
    splits: int = 1

    @property
    def literal(self) -> str:
        """The C compound literal of type eb_conv_tile."""
        return f"(eb_conv_tile){{{self.rows}, {self.columns}, {self.vectors}, {self.splits}}}"


@dataclass(frozen=True)
class Part:
    """C expressions of a piece of a layer: strips of tile.rows rows, groups of vectors."""

    first_strip: str
    end_strip: str
    first_group: str
    end_group: str


@dataclass(frozen=True)
class Names:
    """C expressions of pointers: stored input, packed weights, bias, table and stored output."""

    x: str
    weights: str
    bias: str
    table: str
    y: str


def pack_weights(weights: npt.NDArray[np.int8], shape: ConvShape) -> npt.NDArray[np.int8]:
    """Return the weights in the order in which the kernel reads them, every instruction set alike.

    Args:
        weights: int8 [out_channels, kernel height, kernel width, in_channels].
        shape: the layer.

    Returns:
        int8 [groups * blocks * steps, 16, 4]; missing weights equal the zero point. A load of 64
        bytes starts at every multiple of 64: align the constant to 64 bytes.
    """
    runs = shape.runs
    parts = weights.reshape(shape.groups, shape.group_channels, *weights.shape[1:])
    packed = np.full(
        (shape.groups, shape.blocks * BLOCK, runs.count_y, runs.count_x, runs.quads * _QUAD),
        shape.weight_zero_point,
        dtype=np.int8,
    )
    for (ky, kx), (run, start) in _places(shape, runs).items():
        into = packed[:, : shape.group_channels, run[0], run[1], start : start + shape.in_channels]
        into[...] = parts[:, :, ky, kx, :]
    ordered = packed.reshape(shape.groups, shape.blocks, BLOCK, runs.steps, _QUAD)
    bundles = [
        ordered[g, first : first + shape.interleave].transpose(2, 0, 1, 3).reshape(-1, BLOCK, _QUAD)
        for g in range(shape.groups)
        for first in range(0, shape.blocks, shape.interleave)
    ]
    return np.ascontiguousarray(np.concatenate(bundles))


def fold_bias(
    bias: Array | None, weights: npt.NDArray[np.int8], shape: ConvShape, input_zero_point: int
) -> IntArray:
    """Return the bias that makes stored bytes give the network's accumulators: int64 [channels].

    Args:
        bias: int32 [out_channels] or None.
        weights: int8 [out_channels, kernel height, kernel width, in_channels].
        shape: the layer.
        input_zero_point: of the int8 input, -128..127.
    """
    real = weights.astype(np.int64) - shape.weight_zero_point
    start = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64)
    folded: IntArray = start - (input_zero_point + _BIAS) * real.sum(axis=(1, 2, 3))
    return folded


def accumulator_bounds(folded: IntArray, weights: npt.NDArray[np.int8], shape: ConvShape) -> Bounds:
    """Return what the accumulators cannot exceed, whatever the input; for `requantize.fixed`."""
    real = weights.astype(np.int64).reshape(len(weights), -1) - shape.weight_zero_point
    low = folded + 255 * np.minimum(real, 0).sum(axis=1)
    return Bounds(low, folded + 255 * np.maximum(real, 0).sum(axis=1))


def pack_bias(
    folded: IntArray, shape: ConvShape, rule: Requantization | None = None
) -> npt.NDArray[np.int32]:
    """Return the folded bias as int32 [groups * blocks, 16], padded with zeros.

    A rule that was made with `movable_bias` must be given: it moves the bias. Sums wrap modulo
    2**32, so only the accumulator must fit, not each step towards it.
    """
    bias = _per_group(folded, shape).reshape(-1)
    if rule is not None and rule.moved is not None:
        bias = bias + rule.moved
    return bias.astype(np.int32).reshape(-1, BLOCK)


def per_channel(values: Array, shape: ConvShape) -> Array:
    """Return per-channel numbers for the tables: with groups, zeros fill each group's vectors.

    Give `requantize.fixed` and its like (and its bounds) arrays that went through this.
    """
    return _per_group(values, shape).reshape(-1)


def _per_group(values: Array, shape: ConvShape) -> Array:
    padded = np.zeros((shape.groups, shape.blocks * BLOCK), dtype=np.asarray(values).dtype)
    padded[:, : shape.group_channels] = np.reshape(values, (shape.groups, shape.group_channels))
    return padded


def strips(shape: ConvShape, tile: Tile) -> int:
    """Return into how many strips of rows threads may cut the layer."""
    return -(-shape.scan.height // tile.rows)


def channel_groups(shape: ConvShape, tile: Tile) -> int:
    """Return into how many groups of 16 * tile.vectors channels threads may cut the layer."""
    return -(-shape.blocks // tile.vectors)


def call(
    shape: ConvShape,
    rule: Requantization,
    names: Names,
    tile: Tile,
    part: Part | None = None,
) -> str:
    """Return the C statement that computes the layer, or a part of it.

    Args:
        shape: the layer.
        rule: its requantisation; table and bias went through `per_channel` and `pack_bias`.
        names: C expressions; x is const uint8_t *, weights const int8_t *, bias and table const
            int32_t * (the table may be 0 for EB_NONE), y uint8_t *.
        tile: from `tiles`.
        part: strips and groups to compute; all without it.
    """
    part = part or Part("0", str(strips(shape, tile)), "0", str(channel_groups(shape, tile)))
    ranges = ", ".join((part.first_strip, part.end_strip, part.first_group, part.end_group))
    head = f"eb_conv({_literal(shape)}, {tile.literal}, {rule.literal()}"
    if shape.groups == 1:
        pointers = (names.x, names.weights, names.bias, names.table, names.y)
        return f"{head}, {', '.join(pointers)}, {ranges});"
    size = 4 if rule.rule == "EB_NONE" else 1
    pointers = (
        f"{names.x} + g * {shape.in_channels}",
        f"{names.weights} + g * {shape.blocks * shape.runs.steps * BLOCK * _QUAD}",
        f"{names.bias} + g * {shape.blocks * BLOCK}",
        f"{names.table} + g * {shape.blocks * rule.table_words}",
        f"{names.y} + g * {shape.group_channels * size}",
    )
    loop = f"for (int g = 0; g < {shape.groups}; g++)"
    return f"{loop}\n    {head}, {', '.join(pointers)}, {ranges});"


def _literal(shape: ConvShape) -> str:
    scan, runs = shape.scan, shape.runs
    numbers = (
        *(scan.height, scan.width, shape.group_channels, scan.out_row, shape.out_pixel_pitch),
        *(scan.stride_y, scan.stride_x),
        *(runs.count_y, runs.count_x, runs.quads, runs.step_y, runs.step_x),
        shape.weight_zero_point,
        shape.interleave,
    )
    return f"(eb_conv_shape){{{', '.join(map(str, numbers))}}}"


def _all_runs(shape: ConvShape) -> list[Runs]:
    """Return the three ways to walk a kernel: tap by tap, row by row, or all rows in one run.

    The gap between two taps of a run is read too; its weights count nothing.
    """
    height, width = shape.kernel
    step_y = shape.dilation[0] * shape.in_row_pitch
    step_x = shape.dilation[1] * shape.in_pixel_pitch
    row = (width - 1) * step_x + shape.in_channels
    return [
        Runs(height, width, -(-shape.in_channels // _QUAD), step_y, step_x),
        Runs(height, 1, -(-row // _QUAD), step_y, 0),
        Runs(1, 1, -(-((height - 1) * step_y + row) // _QUAD), 0, 0),
    ]


def _places(shape: ConvShape, runs: Runs) -> dict[tuple[int, int], tuple[tuple[int, int], int]]:
    """Return for each tap (y, x) its run (y, x) and its first byte within the run."""
    step_y = shape.dilation[0] * shape.in_row_pitch
    step_x = shape.dilation[1] * shape.in_pixel_pitch
    places = {}
    for ky in range(shape.kernel[0]):
        for kx in range(shape.kernel[1]):
            run = (ky if runs.count_y > 1 else 0, kx if runs.count_x > 1 else 0)
            start = (ky - run[0]) * step_y + (kx - run[1]) * step_x
            places[ky, kx] = (run, start)
    return places
