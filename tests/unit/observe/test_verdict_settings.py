"""What a verdict's settings say undoes the fault, without a person reading the sentence."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import pair, usual

from edgebed.observe.assertions import examine
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict

Array = np.ndarray


def only(sides: tuple[Observed, Observed]) -> Verdict:
    (found,) = examine(*sides)
    json.dumps(found.to_json())
    return found


def inputs(sides: tuple[Observed, Observed]) -> tuple[Array, Array]:
    """The first frame's right input and the device's."""
    return tuple(np.asarray(one.input.real[0]) for one in sides)  # type: ignore[return-value,union-attr]


@pytest.mark.parametrize("order", [p for p in itertools.permutations(range(3)) if p != (0, 1, 2)])
def test_the_order_leads_back(order: tuple[int, ...]) -> None:
    sides = pair(1, lambda raw: usual(raw)[list(order)])
    right, wrong = inputs(sides)
    assert wrong[np.argsort(only(sides).settings["order"])] == pytest.approx(right, abs=0.01)


@pytest.mark.parametrize("turn", range(8))
def test_turns_lead_back(turn: int) -> None:
    def change(raw: Array) -> Array:
        found = np.rot90(usual(raw), turn % 4, (1, 2))
        return found[..., ::-1] if turn >= 4 else found

    sides = pair(1, change)
    if not turn:
        assert examine(*sides) == []
        return
    right, wrong = inputs(sides)
    said = only(sides).settings
    back = wrong[..., ::-1] if said["mirrored"] else wrong
    assert np.rot90(back, -said["quarters"], (1, 2)) == pytest.approx(right, abs=0.01)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.2, 3), st.floats(-1, 1))
def test_factor_and_offset_lead_back(factor: float, offset: float) -> None:
    sides = pair(1, lambda raw: usual(raw) * factor + offset, quantised=False)
    found = [one for one in examine(*sides) if one.cause == "normalisation"]
    if abs(factor - 1) + abs(offset) < 0.1:
        return
    if not found:  # a known fault that is this map, as limited range
        assert len(examine(*sides)) == 1
        return
    said = found[0].settings
    right, wrong = inputs(sides)
    a, b = (np.array(said[key])[:, None, None] for key in ("factor", "offset"))
    assert (wrong - b) / a == pytest.approx(right, abs=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(-7, 7), st.integers(-7, 7))
def test_a_shift_says_how_far(down: int, right: int) -> None:
    def change(raw: Array) -> Array:
        wide = np.pad(usual(raw), ((0, 0), (8, 8), (8, 8)), mode="edge")
        return wide[:, 8 - down : 56 - down, 8 - right : 56 - right]

    found = examine(*pair(1, change))
    if max(abs(down), abs(right)) >= 2:
        assert [one.settings for one in found] == [{"down": down, "right": right}]


def test_a_verdict_with_settings_can_be_in_a_set() -> None:
    one = Verdict("crop_offset", "x", 0.9, "", "", settings={"down": 1})
    assert one in {one}
