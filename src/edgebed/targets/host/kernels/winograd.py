"""3 x 3 convolutions with a quarter of the products, for winograd.h: which, and their constants.

The arithmetic is exact (winograd.h says why), so that it is only a question of time which layers
take it. It needs 16-bit products, half as many an instruction, and transforms of inputs and
outputs: what is saved grows with the channels, the transforms do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgebed.targets.host.kernels.conv import ConvShape, IntArray, Names
from edgebed.targets.host.kernels.requantize import BLOCK, Bounds, Requantization

HEADER: Final = "winograd.h"

_SIDE: Final = 4  # output pixels along a side of a tile
_WEIGHTS: Final = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 12]], np.int64
)
SCALE: Final = 576
"""The kernel's sums are so many times the accumulators."""
_TOGETHER: Final = 8  # sums in registers: they hide the latency, and their results stay near
_INPUTS: Final = 512  # tiles x input channels whose transforms have room
_NARROW: Final = 1 << 25  # accumulators below this come back from modulo 2**32
_WEIGHT_BYTES: Final = 1_300_000  # a few more than the second-level cache holds
_IN_CYCLES: Final = 6.5  # of a tile's input transform, a channel
_OUT_CYCLES: Final = 9.0  # of a tile's output transform and requantisation, a channel
_LATENCY: Final = 4.0  # cycles from one product to the next one of the same sum
_WORTH: Final = 0.95  # share of the cycles below which it is taken; the model errs a little


@dataclass(frozen=True)
class Winograd:
    """A layer as pieces: `tiles` of 4 x 4 pixels times `vectors` of 16 channels together.

    Attributes:
        shape: the layer.
        tiles: the last ones of a map are computed again where they do not divide it.
        vectors: they divide the output channels.
    """

    shape: ConvShape
    tiles: int
    vectors: int

    @property
    def pieces(self) -> int:
        """Into how many pieces threads may cut the layer."""
        return -(-_tiles(self.shape) // self.tiles) * (self.shape.blocks // self.vectors)


def plan(shape: ConvShape, bounds: Bounds) -> Winograd | None:
    """Return how to compute a layer, None where it cannot be or does not pay.

    Args:
        shape: the layer.
        bounds: of the accumulators, as the requantisation gets them.
    """
    narrow = max(-int(bounds.low.min()), int(bounds.high.max())) < _NARROW
    if not (narrow and _is_possible(shape)):
        return None
    layer = pieces(shape)
    return layer if _pays(layer) else None


def pieces(shape: ConvShape) -> Winograd:
    """Return a layer cut into pieces; it must be possible, whether or not it pays."""
    vectors = 2 if shape.blocks % 2 == 0 else 1
    room = min(_TOGETHER // vectors, _INPUTS // shape.in_channels)
    return Winograd(shape, min(room, _tiles(shape)), vectors)


def _is_possible(shape: ConvShape) -> bool:
    simple = (shape.kernel, shape.stride, shape.dilation) == ((3, 3), (1, 1), (1, 1))
    full = shape.in_channels % BLOCK == 0 and shape.out_channels % BLOCK == 0
    large = min(shape.out_height, shape.out_width) >= _SIDE and shape.in_channels <= _INPUTS
    return simple and full and large and shape.groups == 1 and shape.weight_zero_point == 0


def _pays(layer: Winograd) -> bool:
    """Return whether a processor that multiplies 64 bytes a cycle is done earlier."""
    inputs, outputs = layer.shape.in_channels, layer.shape.out_channels
    idle = max(1.0, _LATENCY / (layer.tiles * layer.vectors))
    a_tile = idle * 36 * inputs * outputs / 32 + _IN_CYCLES * inputs + _OUT_CYCLES * outputs
    count = -(-_tiles(layer.shape) // layer.tiles) * layer.tiles
    near = 36 * 2 * inputs * outputs <= _WEIGHT_BYTES
    return near and count * a_tile < _WORTH * layer.shape.macs / 64


def _tiles(shape: ConvShape) -> int:
    return -(-shape.out_height // _SIDE) * -(-shape.out_width // _SIDE)


def pack_weights(weights: npt.NDArray[np.int8], layer: Winograd) -> npt.NDArray[np.int16]:
    """Return transformed weights in the order in which the kernel reads them.

    Args:
        weights: int8 [out_channels, 3, 3, in_channels].
        layer: from `plan`.

    Returns:
        int16 [groups of vectors, 36, pairs of inputs, vectors, 16, 2].
    """
    g = weights.astype(np.int64)
    u = np.einsum("fy,oyxc,ex->feoc", _WEIGHTS, g, _WEIGHTS)
    outputs, inputs = len(g), g.shape[-1]
    groups = outputs // (BLOCK * layer.vectors)
    parts = u.reshape(36, groups, layer.vectors, BLOCK, inputs // 2, 2)
    return np.ascontiguousarray(parts.transpose(1, 0, 4, 2, 3, 5).astype("<i2"))


def pack_bias(folded: IntArray, rule: Requantization) -> npt.NDArray[np.int32]:
    """Return the folded bias, moved as the rule wants it, in the kernel's unit; int32 [channels].

    It wraps modulo 2**32 like everything else.
    """
    bias = folded if rule.moved is None else folded + rule.moved
    return (bias * SCALE).astype(np.int32)


def call(
    layer: Winograd,
    rule: Requantization,
    names: Names,
    first: str,
    end: str,
    *,
    scaled: bool = False,
) -> str:
    """Return the C statement that computes pieces `first` to `end` - 1 of a layer.

    Args:
        layer: from `plan`.
        rule: its requantisation.
        names: C expressions; weights is const int16_t * from `pack_weights`, bias from `pack_bias`.
        first: C expression of the first piece.
        end: C expression of the piece behind the last.
        scaled: the rule is that of SCALE times the accumulators, which fit int32.
    """
    s = layer.shape
    numbers = (
        *(s.out_height, s.out_width, s.in_channels, s.out_channels),
        *(s.in_row_pitch, s.in_pixel_pitch, s.out_row_pitch, s.out_pixel_pitch),
        *(layer.tiles, layer.vectors, int(scaled)),
    )
    pointers = (names.x, names.weights, names.bias, names.table, names.y)
    head = f"eb_winograd((eb_winograd_shape){{{', '.join(map(str, numbers))}}}, {rule.literal()}"
    return f"{head}, {', '.join(pointers)}, {first}, {end});"
