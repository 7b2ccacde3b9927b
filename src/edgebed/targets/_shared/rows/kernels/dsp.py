"""Kernels for cores with the DSP extension (Cortex-M4, M7, M33): 16-bit pairs of products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.rows.kernels.pairs_dsp import Pairs, pack_pairs
from edgebed.targets._shared.rows.kernels.portable import (
    PORTABLE,
    all_inside,
    dense_shape,
)
from edgebed.targets._shared.rows.kernels.sets import Goal, Packed, WindowShape

# Without a line a layer with fewer products is not worth the code of its own kernel.
_FEW_PRODUCTS: Final = 1 << 12
_SUMS_BYTES: Final = 256  # EB_DSP_SUMS of conv_rules_dsp.h
_DENSE: Final = {"eb_conv_dsp": "eb_dense_dsp", "eb_conv_rules_dsp": "eb_dense_rules_dsp"}


class Dsp:
    """The kernel set `dsp`; the portable kernels do what its own cannot."""

    name = "dsp"

    def conv(
        self, shape: WindowShape, weights: npt.NDArray[Any], goal: Goal, *, linear: bool
    ) -> Packed:
        """Return the kernel for a convolution; weights O x KH x KW x I."""
        pairs = pack_pairs(weights)
        products = weights.size * shape.out_height * shape.out_width
        small = not linear and products < _FEW_PRODUCTS
        if pairs is None or small:
            return PORTABLE.conv(shape, weights, goal, linear=linear)
        function, header = _variant(pairs, linear=linear)
        return Packed(
            function=f"eb_conv{function}_dsp",
            header=f"conv{header}_dsp.h",
            c_type="int32_t",
            weights=pairs.data,
            depth=pairs.words,
            scratch_bytes=_conv_scratch(shape, pairs, linear=linear),
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


def _variant(pairs: Pairs, *, linear: bool) -> tuple[str, str]:
    """Return what the names of the kernel and of its header have in the middle."""
    if pairs.long:
        return "_long", "_long"
    rules = "" if linear else "_rules"
    return (rules, rules) if pairs.plain else (f"{rules}_more", "_more")


def _conv_scratch(shape: WindowShape, pairs: Pairs, *, linear: bool) -> int:
    """Return the bytes for two widened windows, or for a copy of one."""
    words = pairs.words
    if not (linear or pairs.long):
        return 20 * words + _SUMS_BYTES
    pointwise = shape.kernel == (1, 1) and all_inside(shape)
    exact = pairs.plain and pointwise and shape.in_channels % 4 == 0
    if shape.out_width > 1 or pairs.sums:
        return (16 if exact else 20) * words
    return 0 if exact and not shape.in_place else 4 * words


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
