"""Error per layer as a drawing: columns on a logarithmic scale, the departing layer marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from edgebed.observe.departure import INPUT_LIMIT, Departure
from edgebed.observe.layer_error import LayerError
from edgebed.observe.names import short_names
from edgebed.observe.svg import legend

WIDTH: Final = 1060
LEFT: Final = 52
RIGHT: Final = 1018
"""Behind it stands the limit's number."""
TOP: Final = 26
HEIGHT: Final = 250
LOWEST: Final = 1e-5
NAMED: Final = 48
"""Up to so many columns carry their names."""
LONGEST: Final = 22
"""Letters of a name below its column."""


def error_chart(
    errors: Sequence[LayerError],
    where: Departure | None,
    clean: float | None = None,
    limit: float | None = None,
) -> str:
    """Draw one column a tensor, in the order of execution.

    Args:
        errors: of the tensors.
        where: the departing one, drawn in red as are those behind it beyond `clean`.
        clean: upper end of a shaded band; None where every difference counts.
        limit: drawn as a line; None for none.
    """
    compared = [(index, one) for index, one in enumerate(errors) if one.frames]
    if not compared:
        return '<p class="note">Nothing could be compared.</p>'
    room = (RIGHT - LEFT) / len(compared)
    short = short_names([one.name for _, one in compared], LONGEST)
    parts = [_scale(clean, limit)]
    behind = False
    for place, (index, one) in enumerate(compared):
        departs = where is not None and where.index == index
        late = where is not None and index > where.index and one.nrmse > (clean or 0)
        behind = behind or late
        parts.append(_column(one, LEFT + place * room, room, departs, late))
        if len(compared) <= NAMED:
            parts.append(_name(short[one.name], LEFT + (place + 0.5) * room, departs))
    longest = max(map(len, short.values()))
    below = 14 + (round(longest * 4.6) if len(compared) <= NAMED else 0)
    return (
        f'<div class="chart"><svg viewBox="0 0 {WIDTH} {TOP + HEIGHT + below}" role="img" '
        f'aria-label="error per layer">{"".join(parts)}</svg></div>'
        + _keys(where, clean, limit, behind=behind)
    )


def _keys(
    where: Departure | None, clean: float | None, limit: float | None, *, behind: bool
) -> str:
    """Say what the colours mean, those that occur."""
    found = [("as it should be", "var(--c0)")]
    if where is not None:
        found = [("first to depart", "var(--c7)"), ("before it, or sound", "var(--c0)")]
    if behind:
        beyond = "differing behind it" if clean is None else f"behind it, beyond {clean:g}"
        found.insert(1, (beyond, "color-mix(in srgb,var(--c7) 50%,var(--paper))"))
    if clean is not None:
        band = "color-mix(in srgb,var(--c5) 30%,var(--paper))"
        found.append((f"clean 8-bit networks, to {clean:g}", band))
    drawn = legend(found)
    if limit is None:
        return drawn
    said = f"Dashed: a layer departs beyond {limit:g}; an input does beyond {INPUT_LIMIT:g}."
    return f'{drawn}<p class="note">{said}</p>'


def _scale(clean: float | None, limit: float | None) -> str:
    right = RIGHT
    parts = []
    if clean is not None:
        parts.append(
            f'<rect x="{LEFT}" y="{_y(clean):.1f}" width="{right - LEFT}" '
            f'height="{TOP + HEIGHT - _y(clean):.1f}" fill="var(--c5)" opacity=".09"/>'
        )
    for power in range(round(math.log10(LOWEST)) + 1, 1):
        y = _y(10.0**power)
        parts.append(
            f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    ground = TOP + HEIGHT + 4
    parts.append(f'<text x="{LEFT - 8}" y="{ground}" text-anchor="end">equal</text>')
    if limit is not None:
        y = _y(limit)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" '
            'stroke="var(--c7)" stroke-dasharray="4 4" opacity=".7"/>'
            f'<text x="{right + 6}" y="{y + 4:.1f}" style="fill:var(--c7)">{limit:g}</text>'
        )
    return "".join(parts)


def _column(one: LayerError, x: float, room: float, departs: bool, behind: bool) -> str:
    top = _y(math.inf if one.device_bad else one.nrmse)
    ink = "var(--c7)" if departs or behind else "var(--c0)"
    width = max(min(room * 0.72, 34), 1.0)
    left = x + (room - width) / 2
    said = (
        f"{one.name}: nRMSE {one.nrmse:.3g}"
        + (f", {one.differing:,} of {one.values:,} integers differ" if one.differing else "")
        + (f", {one.device_bad:,} NaN or infinite" if one.device_bad else "")
    )
    height = max(TOP + HEIGHT - top, 1.5)
    drawn = (
        f'<rect x="{left:.1f}" y="{TOP + HEIGHT - height:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="2" fill="{ink}" opacity="{".5" if behind else "1"}">'
        f"<title>{escape(said)}</title></rect>"
    )
    if not departs:
        return drawn
    middle = left + width / 2
    said = "NaN" if one.device_bad else f"{one.nrmse:.2g}"
    anchor = "end" if middle > WIDTH * 0.75 else "start" if middle < WIDTH * 0.25 else "middle"
    return drawn + (
        f'<text class="value" x="{middle:.1f}" y="{TOP + HEIGHT - height - 8:.1f}" '
        f'text-anchor="{anchor}" font-weight="600">{said}</text>'
    )


def _name(name: str, x: float, departs: bool) -> str:
    y = TOP + HEIGHT + 12
    ink = ' class="value" font-weight="600"' if departs else ""
    return (
        f'<text{ink} x="{x:.1f}" y="{y}" text-anchor="end" '
        f'transform="rotate(-42 {x:.1f} {y})">{escape(name)}</text>'
    )


def _y(error: float) -> float:
    """Return the height of an error; everything at or below LOWEST lies on the ground line."""
    if error <= LOWEST:
        return TOP + HEIGHT
    share = (math.log10(min(error, 1.0)) - math.log10(LOWEST)) / -math.log10(LOWEST)
    return TOP + HEIGHT * (1 - share)
