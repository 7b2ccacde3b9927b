"""Records with a right checksum and a wrong content: read up to them, and said in words."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter

Record = tuple[str, dict[str, Any], bytes]
FRAMES = 2


def written(path: Path) -> bytes:
    values = np.arange(6, dtype=np.float32)
    figure = Figure(1.0, "us", "measured", "clock")
    with TraceWriter(path, Manifest("host", "full", "net", layers=("c",))) as writer:
        for number in range(FRAMES):
            tensors = (
                Tensor("x", "input", (2, 3), "float32", values=values.reshape(2, 3)),
                Tensor("c", "layer", (6,), "int8", 0.5, 3, values=values.astype(np.int8)),
                Tensor("y", "output", (6,), "float32", values=values * (number + 1)),
            )
            writer.write(Frame(number, tensors, {"latency": figure}, {"c": {"time": figure}}))
    return path.read_bytes()


def records(data: bytes) -> list[Record]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        body = data[at + 8 : at + 8 + length]
        (size,) = struct.unpack_from("<I", body, 1)
        found.append((chr(body[0]), json.loads(body[5 : 5 + size]), body[5 + size :]))
        at += 8 + length
    return found


def joined(data: bytes, parts: list[Record]) -> bytes:
    made = data[:8]
    for kind, head, values in parts:
        text = json.dumps(head).encode()
        body = kind.encode() + struct.pack("<I", len(text)) + text + values
        made += struct.pack("<II", len(body), zlib.crc32(body)) + body
    return made


def read(path: Path) -> tuple[int, str]:
    with TraceReader(path) as reader:
        return len(list(reader.frames())), reader.cut


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "sound.trace"
    written(path)
    return path


def second_frame(data: bytes, kind: str) -> int:
    """Return the place of the first record of a kind in the second frame."""
    parts = records(data)
    start = [place for place, one in enumerate(parts) if one[0] == "F"][1]
    return next(place for place in range(start, len(parts)) if parts[place][0] == kind)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("F", {"number": "two"}, "'number' is 'two'"),
        ("F", {"number": -4}, "its number is -4"),
        ("T", {"dtype": "int9"}, "no type is called 'int9'"),
        ("T", {"dtype": "O"}, "'O' is no type of numbers"),
        ("T", {"shape": [2, 4]}, "24 bytes are no 2x4 of float32 (32 bytes)"),
        ("T", {"shape": [-2, -3]}, "'shape' holds -2"),
        ("T", {"name": None}, "'name' is None"),
        ("T", {"role": "middle"}, "'role' is 'middle', not one of raw, input, layer"),
        ("T", {"scale": "half"}, "'scale' is 'half'"),
        ("T", {"zero_point": 0.5}, "'zero_point' is 0.5"),
        ("G", {"figure": {"value": 1, "unit": "us", "kind": "guessed", "source": ""}}, "'guessed'"),
        ("G", {"figure": 3}, "'figure' is 3"),
    ],
)
def test_a_record_of_no_sense_costs_its_frame_and_is_explained(
    sound: Path, tmp_path: Path, kind: str, change: dict[str, Any], said: str
) -> None:
    data = sound.read_bytes()
    parts, place = records(data), second_frame(data, kind)
    parts[place] = (kind, {**parts[place][1], **change}, parts[place][2])
    (tmp_path / "t.trace").write_bytes(joined(data, parts))
    frames, cut = read(tmp_path / "t.trace")
    assert frames == 1
    assert "makes no sense" in cut and said in cut


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_head_brings_the_reader_down(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "t.trace"
        parts = records(written(path))
        place = data.draw(st.integers(0, len(parts) - 1))
        kind, head, values = parts[place]
        key = data.draw(st.sampled_from(sorted(head)))
        parts[place] = (kind, {**head, key: data.draw(ANYTHING)}, values)
        path.write_bytes(joined(path.read_bytes(), parts))
        try:
            frames, cut = read(path)
        except EdgebedError as error:
            assert kind == "M" and "makes no sense" in str(error)
            return
        assert frames == FRAMES or cut


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    name = "a\x1b[31mred\nline\u202eback"
    path = tmp_path / "t.trace"
    with TraceWriter(path, Manifest("host\x07", "full", layers=(name,))) as writer:
        values = np.zeros(3, np.float32)
        writer.write(Frame(0, (Tensor(name, "layer", (3,), "float32", values=values),)))
    with TraceReader(path) as reader:
        (frame,) = reader.frames()
        (shown,) = reader.manifest.layers
    assert shown == frame.tensors[0].name == "a\ufffd[31mred\ufffdline\ufffdback"
    assert reader.manifest.source == "host\ufffd"


def test_facts_of_later_versions_are_passed_over(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    parts = [(kind, {**head, "later": [1]}, values) for kind, head, values in records(data)]
    parts.insert(2, ("Q", {"what": "nobody knows"}, b"123"))
    (tmp_path / "t.trace").write_bytes(joined(data, parts))
    assert read(tmp_path / "t.trace") == (FRAMES, "")


def test_every_cut_of_a_trace_is_read_up_to_it_or_refused(sound: Path, tmp_path: Path) -> None:
    data, path = sound.read_bytes(), tmp_path / "cut.trace"
    before = 0
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            frames, cut = read(path)
        except EdgebedError as error:
            assert before == 0
            assert any(word in str(error) for word in ("is empty", "is damaged")), str(error)
            continue
        assert before <= frames <= FRAMES
        assert "cut inside a record" in cut or "the file ends behind" in cut
        before = frames
    assert before == FRAMES


@pytest.mark.parametrize("verb", ["compare", "observe"])
def test_both_verbs_say_where_a_trace_was_cut(
    sound: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.trace"
    path.write_bytes(sound.read_bytes()[:-40])
    words = [str(path)] if verb == "observe" else [str(sound), str(path)]
    execute([verb, *words])
    assert "cut" in capsys.readouterr().out
