"""Charts as inline SVG. Colours are CSS variables of the page, so they follow light and dark.

All functions return a string of SVG; text is escaped here. Lengths are SVG user units (pixels at
the page's natural width).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = 8
"""The page defines --c0 to --c7."""
_ALONE: Final = (
    *("#0f7b7b", "#d9622b", "#4a63c9", "#b8901b", "#a2418f", "#4d8b31", "#7a6a58", "#c23a4b"),
)  # the page's light colours, for drawings outside it
_ALONE_STYLE: Final = (
    "text{font:12px sans-serif;fill:#444}.value{fill:#111}.title{font-weight:bold;fill:#111}"
    ".band{stroke:#111;stroke-width:1.4;opacity:.6}"
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A named line.

    Attributes:
        name: for the legend.
        points: (x, y), x ascending.
        colour: number of the page's colour.
    """

    name: str
    points: Points
    colour: int = 0


@dataclass(frozen=True)
class Axes:
    """Ranges, labels and size of a chart."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    width: int = 560
    height: int = 300

    @property
    def left(self) -> int:
        """Where the plot begins."""
        return 54

    @property
    def bottom(self) -> int:
        """Where the plot ends below."""
        return self.height - 40

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return a data point's place in the drawing."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return (
            self.left + across * (self.width - self.left - 12),
            self.bottom - up * (self.bottom - 12),
        )


def colour(index: int) -> str:
    """Return the CSS colour number `index`, round and round."""
    return f"var(--c{index % COLOURS})"


def lines(series: Sequence[Series], axes: Axes) -> str:
    """Draw lines over axes, with direct names in a legend below."""
    body = _frame(axes) + "".join(_line(one, axes) for one in series)
    drawn = _svg(axes.width, axes.height, body, axes.y_label)
    if len(series) == 1:
        return drawn  # the axis already names it
    return drawn + legend((one.name, colour(one.colour)) for one in series)


def layer_colour(index: int) -> str:
    """Return a CSS colour for a device layer, far from its neighbours'; grey for the input."""
    return "var(--soft)" if index < 0 else f"hsl({index * 137.5 % 360:.0f} 48% 52%)"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return names with their CSS colours as HTML."""
    items = "".join(
        f'<span class="key"><i style="background:{ink}"></i>{escape(name)}</span>'
        for name, ink in entries
    )
    return f'<div class="legend">{items}</div>'


@dataclass(frozen=True)
class Bar:
    """One bar: a label, a length, what to write behind it, and optionally an error band.

    `colour` is the number of the page's colour; None takes the chart's.
    """

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    colour: int | None = None


def bars(rows: Sequence[Bar], *, width: int = 520, number: int = 0) -> str:
    """Draw horizontal bars from one zero line, longest value at full width."""
    height = 20
    label_width = 20 + max((round(6.1 * len(row.label)) for row in rows), default=0)
    top = max((row.high or row.value for row in rows), default=0) or 1
    room = width - label_width - 86
    parts = []
    for index, row in enumerate(rows):
        y = index * height
        length = max(row.value / top * room, 1)
        ink = colour(number if row.colour is None else row.colour)
        parts.append(
            f'<text class="tick" x="{label_width - 8}" y="{y + 14}" text-anchor="end">'
            f"{escape(row.label)}</text>"
            f'<rect x="{label_width}" y="{y + 4}" width="{length:.1f}" height="12" rx="2" '
            f'fill="{ink}"><title>{escape(row.label)}: {escape(row.text)}</title></rect>'
            + _band(row, label_width, room / top, y)
            + f'<text class="value" x="{label_width + _end(row, top, room) + 6:.1f}" '
            f'y="{y + 14}">{escape(row.text)}</text>'
        )
    return _svg(width, max(len(rows), 1) * height + 4, "".join(parts), "bars")


def standalone(drawn: str, title: str, note: str = "") -> str:
    """Return one drawing as a file: viewers show it without the page's style sheet.

    Args:
        drawn: what `bars` or `blocks` returned.
        title: above it.
        note: a line below it.
    """
    width, height = (int(word) for word in drawn.split('"', 2)[1].split()[2:])
    for index, ink in enumerate(_ALONE):  # many viewers know no CSS variables
        drawn = drawn.replace(f"var(--c{index})", ink)
    drawn = drawn.replace("<svg ", f'<svg x="12" y="34" width="{width}" height="{height}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 24}" height="{height + 62}">'
        f'<style>{_ALONE_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="title" x="12" y="22">{escape(title)}</text>{drawn}'
        f'<text x="12" y="{height + 50}">{escape(note)}</text></svg>\n'
    )


@dataclass(frozen=True)
class Block:
    """A rectangle of a map: `x` and `y` are half-open ranges in the map's own units.

    `colour` is any CSS colour.
    """

    name: str
    x: tuple[float, float]
    y: tuple[float, float]
    colour: str


def blocks(parts: Sequence[Block], axes: Axes) -> str:
    """Draw rectangles over axes: which part of a memory belongs to what."""
    drawn = []
    for part in parts:
        left, bottom = axes.place(part.x[0], part.y[0])
        right, top = axes.place(part.x[1], part.y[1])
        drawn.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.6, 0.6):.1f}" '
            f'height="{max(bottom - top, 0.8):.1f}" fill="{part.colour}">'
            f"<title>{escape(part.name)}</title></rect>"
        )
    return _svg(axes.width, axes.height, _frame(axes) + "".join(drawn), axes.y_label)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers within a range: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a tick's text: 0.2, 15, 20k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "",
    whole: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Return an HTML table; cells after the first column are numbers, set to the right.

    Args:
        head: names of the columns.
        rows: of cells.
        caption: below the table.
        whole: what a shortened cell stands for, shown when it is pointed at.
    """
    known = whole or {}
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(_cell(cell, known.get(cell, cell)) for cell in row) + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{said}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, whole: str) -> str:
    told = "" if whole == text else f' title="{escape(whole)}"'
    return f"<td{told}>{escape(text)}</td>"


def facts(rows: Mapping[str, str]) -> str:
    """Return names and values as an HTML list."""
    body = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows.items())
    return f"<dl>{body}</dl>"


def _svg(width: int, height: int, body: str, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}" '
        f'style="max-width:{width}px">{body}</svg>'
    )


def _frame(axes: Axes) -> str:
    parts = []
    for value in ticks(*axes.y):
        _, y = axes.place(axes.x[0], value)
        right = axes.width - 12
        parts.append(
            f'<line class="grid" x1="{axes.left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{axes.left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{short(value)}</text>"
        )
    for value in ticks(*axes.x, count=8):
        x, _ = axes.place(value, axes.y[0])
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{axes.bottom + 16}" text-anchor="middle">'
            f"{short(value)}</text>"
        )
    middle = (axes.left + axes.width) / 2
    parts.append(
        f'<text class="label" x="{middle:.0f}" y="{axes.height - 6}" text-anchor="middle">'
        f"{escape(axes.x_label)}</text>"
        f'<text class="label" transform="translate(12 {axes.bottom / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(axes.y_label)}</text>'
    )
    return "".join(parts)


def _line(series: Series, axes: Axes) -> str:
    places = [axes.place(x, y) for x, y in series.points]
    if not places:
        return ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour(series.colour)}" '
        f'stroke-width="2" stroke-linejoin="round"><title>{escape(series.name)}</title></polyline>'
    )


def _band(row: Bar, left: int, scale: float, y: float) -> str:
    if row.low is None or row.high is None:
        return ""
    x1, x2 = left + row.low * scale, left + row.high * scale
    return f'<line class="band" x1="{x1:.1f}" y1="{y + 10}" x2="{x2:.1f}" y2="{y + 10}"/>'


def _end(row: Bar, top: float, room: float) -> float:
    return max(row.value, row.high or 0) / top * room
