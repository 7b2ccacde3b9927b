"""Element by element on the host: shapes, exact rules, C calls. See elementwise.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgebed.targets.host.kernels.pairs import PackedPair

HEADER = "elementwise.h"

_BIAS = 128


@dataclass(frozen=True)
class PairShape:
    """Two operands and their result; pitches in bytes, all literals.

    A pitch of 0 repeats the second operand: `b_row` for every row, `b_pixel` for every pixel,
    `b_channel` (else 1) for every channel.
    """

    height: int
    width: int
    channels: int
    a_row: int
    a_pixel: int
    b_row: int
    b_pixel: int
    out_row: int
    out_pixel: int
    b_channel: int = 1

    def literal(self) -> str:
        """Return the C literal of type eb_pair_shape."""
        fields = (self.width, self.channels, self.a_row, self.a_pixel, self.b_row, self.b_pixel,
                  self.b_channel, self.out_row, self.out_pixel)  # fmt: skip
        return f"(eb_pair_shape){{{', '.join(map(str, fields))}}}"


@dataclass(frozen=True)
class MapShape:
    """One operand and its result; pitches in bytes (of float32 pixels too), all literals."""

    height: int
    width: int
    channels: int
    in_row: int
    in_pixel: int
    out_row: int
    out_pixel: int

    def literal(self) -> str:
        """Return the C literal of type eb_map_shape."""
        fields = (self.width, self.channels, self.in_row, self.in_pixel, self.out_row,
                  self.out_pixel)  # fmt: skip
        return f"(eb_map_shape){{{', '.join(map(str, fields))}}}"


def pair_call(
    shape: PairShape,
    pair: PackedPair,
    a: str,
    b: str,
    target: str,
    table: str = "0",
    y0: str = "0",
    y1: str = "",
) -> str:
    """Return the C statement of a sum, difference or product of rows y0 <= y < y1.

    Args:
        shape: of both operands and the result.
        pair: the rule, from `pairs.fit`.
        a: C expression of type const uint8_t *, first operand.
        b: C expression, second operand (the one that may be broadcast).
        target: C expression of type uint8_t *.
        table: C expression, the bytes of `pair.table`; unused where that is empty.
        y0: C expression, the first row.
        y1: C expression, the row behind the last (all rows by default).
    """
    rows = f"{y0}, {y1 or shape.height}"
    return f"eb_pairwise({a}, {b}, {target}, {table}, {shape.literal()}, {pair.literal()}, {rows});"


def extreme_call(
    shape: PairShape,
    which: Literal["maximum", "minimum"],
    a: str,
    b: str,
    target: str,
    y0: str = "0",
    y1: str = "",
) -> str:
    """Return the C statement of a maximum or minimum; both maps share scale and zero point."""
    minimum = int(which == "minimum")
    rows = f"{y0}, {y1 or shape.height}"
    return f"eb_extreme({a}, {b}, {target}, {shape.literal()}, {minimum}, {rows});"


def table_call(
    shape: MapShape, source: str, target: str, table: str, y0: str = "0", y1: str = ""
) -> str:
    """Return the C statement out = table[in] (activations, changes of scale); bytes to bytes."""
    return f"eb_table_map({source}, {target}, {table}, {shape.literal()}, {_rows(shape, y0, y1)});"


def _rows(shape: MapShape, y0: str, y1: str) -> str:
    return f"{y0}, {y1 or shape.height}"
