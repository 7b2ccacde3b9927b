"""Events survive the way to `events.jsonl`; figures say their unit, kind and band."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.events import Event, Finished, Note, Progress, Started, ignore, to_json
from edgebed.figures import Figure, number
from edgebed.recipes.stages import recording

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=30)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Started, texts, texts),
    st.builds(Note, texts, texts),
    st.builds(Finished, texts, texts),
    st.builds(
        Progress,
        texts,
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        texts,
        st.none() | finite,
        st.dictionaries(texts, finite, max_size=4),
    ),
)
KINDS = {"started": Started, "note": Note, "finished": Finished, "progress": Progress}


@given(events)
def test_an_event_is_one_line_of_json_that_says_everything(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line
    said = json.loads(line)
    assert KINDS[said.pop("event")](**said) == event


def test_the_kept_lines_carry_the_time_and_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    recording(path, ignore)(Started("train", "first\nline"))
    recording(path, ignore)(Progress("train", 1, 2, "epoch", None, {"loss": 0.5}))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["text"] == "first\nline"
    assert second["metrics"] == {"loss": 0.5} and second["seconds_left"] is None
    assert first["time"] <= second["time"]


def test_the_listener_hears_an_event_even_when_it_cannot_be_kept(tmp_path: Path) -> None:
    heard: list[Event] = []
    with pytest.raises(EdgebedError, match=r"cannot write: Is a directory"):
        recording(tmp_path, heard.append)(Note("data", "x"))
    assert heard == [Note("data", "x")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (7.95312, "7.953"), (999, "999"), (1000, "1,000"), (-1234567.8, "-1,234,568"),
     (0.000123456, "0.0001235")],
)  # fmt: skip
def test_numbers_for_people(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_figure_says_unit_band_and_kind() -> None:
    assert (
        str(Figure(8.2, "ms", "estimated", "model", 7.8, 8.95)) == "8.2 ms (7.8 to 8.95), estimated"
    )
    assert str(Figure(12000, "cycles", "emulated", "counted")) == "12,000 cycles, emulated"
    assert Figure(1, "ms", "measured", "clock", low=0.5).band == "", "half a band is none"


@given(finite, st.sampled_from(["measured", "emulated", "estimated"]), st.none() | finite)
def test_a_figure_comes_back_from_metrics_json(value: float, kind: str, low: float | None) -> None:
    one = Figure(value, "ms", kind, "source", low, low)  # type: ignore[arg-type]
    assert Figure(**json.loads(json.dumps(one.to_json()))) == one


def test_errors_say_where_what_why_and_what_to_try() -> None:
    whole = EdgebedError("is wrong", where="file:3", why="the rule", try_="that")
    assert str(whole) == "file:3: is wrong (the rule); try: that"
    assert str(EdgebedError("is wrong")) == "is wrong"
    assert did_you_mean("bed-fats", ["bed", "bed-fast"]) == "did you mean 'bed-fast'?"
    assert did_you_mean("zzz", ["b", "a"]) == "one of a, b"
