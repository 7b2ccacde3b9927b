"""Pools on the host: the layer's shape and its C call. See pool.h for what is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgebed.targets.host.kernels import requantize
from edgebed.targets.host.kernels.requantize import Clamp, Requantization

HEADER = "pool.h"

_BIAS = 128
_KINDS = {
    "away": "EB_AVERAGE_AWAY",
    "up": "EB_AVERAGE_UP",
    "cut": "EB_AVERAGE_CUT",
    "float": "EB_AVERAGE_FLOAT",
    "rule": "EB_AVERAGE_RULE",
}


@dataclass(frozen=True)
class Pool:
    """A pool over a map; all literals of the generated call.

    The source pointer of a call is the map's first pixel: windows are clipped, no border is read.

    Attributes:
        in_height, in_width: input pixels without padding.
        out_height, out_width: output pixels.
        channels: of both maps.
        kernel, stride, dilation: (vertical, horizontal).
        padding: (top, left); bottom and right follow from the output's size.
        in_row, in_pixel, out_row, out_pixel: bytes from one row or pixel to the next.
        clamp: ends of the output, int8 values (a fused activation).
    """

    in_height: int
    in_width: int
    out_height: int
    out_width: int
    channels: int
    in_row: int
    in_pixel: int
    out_row: int
    out_pixel: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    clamp: Clamp = field(default_factory=Clamp)

    def literal(self) -> str:
        """Return the C literal of type eb_pool_shape."""
        fields = (
            *(self.in_height, self.in_width, self.out_width, self.channels),
            *(*self.kernel, *self.stride, *self.dilation, *self.padding),
            *(self.in_row, self.in_pixel, self.out_row, self.out_pixel),
            *(self.clamp.low + _BIAS, self.clamp.high + _BIAS),
        )
        return f"(eb_pool_shape){{{', '.join(map(str, fields))}}}"


@dataclass(frozen=True, eq=False)
class Average:
    """How the sum of a window becomes a level.

    Attributes:
        kind: `away` (TensorFlow Lite's average pool of int8), `up` (of uint8, half towards
            +infinity), `cut` (its mean of equal scales), `float` (ONNX Runtime's average pool),
            `rule` (its global average; TensorFlow Lite's mean).
        padding_counts: padded pixels count in the divisor.
        in_zero, out_zero: int8 zero points; `float`, and in_zero for `rule`.
        in_scale, out_scale: `float`.
        stored: a stored byte less the number that `out_zero` counts in: 128 where that is int8, 0
            where it is the uint8 of a file; `float`.
        rule: the requantisation of sum - count * in_zero; one block of its table is used.
    """

    kind: Literal["away", "up", "cut", "float", "rule"]
    padding_counts: bool = False
    in_zero: int = 0
    out_zero: int = 0
    in_scale: float = 1.0
    out_scale: float = 1.0
    stored: int = _BIAS
    rule: Requantization = field(default_factory=lambda: requantize.raw(16))

    def literal(self) -> str:
        """Return the C literal of type eb_average."""
        fields = (
            _KINDS[self.kind],
            int(self.padding_counts),
            self.in_zero,
            self.out_zero,
            float_literal(self.in_scale),
            float_literal(self.out_scale),
            self.stored,
            self.rule.literal(),
        )
        return f"(eb_average){{{', '.join(map(str, fields))}}}"


def float_literal(value: float) -> str:
    """Return the C literal of exactly this float32, in hexadecimal."""
    return f"{float(np.float32(value)).hex()}f"


def max_pool_call(layer: Pool, source: str, target: str, y0: str = "0", y1: str = "") -> str:
    """Return the C statement of a maximum over rows y0 <= y < y1 (all rows by default).

    Args:
        layer: the shape.
        source: C expression of type const uint8_t *, the input's first pixel.
        target: C expression of type uint8_t *, the output's first pixel.
        y0: C expression, the first output row.
        y1: C expression, the row behind the last.
    """
    return f"eb_max_pool({source}, {target}, {layer.literal()}, {y0}, {y1 or layer.out_height});"


def average_pool_call(
    layer: Pool,
    average: Average,
    source: str,
    target: str,
    table: str = "0",
    y0: str = "0",
    y1: str = "",
) -> str:
    """Return the C statement of an average; arguments as `max_pool_call`.

    Args:
        layer: the shape.
        average: how sums become levels.
        source: C expression, the input's first pixel.
        target: C expression, the output's first pixel.
        table: C expression of type const int32_t *, `average.rule.table` (kind `rule` only).
        y0: C expression, the first output row.
        y1: C expression, the row behind the last.
    """
    return (
        f"eb_average_pool({source}, {target}, {table}, {layer.literal()}, {average.literal()}, "
        f"{y0}, {y1 or layer.out_height});"
    )
