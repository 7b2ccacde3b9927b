"""A user's own assertions, and samples read from trace files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from observations import frame, layered, pair, picture

from edgebed.errors import EdgebedError
from edgebed.observe.assertions import ASSERTIONS, examine, load_user
from edgebed.observe.observed import paired
from edgebed.observe.trace import Manifest
from edgebed.observe.trace_writer import TraceWriter

GOOD = """
from edgebed.observe.verdict import Verdict

def too_dark(reference, device):
    level = float(device.input.stack.mean())
    return [Verdict("too_dark", "x", 1.0, f"The mean is {level:.2f}.", "Open the lens.")]
"""


def written(folder: Path, text: str) -> str:
    (folder / "mine.py").write_text(text)
    return str(folder / "mine.py")


def test_a_function_of_a_file_takes_part(tmp_path: Path) -> None:
    mine = load_user(written(tmp_path, GOOD) + ":too_dark")
    assert [one.cause for one in examine(*pair(1), more=[mine])] == ["too_dark"]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (GOOD, "to_dark", "did you mean 'too_dark'"),
        ("def f(x): return []", "f", "does not take two arguments"),
        ("def f(:", "f", "mine.py:1: cannot be read as Python"),
        ("1 / 0", "f", "fails when it is loaded .ZeroDivisionError"),
        ("f = 3", "f", "has no function 'f'"),
    ],
)
def test_a_file_that_does_not_fit_is_reported(
    tmp_path: Path, text: str, name: str, words: str
) -> None:
    with pytest.raises(EdgebedError, match=words):
        load_user(f"{written(tmp_path, text)}:{name}")


@pytest.mark.parametrize("text", ["mine.py", "mine.py:", ":f", "mine.py:not a name", "gone.py:f"])
def test_a_name_that_names_nothing(text: str) -> None:
    with pytest.raises(EdgebedError, match=r"FILE\.py:function"):
        load_user(text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 'bad'", "answers str .*list of Verdict"),
        ("return ['bad']", "answers a list with str in it"),
        ("return 1 / 0", r"ZeroDivisionError: division by zero, line 4\)"),
        ("raise SystemExit(5)", "SystemExit: 5"),
        ("return [Verdict('a', None, 0.5, 'e', 'f')]", "verdict whose layer is None"),
        ("return [Verdict('a', '', 7, 'e', 'f')]", r"mine.py:f: fails .*confidence 7"),
    ],
)
def test_a_function_that_fails_is_named(tmp_path: Path, body: str, words: str) -> None:
    text = f"from edgebed.observe.verdict import Verdict\n\ndef f(reference, device):\n    {body}"
    mine = load_user(written(tmp_path, text) + ":f")
    with pytest.raises(EdgebedError, match=words):
        examine(*pair(1), more=[mine])


def test_the_registry_holds_functions_by_name() -> None:
    assert len(ASSERTIONS) >= 20
    assert all(callable(ASSERTIONS[name]) and ASSERTIONS[name].__doc__ for name in ASSERTIONS)


def trace(path: Path, numbers: range, step: int = 1) -> Path:
    with TraceWriter(path, Manifest("host", "full")) as writer:
        for number in numbers:
            values = np.full((2, 2), number * step, np.float32)
            writer.write(frame(number, picture(number, 16, 12), values, None))
    return path


def test_samples_of_two_files_hold_the_same_frames(tmp_path: Path) -> None:
    one, two = paired(trace(tmp_path / "a", range(50)), trace(tmp_path / "b", range(33)), most=8)
    assert one.numbers == two.numbers and 3 <= len(one) <= 8
    assert one.input is not None and one.input.stack is not None
    assert one.input.stack[:, 0, 0].tolist() == list(one.numbers)


def test_samples_stay_within_their_bytes(tmp_path: Path) -> None:
    path = trace(tmp_path / "a", range(40))
    one, _ = paired(path, path, most=40, most_bytes=3000)
    held = sum(array.nbytes for signal in one.raw.values() for array in signal.stored)
    assert 0 < held <= 3000


def test_odd_numbers_leave_a_sample_too(tmp_path: Path) -> None:
    path = trace(tmp_path / "a", range(1, 60, 2))
    one, two = paired(path, path, most=8)
    assert one.numbers == two.numbers and 1 <= len(one) <= 8


def test_traces_without_a_common_frame(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="no frame in common"):
        paired(trace(tmp_path / "a", range(2)), trace(tmp_path / "b", range(4, 6)))


def test_layers_of_one_side_only_are_left_out() -> None:
    values = [np.ones((4, 2, 3, 3)), np.zeros((4, 2, 3, 3))]
    reference, _ = layered(values, values)
    _, device = layered(values[:1], values[:1])
    assert examine(reference, device) == []
