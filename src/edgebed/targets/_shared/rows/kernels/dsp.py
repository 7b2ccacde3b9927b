"""Kernels for cores with the DSP extension (Cortex-M4, M7, M33): 16-bit pairs of products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.portable import (
    PORTABLE,
    all_inside,
    dense_shape,
    fits_bytes,
)
from edgebed.targets._shared.rows.kernels.sets import Goal, Packed, WindowShape

# A sum of 8-bit inputs times weights, times 256, must be one of 32 bits.
_MOST_WEIGHT: Final = 1 << 16
# Without a line a layer with fewer weights is not worth the code of its own kernel.
_FEW_WEIGHTS: Final = 2048
_PART_WORDS: Final = 63  # EB_DSP_PART of conv_offset_dsp.h
_SUMS_BYTES: Final = 256  # EB_DSP_SUMS of conv_rules_dsp.h
_DENSE: Final = {"eb_conv_dsp": "eb_dense_dsp", "eb_conv_rules_dsp": "eb_dense_rules_dsp"}


class Dsp:
    """The kernel set `dsp`; the portable kernels do what its own cannot."""

    name = "dsp"

    def conv(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a convolution; weights O x KH x KW x I."""
        filled = _filled_up(weights.reshape(len(weights), shape.kernel[0], -1))
        narrow = fits_bytes(weights)
        packed = _pack_pairs(filled if narrow else _with_offset(filled), filled)
        small = not linear and weights.size < _FEW_WEIGHTS
        if packed is None or small:
            return PORTABLE.conv(shape, weights, goal, linear=linear)
        words = packed.shape[1]
        rules, offset = "" if linear else "_rules", "" if narrow else "_offset"
        plain = linear and narrow
        return Packed(
            function=f"eb_conv{rules}{offset}_dsp",
            header=f"conv{offset or rules}_dsp.h",
            c_type="int32_t",
            weights=packed.tobytes(),
            depth=words,
            scratch_bytes=_conv_scratch(shape, words) if plain else 20 * words + _SUMS_BYTES,
        )

    def depthwise(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a depthwise convolution; weights C x KH x KW."""
        channels = shape.in_channels
        if shape.out_channels != channels or channels < 4:
            return PORTABLE.depthwise(shape, weights, goal, linear=linear)
        taps = weights.reshape(channels, -1).shape[1]
        quads = _quads(weights.reshape(channels, taps))
        pointers, sums, header = taps + 1, 0, "depthwise_dsp"
        if not linear:
            header = function = "depthwise_rules_dsp"
            packed, sums = _pack_taps(quads), _SUMS_BYTES
        elif _shares_columns(shape):
            header = function = "depthwise_couples_dsp"
            packed, pointers = _pack_columns(quads), 12
        elif taps == 9:
            function, packed = "depthwise_nine_dsp", _pack_nine(quads)
        else:
            function, packed = "depthwise_dsp", _pack_taps(quads)
        return Packed(
            function=f"eb_{function}",
            header=f"{header}.h",
            c_type="int32_t",
            weights=packed.astype("<i2").tobytes(),
            depth=packed[0].size // 2,
            scratch_bytes=4 * pointers + -(-channels // 4) * 4 + sums,
        )

    def dense(
        self, depth: int, rows: int, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a dense layer on `rows` vectors of `depth`; weights O x K."""
        shape = dense_shape(depth, rows, len(weights))
        full = weights.reshape(len(weights), 1, 1, depth)
        packed = self.conv(shape, full, goal, linear=linear)
        if packed.function not in _DENSE or rows > 1 or depth % 4:
            return packed
        return replace(packed, function=_DENSE[packed.function], scratch_bytes=0)


def _conv_scratch(shape: WindowShape, words: int) -> int:
    """Return the bytes for two widened windows, or for a copy of one."""
    pointwise = shape.kernel == (1, 1) and all_inside(shape)
    exact = pointwise and shape.in_channels % 4 == 0
    if shape.out_width > 1:
        return (16 if exact else 20) * words
    return 0 if exact and not shape.in_place else 4 * words


def _filled_up(weights: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return weights O x rows x run with 0 up to fours of outputs, rows up to words: O x inputs."""
    outputs, rows, run = weights.shape
    full = np.zeros((-(-outputs // 4) * 4, rows, -(-run // 4) * 4), np.int64)
    full[:outputs, :, :run] = weights
    return full.reshape(len(full), -1)


def _with_offset(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return weights O x inputs less their offset, and that for sums of parts of the inputs."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    offset = max(-127, min(127, (low + high) // 2))
    parts = -(-weights.shape[1] // (4 * _PART_WORDS))
    behind = np.full((len(weights), -(-parts // 4) * 4), offset)
    return np.concatenate([weights - offset, behind], axis=1)


def _pack_pairs(weights: npt.NDArray[Any], meant: npt.NDArray[Any]) -> npt.NDArray[np.int16] | None:
    """Return weights O x inputs as the kernel reads them, or None where they do not fit.

    The result is O / 4 x words x pair of inputs x pair of outputs x input, halfwords of
    256 * first output + second output. `meant` are those that the sums come to.
    """
    # group, pair of outputs, output, word, pair of inputs, input: bytes 0 and 2, 1 and 3
    lanes = weights.reshape(len(weights) // 4, 2, 2, -1, 2, 2).swapaxes(4, 5)
    both = 256 * lanes[:, :, 0] + lanes[:, :, 1]
    inside = both.min(initial=0) >= -(1 << 15) and both.max(initial=0) < 1 << 15
    heaviest = np.abs(meant).sum(axis=1).max(initial=0)
    if not (inside and fits_bytes(weights)) or heaviest >= _MOST_WEIGHT:
        return None
    return np.ascontiguousarray(both.transpose(0, 2, 3, 1, 4), dtype="<i2")


def _shares_columns(shape: WindowShape) -> bool:
    """Whether the kernel that computes two neighbouring pixels is the faster one."""
    plain = shape.kernel == (3, 3) and shape.stride == (1, 1) and shape.dilation == (1, 1)
    return plain and (shape.out_width % 2 == 0 or shape.out_width > 6)


def _quads(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return weights C x taps as quads x 4 x taps.

    The last four channels overlap others where C is no multiple of four.
    """
    channels = len(weights)
    starts = [*range(0, channels - 3, 4), *([channels - 4] if channels % 4 else [])]
    return np.stack([weights[start : start + 4] for start in starts])


def _pack_taps(quads: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return quads x pairs of taps x channel x tap, with a 0 behind an odd tap."""
    full = np.pad(quads, ((0, 0), (0, 0), (0, quads.shape[2] % 2)))
    return full.reshape(len(full), 4, -1, 2).transpose(0, 2, 1, 3)


def _pack_nine(quads: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return quads x 36: four pairs of taps of each channel, then tap 8 of channels 0, 2, 1, 3."""
    even = _pack_taps(quads[:, :, :8]).reshape(len(quads), -1)
    return np.concatenate([even, quads[:, [0, 2, 1, 3], 8]], axis=1)


def _pack_columns(quads: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return quads x channel x 10: rows 0 and 1 of each column, row 2 of 0 and 1, of 1 and 2."""
    return quads[:, :, [0, 3, 1, 4, 2, 5, 6, 7, 7, 8]]


DSP = Dsp()
