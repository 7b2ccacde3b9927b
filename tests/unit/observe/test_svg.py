"""Charts: scales a reader can trust, and text that can't break out of its drawing."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebed.observe.svg import (
    Axes,
    Bar,
    Block,
    Series,
    bars,
    blocks,
    lines,
    short,
    standalone,
    table,
    ticks,
)

AXES = Axes((0, 10), (0, 4), "layer <n>", "bytes & bits")
NASTY = '<script>alert("x")</script>'


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_round_even_and_inside(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count)
    assert len(found) <= count + 1
    assert all(low - 1e-6 * span <= tick <= low + span + 1e-6 * span for tick in found)
    steps = {f"{b - a:.3g}" for a, b in itertools.pairwise(found)}
    assert all(step.strip("0.-e+").rstrip("0")[:1] in "125" for step in steps)


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "0.2"), (15, "15"), (32768, "32.8k"), (2.5e6, "2.5M"), (0, "0")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_places_follow_the_data() -> None:
    left, bottom = AXES.place(0, 0)
    right, top = AXES.place(10, 4)
    assert left < right
    assert top < bottom
    middle = AXES.place(5, 2)
    assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2))


def test_bars_are_in_proportion_and_the_longest_band_fits() -> None:
    rows = [Bar("a", 10, "10 ms", 9, 20), Bar("b", 5, "5 ms")]
    drawn = ET.fromstring(bars(rows, width=400))
    widths = [float(one.get("width", "0")) for one in drawn.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert max(float(one.get("x2", "0")) for one in drawn.iter("line")) <= 400


def test_text_is_escaped_everywhere() -> None:
    drawn = [
        lines([Series(NASTY, [(0, 1), (10, 4)]), Series("b", [(0, 1)])], AXES),
        bars([Bar(NASTY, 1, NASTY)]),
        blocks([Block(NASTY, (0, 1), (0, 1), "red")], AXES),
        table([NASTY], [[NASTY]], caption=NASTY),
    ]
    for one in drawn:
        assert "<script" not in one
        for svg in re.findall(r"<svg.*?</svg>", one):
            ET.fromstring(svg)


def test_empty_charts_draw() -> None:
    assert "<svg" in bars([])
    assert "<svg" in lines([Series("nothing", [])], AXES)
    assert "<svg" in blocks([], AXES)


def test_a_drawing_as_a_file_needs_no_page() -> None:
    drawn = standalone(bars([Bar("a", 2, "2 us"), Bar("b", 1, "1 us", colour=6)]), NASTY, NASTY)
    root = ET.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"  # without it, browsers show the source
    assert float(root.get("width", "0")) > 0 < float(root.get("height", "0"))
    assert "var(" not in drawn  # what viewers that know no CSS variables paint black
    inks = {
        one.get("fill") for one in root.iter(f"{name}rect") if one.find(f"{name}title") is not None
    }
    assert len(inks) == 2
