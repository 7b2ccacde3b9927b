"""Neighbouring output pixels taken as the channels of one, so that fewer lanes stay empty.

The kernel computes sixteen channels at a time. A layer with eight fills half of them. Where output
pixels lie side by side without a gap, n of them are one pixel of n times as many channels: the
kernel becomes (n - 1) strides wider, and each pixel's weights stand in it where that pixel looks.
The places between them hold the weights' zero point and count nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.conv import ConvShape
from edgebed.targets.host.kernels.conv_tiles import MACHINES, modelled, tiles
from edgebed.targets.host.kernels.isa import AVX512, Isa
from edgebed.targets.host.kernels.requantize import BLOCK

_MOST_CHANNELS: Final = 4 * BLOCK
_WORTH: Final = 0.95
"""Share of the cycles below which a wider pixel is taken; the model errs by a few percent."""


@lru_cache(maxsize=4096)
def pixels(shape: ConvShape, isa: Isa = AVX512) -> int:
    """Return how many pixels of a layer to take as one, 1 where that does not pay.

    Weights are packed once for all instruction sets: the most capable one decides.
    """
    best, least = 1, _WORTH * _cycles(shape, isa)
    for count in range(2, _MOST_CHANNELS // shape.out_channels + 1):
        if _can_fold(shape, count):
            cycles = _cycles(fold(shape, count), isa)
            if cycles < least:
                best, least = count, cycles
    return best


def fold(shape: ConvShape, count: int) -> ConvShape:
    """Return the layer whose pixels are `count` neighbouring ones of this one."""
    if count == 1:
        return shape
    return replace(
        shape,
        out_width=shape.out_width // count,
        out_channels=shape.out_channels * count,
        out_pixel_pitch=shape.out_pixel_pitch * count,
        kernel=(shape.kernel[0], shape.kernel[1] + (count - 1) * shape.stride[1]),
        stride=(shape.stride[0], shape.stride[1] * count),
    )


def fold_weights(
    weights: npt.NDArray[np.int8], shape: ConvShape, count: int
) -> npt.NDArray[np.int8]:
    """Return the weights of the folded layer.

    Args:
        weights: int8 [out_channels, kernel height, kernel width, in_channels].
        shape: the layer before it is folded.
        count: pixels taken as one.

    Returns:
        int8 [count * out_channels, kernel height, wider kernel width, in_channels].
    """
    outputs, height, width, inputs = weights.shape
    wide = fold(shape, count).kernel[1]
    folded = np.full((count, outputs, height, wide, inputs), shape.weight_zero_point, np.int8)
    for pixel in range(count):
        start = pixel * shape.stride[1]
        folded[pixel, :, :, start : start + width] = weights
    return folded.reshape(count * outputs, height, wide, inputs)


def _can_fold(shape: ConvShape, count: int) -> bool:
    side_by_side = shape.out_pixel_pitch == shape.out_channels
    simple = shape.groups == 1 and shape.dilation[1] == 1
    return side_by_side and simple and shape.out_width % count == 0


def _cycles(shape: ConvShape, isa: Isa) -> float:
    return modelled(shape, tiles(shape, isa)[0], MACHINES[isa.name])
