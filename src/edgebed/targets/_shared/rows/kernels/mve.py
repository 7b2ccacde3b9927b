"""Packing for Helium (MVE, integer): Cortex-M55.

Convolutions take four outputs at a time, sixteen inputs of each in turn; depthwise convolutions
four channels at a time, of each of which sixteen bytes hold up to 4 x 4 taps. What is no multiple
of four ends with a group that overlaps the one before. Weights beyond a byte are bytes plus an
offset, one of the layer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.portable import PORTABLE, dense_shape, fits_bytes
from edgebed.targets._shared.rows.kernels.sets import Goal, Packed, WindowShape

Array = npt.NDArray[Any]

# As in the headers.
_PIXEL: Final = 0x8000
_IN_PLACE: Final = 0x4000
_PAIRS: Final = 0x2000
_MOST_SIXTEENS: Final = 0x1FFF
_GROUP: Final = 4
_LANES: Final = 16
_BYTES: Final = range(-128, 128)
# Output pixels whose windows a depthwise convolution rearranges at a time: fewer take less memory
# and rearrange more columns twice.
_SPAN: Final[dict[Goal, int]] = {"time": 48, "balanced": 24, "ram": 8}


class Mve:
    """The kernel set `mve`."""

    name = "mve"

    def conv(self, shape: WindowShape, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """Return the kernel for a convolution; weights O x KH x KW x I.

        Scratch: the columns that the kernel collects at a time.
        """
        outputs, inputs = len(weights), int(np.prod(weights.shape[1:]))
        sixteens = -(-inputs // _LANES)
        offset = _offset(weights)
        if offset is None or not weights.size or sixteens > _MOST_SIXTEENS or shape.stride[1] > 255:
            return PORTABLE.conv(shape, weights, goal, linear=linear)
        few = outputs < _GROUP
        collected = min(_collected(shape, sixteens), 2 if goal == "ram" else 8)
        return Packed(
            function=f"eb_conv{'_few' * few}{'_offset' * bool(offset)}_mve",
            header="conv_mve.h",
            c_type="int8_t",
            weights=_columns(weights.reshape(outputs, inputs) - offset, sixteens)
            + (offset.to_bytes(2, "little", signed=True) if offset else b""),
            depth=sixteens + _flags(shape, goal),
            scratch_bytes=collected * _LANES * sixteens + few * _GROUP * shape.out_width,
        )

    def depthwise(self, shape: WindowShape, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """Return the kernel for a depthwise convolution; weights C x KH x KW.

        Scratch: the columns of a span of pixels for 16 channels, 4 bytes a column and channel; or
        one window.
        """
        channels = len(weights)
        if not weights.size:
            return PORTABLE.depthwise(shape, weights, goal, linear=linear)
        small = max(shape.kernel) <= 4 and channels >= _GROUP
        offset = _offset(weights)
        if not small or shape.in_channels != channels or offset not in _BYTES:
            return _any_depthwise(shape, weights)
        span = min(shape.out_width, _SPAN[goal])
        columns = (span - 1) * shape.stride[1] + 3 * shape.dilation[1] + 1
        return Packed(
            function="eb_depthwise_offset_mve" if offset else "eb_depthwise_mve",
            header="depthwise_mve.h",
            c_type="int8_t",
            weights=_taps(weights - offset)
            + (_taps(np.full((_GROUP, *shape.kernel), offset))[:_LANES] if offset else b""),
            depth=span,
            scratch_bytes=4 * min(channels, _LANES) * columns + 4 * _LANES,
        )

    def dense(self, depth: int, rows: int, weights: Array, goal: Goal, *, linear: bool) -> Packed:
        """Return the kernel for a dense layer on `rows` vectors of `depth`; weights O x K."""
        outputs = len(weights)
        shape = dense_shape(depth, rows, outputs)
        kernel = weights.reshape(outputs, 1, 1, depth)
        return self.conv(shape, kernel, goal, linear=linear)


def _offset(weights: Array) -> int | None:
    """Return the least offset without which weights are bytes; None where there is none."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    if high - low > 255:
        return None
    return high - 127 if high > 127 else min(0, low + 128)


def _any_depthwise(shape: WindowShape, weights: Array) -> Packed:
    """Return the kernel for any window and any number of outputs a channel."""
    outputs, taps = len(weights), int(np.prod(shape.kernel))
    wide = not fits_bytes(weights)
    padded = np.zeros((max(outputs, _GROUP), taps), "<i2" if wide else "<i1")
    padded[:outputs] = weights.reshape(outputs, taps)
    return Packed(
        function="eb_depthwise_any_wide_mve" if wide else "eb_depthwise_any_mve",
        header="depthwise_any_mve.h",
        c_type="int16_t" if wide else "int8_t",
        weights=padded[_groups(outputs)].transpose(0, 2, 1).tobytes(),
        depth=outputs // shape.in_channels,
        scratch_bytes=taps * shape.in_channels,
    )


def _reads_pixels(shape: WindowShape) -> bool:
    """Whether every window is one pixel of the map."""
    last = [
        (outputs - 1) * stride < inputs
        for outputs, stride, inputs in (
            (shape.out_height, shape.stride[0], shape.in_height),
            (shape.out_width, shape.stride[1], shape.in_width),
        )
    ]
    return shape.kernel == (1, 1) and shape.padding == (0, 0) and all(last)


def _flags(shape: WindowShape, goal: Goal) -> int:
    """Return the bits of `depth` above the number of sixteens."""
    pixel = _reads_pixels(shape)
    in_place = _IN_PLACE if pixel and shape.in_place else 0
    return _PIXEL * pixel + in_place + (_PAIRS if goal == "ram" else 0)


def _collected(shape: WindowShape, sixteens: int) -> int:
    """Return how many windows are collected at a time; eb_mve_most has the same rule.

    Pixels that are windows are read where they are, but for those at the end of a row.
    """
    most = min(shape.out_width, 8 if sixteens < 8 else 4 if sixteens < 16 else 2)
    if shape.in_place or not _reads_pixels(shape):
        return most
    spare = shape.in_width * shape.in_channels - sixteens * _LANES
    readable = spare // (shape.stride[1] * shape.in_channels) + 1 if spare >= 0 else 0
    left = 0 if readable >= shape.out_width else shape.out_width - (readable & ~1)
    return min(most, left)


def _groups(count: int) -> npt.NDArray[np.intp]:
    """Return which of `count` rows each group of four takes; the last group ends with the last."""
    starts = list(range(0, count - _GROUP + 1, _GROUP))
    if count % _GROUP and count > _GROUP:
        starts.append(count - _GROUP)
    return np.array(starts or [0])[:, None] + np.arange(_GROUP)


def _columns(weights: Array, sixteens: int) -> bytes:
    """Return O x K as groups x sixteens x 4 outputs x 16 inputs."""
    padded = np.zeros((max(len(weights), _GROUP), sixteens * _LANES), np.int8)
    padded[: len(weights), : weights.shape[1]] = weights
    groups = padded[_groups(len(weights))]
    lanes = groups.reshape(len(groups), _GROUP, sixteens, _LANES)
    return lanes.transpose(0, 2, 1, 3).tobytes()


def _taps(weights: Array) -> bytes:
    """Return C x KH x KW as groups x 4 channels x 4 columns x 4 rows."""
    channels, rows, columns = weights.shape
    padded = np.zeros((channels, 4, 4), np.int8)
    padded[:, :columns, :rows] = weights.transpose(0, 2, 1)
    return padded[_groups(channels)].tobytes()


MVE: Final = Mve()
