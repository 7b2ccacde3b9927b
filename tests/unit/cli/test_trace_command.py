"""`edgebed trace`: a device's log becomes a trace, or the reason why it cannot is named."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.observe.trace_reader import TraceReader
from edgebed.program import to_onnx
from edgebed.program.ops import by_kind
from edgebed.program.types import Program, TensorType
from edgebed.targets import load
from edgebed.targets._shared.rows.log_content import content
from edgebed.targets._shared.rows.log_frames import LoggedFrame
from edgebed.targets._shared.rows.log_records import Record
from edgebed.targets._shared.rows.manifest import Manifest, read
from edgebed.targets._shared.rows.tracing import network_byte


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that does nothing, compiled but not built."""
    place = tmp_path_factory.mktemp("net")
    pool = {"kernel": (1, 1), "stride": (1, 1)}
    same = by_kind("max_pool")(name="same", inputs=("x",), output="y", **pool)  # type: ignore[arg-type]
    program = Program("nothing", {"x": TensorType((1, 2, 4), "int8", 0.5, 3)}, (same,), ("y",), {})
    load("cortex_m").plan(program).write(place)
    to_onnx.save(program, place / "program.onnx")
    return place


def frame(manifest: Manifest, number: int, *, level: int = 1, plan: str = "") -> bytes:
    """Return what the device says of one run."""
    values = bytes(range(number, number + 8))
    begin = struct.pack("<4B16sI", 1, level, 1, 0, (plan or manifest.digest[:16]).encode(), 8000000)
    made = [
        ("R", struct.pack("<I", 12) + b"picture\0uint8 2x2x3"),
        ("Q", struct.pack("<I", 0) + bytes(12)), ("U", struct.pack("<i", -7) + b"light"),
        ("N", b"place\0hall"), ("F", begin), ("I", struct.pack("<HHI", 0, 0, 0) + values),
        ("O", struct.pack("<HHI", 0, 0, 0) + values),
    ]  # fmt: skip
    made.append(("E", struct.pack("<IQ", len(made), 4000)))
    key = network_byte(manifest.name)
    return b"".join(Record(kind, key, number, data).to_bytes() for kind, data in made)


def command(folder: Path, log: bytes, *more: str) -> int:
    (folder / "uart.log").write_bytes(log)
    words = ["trace", str(folder / "uart.log"), "--program", str(folder)]
    return execute([*words, "--out", str(folder / "device.trace"), *more])


def test_a_log_becomes_a_trace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read(folder / "network.json")
    log = b"boot\r\n" + b"and on\r\n".join(frame(manifest, n) for n in range(3))
    assert command(folder, log, "--text", str(folder / "uart.txt")) == 0
    said = capsys.readouterr().out
    assert "device.trace: 3 frames from" in said and "level io" in said
    assert (folder / "uart.txt").read_bytes() == b"boot\r\nand on\r\nand on\r\n"
    with TraceReader(folder / "device.trace") as reader:
        found = list(reader.frames())
        head = reader.manifest
    assert head.source == "cortex_m" and head.layers == ("y",) and head.level == "io"
    assert head.notes["processor"] == "m4"
    for number, one in enumerate(found):
        raw, x, y = one.tensors
        assert (raw.name, raw.role, raw.shape, raw.layout) == ("picture", "raw", (2, 2, 3), "HWC")
        assert (x.role, x.scale, x.zero_point) == ("input", 0.5, 3) and y.role == "output"
        np.testing.assert_array_equal(x.values.ravel(), np.arange(number, number + 8))  # type: ignore[union-attr]
        assert one.sensors == {"light": -7, "place": "hall"}
        assert one.figures["cycles"].value == 4000 and one.figures["cycles"].kind == "measured"
        assert one.figures["latency"].value == 500  # us, of 4,000 cycles at 8 MHz
        assert one.figures["energy"].kind == "estimated"  # no board measures it by itself
        assert one.figures["arena_bytes"].value == manifest.arena_bytes


def test_what_is_lost_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read(folder / "network.json")
    whole = [frame(manifest, n) for n in range(5)]
    whole[1] = whole[1][:40] + whole[1][60:]
    log = b"".join([whole[0], whole[1], whole[3], whole[4][:-3]])
    assert command(folder, log, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 2 and said["lost_frames"] == 3
    first, second, third = said["notes"]
    assert first.startswith("frame 1 is left out: ") and "of its 8 records" in first.replace(
        "7", "8"
    )
    assert second == "frame 2 is missing altogether"
    assert third.startswith("frame 4 is cut: ")


def test_frames_of_another_build_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read(folder / "network.json")
    log = frame(manifest, 0, plan="f" * 16) + frame(manifest, 1)
    assert command(folder, log) == 0
    assert "frame 0 is left out: it is of plan ffffffffffffffff" in capsys.readouterr().out
    assert command(folder, frame(manifest, 0, plan="f" * 16)) == 1
    assert "no frame of the log arrived whole" in capsys.readouterr().err


def test_numbers_beyond_a_tensor_cost_the_frame(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read(folder / "network.json")
    key = network_byte(manifest.name)
    begin = struct.pack("<4B16sI", 1, 1, 0, 0, manifest.digest[:16].encode(), 0)
    far = struct.pack("<HHI", 0, 0, 4) + bytes(8)
    records = [("F", begin), ("I", far), ("E", struct.pack("<IQ", 2, 0))]
    odd = b"".join(Record(kind, key, 0, data).to_bytes() for kind, data in records)
    assert command(folder, odd + frame(manifest, 1)) == 0
    said = capsys.readouterr().out
    assert "frame 0 is left out" in said and "'x' has 8 bytes, and byte 12 came" in said


@given(st.lists(st.tuples(st.sampled_from("RQUNIOLSC"), st.binary(max_size=60)), max_size=6))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_records_that_make_no_sense_are_refused_in_words(
    folder: Path, drawn: list[tuple[str, bytes]]
) -> None:
    records = tuple(Record(kind, 0, 0, payload) for kind, payload in drawn)
    with contextlib.suppress(EdgebedError):
        content(LoggedFrame(0, 3, 0, 0, "", 0, records), read(folder / "network.json"))


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (b"", "the log is empty"),
        (b"hello\nworld\n" * 9, "only text in the log.*without EB_TRACE"),
        (bytes(range(256)) * 3, "no records in the log.*baud"),
    ],
)
def test_a_log_without_frames_is_explained(
    folder: Path, log: bytes, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, log) == 1
    assert re.search(why, capsys.readouterr().err, re.DOTALL)


def test_a_log_that_was_written_as_text_is_recognised(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read(folder / "network.json")
    log = b"\n".join(frame(manifest, n) for n in range(9, 20))
    damaged = log.replace(b"\n", b"\r\n").replace(b"\xeb\x7cF", b"\xeb\x7c\r\nF")
    assert command(folder, damaged.replace(b"\xeb\x7cE", b"\xeb\x7c\r\nE")) == 1
    error = capsys.readouterr().err
    assert "no frame of the log arrived whole" in error or "written as text" in error


def test_a_log_of_another_network_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    other = replace(read(folder / "network.json"), name="somebody_else")
    assert command(folder, frame(other, 0)) == 1
    assert "the log is of another network" in capsys.readouterr().err


def test_what_cannot_be_read_or_written_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trace", str(folder / "absent.log"), "--program", str(folder)]
    assert execute([*words, "--out", str(tmp_path / "t.trace")]) == 1
    assert "absent.log: cannot be read" in capsys.readouterr().err
    (tmp_path / "a.log").write_bytes(b"x")
    words = ["trace", str(tmp_path / "a.log"), "--program"]
    assert execute([*words, str(folder), "--out", str(tmp_path / "a.log")]) == 1
    assert "nothing of yours is ever overwritten" in capsys.readouterr().err
    assert execute([*words, str(folder), "--out", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert execute([*words, str(tmp_path), "--out", str(tmp_path / "t.trace")]) == 1
    assert "program.onnx" in capsys.readouterr().err
    assert not (tmp_path / "t.trace").exists()


class Port:
    """A serial port that gives some bytes at a time, until somebody presses Ctrl-C."""

    log = b""

    def __init__(self, name: str, baud: int) -> None:
        self.baud, self.held, self.timeout = baud, self.log, 0.0

    @property
    def in_waiting(self) -> int:
        return min(len(self.held), 31)

    def read(self, count: int) -> bytes:
        if not self.held:
            raise KeyboardInterrupt
        data, self.held = self.held[:count], self.held[count:]
        return data

    def close(self) -> None:
        self.held = b""


@pytest.mark.parametrize(("more", "count"), [((), 3), (("--frames", "2"), 2)])
def test_a_serial_port_is_read_until_it_is_enough(
    folder: Path, more: tuple[str, ...], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read(folder / "network.json")
    module = types.ModuleType("serial")
    module.Serial = Port  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serial", module)
    monkeypatch.setattr(Port, "log", b"".join(frame(manifest, n) for n in range(3)))
    out = folder / "live.trace"
    assert execute(["trace", "COM3", "--program", str(folder), "--out", str(out), *more]) == 0
    with TraceReader(out) as reader:
        assert len(list(reader.frames())) == count and not reader.cut


def test_the_log_may_come_through_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read(folder / "network.json")
    (folder / "piped.log").write_bytes(frame(manifest, 0))
    with (folder / "piped.log").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        out = folder / "piped.trace"
        assert execute(["trace", "-", "--program", str(folder), "--out", str(out)]) == 0
    with TraceReader(out) as reader:
        assert len(list(reader.frames())) == 1
