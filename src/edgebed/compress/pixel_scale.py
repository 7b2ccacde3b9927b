"""Guess whether a network takes pixels as 0..1 or 0..255 from its first layer.

Batch normalisation, folded into a convolution, leaves an output that spreads about its bias: on
inputs of the right scale, standard deviation and bias of a channel are alike. A scale that is
wrong by 255 puts them 255 apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.run import trace
from edgebed.program.types import Array, Program

_STEP = 255.0
_SURE = 4.0  # one scale must fit at least so many times better than the other


@dataclass(frozen=True)
class Guess:
    """A scale of pixels, and why.

    Attributes:
        pixels: `0..1` or `0..255`.
        ratio: spread over bias in the first layer on pixels in 0..1, median of its channels; 0
            where it can't be measured.
        sure: one scale fits clearly better.
    """

    pixels: Literal["0..1", "0..255"]
    ratio: float
    sure: bool


def guess_pixels(program: Program, samples: Sequence[Mapping[str, Array]]) -> Guess:
    """Return the scale that suits a float network.

    Args:
        program: a float network whose first weighted layer is a convolution.
        samples: a few pictures as inputs, pixels in 0..1.
    """
    layer = next((op for op in program.ops if isinstance(op, Conv2d)), None)
    if layer is None or layer.bias is None or not samples:
        return Guess("0..1", 0.0, sure=False)
    bias = np.abs(program.constants[layer.bias].values.astype(np.float64))
    found = np.stack([_output(program, layer, sample) for sample in samples])
    spread = found.astype(np.float64).std(axis=(0, 2, 3))
    used = (bias > 0) & (spread > 0)
    if not used.any():
        return Guess("0..1", 0.0, sure=False)
    ratio = float(np.median(spread[used] / bias[used]))
    small, large = abs(np.log(ratio)), abs(np.log(ratio * _STEP))
    return Guess("0..1" if small <= large else "0..255", ratio, abs(small - large) > np.log(_SURE))


def _output(program: Program, layer: Conv2d, sample: Mapping[str, Array]) -> Array:
    return next(values for name, values in trace(program, sample) if name == layer.output)
