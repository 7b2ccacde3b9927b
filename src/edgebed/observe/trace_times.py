"""Time per layer of two traces: bars side by side, or shares where one side counts cycles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from edgebed.figures import Figure, number
from edgebed.observe.names import short_names
from edgebed.observe.page import Section, Tile
from edgebed.observe.svg import Bar, bars, legend
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.trace_side import Side

TIME_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
LONGEST: Final = 40
"""Letters that a bar's name has room for."""
MOST_TIMED: Final = 40
"""So many layers have their time drawn."""
NO_TIMES: Final = (
    '<p class="note">Neither trace says how long its layers took. For a compiled folder, '
    "<code>edgebed run FOLDER --input X --trace T.trace --level full</code> records it.</p>"
)


def time_tile(comparison: TraceComparison) -> list[Tile]:
    """Return the tile of the device's time for a frame; none where nobody took it."""
    reference, device = (_total(side) for side in (comparison.reference, comparison.device))
    if device is None:
        return []
    beside = "" if reference is None else f"; reference {_short(reference)}, {reference.kind}"
    return [Tile("time of a frame", _short(device), device.kind + beside)]


def times(comparison: TraceComparison) -> Section:
    """Return the section on time: the slowest layers of each side that has times of layers."""
    sides = [(comparison.reference, "reference", 2), (comparison.device, "device", 1)]
    known = [(name, ink, times) for side, name, ink in sides if (times := _layer_times(side))]
    if not known:
        return Section("Time per layer", NO_TIMES)
    shares = len({figure.unit in TIME_UNITS for _, _, t in known for figure in t.values()}) > 1
    rows = _timed(comparison, known, shares=shares)
    shown = _slowest(rows)
    short = short_names(shown, LONGEST)
    drawn = [replace(one, label=short[name] if n == 0 else "")
             for name, bars_ in shown.items() for n, one in enumerate(bars_)]  # fmt: skip
    keys = legend([(f"{name}, {_kind(times)}", f"var(--c{ink})") for name, ink, times in known])
    lead = "Mean over the frames compared"
    lead += ", as a share of each side's total." if shares else "."
    if len(shown) < len(rows):
        lead += f" The {len(shown)} slowest of {len(rows)} layers, in the order of execution."
    chart = f'<div class="chart">{bars(drawn, width=900)}</div>'
    return Section("Time per layer", chart + keys, lead)


def _timed(
    comparison: TraceComparison, known: Sequence[tuple[str, int, Mapping[str, Figure]]], *,
    shares: bool,
) -> dict[str, list[Bar]]:  # fmt: skip
    """Return the bars of each layer by the reference's name, one a side that timed it.

    Args:
        comparison: which layer of the device is which of the reference.
        known: each side's name, its colour, and the times of its layers.
        shares: give each time as a part of its side's total.
    """
    renamed = {e.pair.device[1]: e.name for e in comparison.errors if e.pair.role != "raw"}
    rows: dict[str, list[Bar]] = {}
    for name, ink, times in known:
        total = sum(_seconds(one) for one in times.values()) or 1.0
        for layer, figure in times.items():
            value = _seconds(figure) / (total if shares else 1)
            text = f"{value:.1%}" if shares else _short(figure)
            label = renamed.get(layer, layer) if name == "device" else layer
            rows.setdefault(label, []).append(Bar(label, value, text, colour=ink))
    return rows


def _slowest(rows: Mapping[str, list[Bar]]) -> dict[str, list[Bar]]:
    """Return the bars of the slowest layers, in the order of execution."""
    length = {name: max(bar.value for bar in found) for name, found in rows.items()}
    slowest = sorted(rows, key=lambda name: -length[name])[:MOST_TIMED]
    return {name: found for name, found in rows.items() if name in slowest}


def _layer_times(side: Side) -> dict[str, Figure]:
    found = {}
    for layer, figures in side.layers.items():
        figure = _time_of(list(figures.values()))
        if figure is not None:
            found[layer] = figure
    return found


def _time_of(figures: Sequence[Figure]) -> Figure | None:
    """Return the time among figures, else a count that stands for it."""
    good = [one for one in figures if math.isfinite(one.value)]
    for units in (TIME_UNITS, ("cycles",), ("instructions",)):
        for one in good:
            if one.unit in units:
                return one
    return None


def _total(side: Side) -> Figure | None:
    return _time_of(list(side.figures.values()))


def _seconds(figure: Figure) -> float:
    return figure.value * TIME_UNITS.get(figure.unit, 1.0)


def _short(figure: Figure) -> str:
    """Return a figure in the unit that leaves it between 1 and 1,000, where it is a time."""
    if figure.unit not in TIME_UNITS:
        return f"{number(figure.value)} {figure.unit}"
    seconds = _seconds(figure)
    unit = next((u for u in ("s", "ms", "us") if abs(seconds) >= TIME_UNITS[u]), "ns")
    return f"{number(seconds / TIME_UNITS[unit])} {unit}"


def _kind(times: Mapping[str, Figure]) -> str:
    return " and ".join(sorted({figure.kind for figure in times.values()}))
