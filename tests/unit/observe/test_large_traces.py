"""Layers larger than what may be copied: memory does not grow with them, and nothing is missed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.observe import layer_values, matching, parts
from edgebed.observe.alone import alone
from edgebed.observe.departure_verdict import departure_verdict
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_comparison import TraceComparison, compare_traces
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Array

MEASURED = """
import sys
from pathlib import Path
from edgebed.cli import execute
code = execute(sys.argv[1:])
status = Path("/proc/self/status").read_text().split()
print(code, int(status[status.index("VmHWM:") + 1]) // 1024, file=sys.stderr)
"""


def layer(rows: int, wrong: bool = False) -> Array:
    base = np.random.default_rng(0).random((rows, 64), dtype=np.float32)
    values = np.repeat(base[..., None], 64, 2)
    if wrong:
        values[rows // 2 : rows // 2 + 90, :, ::2] *= -3
    return values


def write(path: Path, rows: int, *, wrong: bool = False, first: bool = False) -> Path:
    """Write two frames with a layer of rows x 64 x 64 float32, 16 kB a row."""
    values = layer(rows, wrong)
    values = np.ascontiguousarray(values.transpose(2, 0, 1)) if first else values
    given = np.linspace(0, 1, 192, dtype=np.float32).reshape(8, 8, 3)
    scores = np.linspace(0, 1, 10, dtype=np.float32)
    with TraceWriter(path, Manifest("host", "full", "wide", "", layers=("l", "y"))) as writer:
        for number in range(2):
            tensors = (
                Tensor("x", "input", given.shape, "float32", layout="HWC", values=given),
                Tensor(
                    "l", "layer", values.shape, "float32", kind="conv2d",
                    layout="CHW" if first else "HWC", values=values,
                ),
                Tensor("y", "output", scores.shape, "float32", values=scores + number),
            )  # fmt: skip
            writer.write(Frame(number, tensors))
    return path


@pytest.mark.parametrize("verb", ["compare", "observe"])
def test_memory_does_not_grow_with_a_layer(tmp_path: Path, verb: str) -> None:
    megabytes = []
    for rows in (512, 8192):  # 8 MB, and 134 MB a frame
        one = str(write(tmp_path / f"{rows}.trace", rows))
        two = str(write(tmp_path / f"{rows}b.trace", rows, wrong=True, first=True))
        words = [one, two, "--html", str(tmp_path / "r.html")] if verb == "compare" else [one]
        command = [sys.executable, "-c", MEASURED, verb, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        megabytes.append(int(done.stderr.split()[-1]))
    assert megabytes[1] < megabytes[0] + 150  # two layers of 134 MB
    assert megabytes[1] < 500


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take parts of 4,096 values, as of a layer a thousand times as large."""
    monkeypatch.setattr(parts, "PART", 4096)
    monkeypatch.setattr(layer_values, "MOST_VALUES", 50_000)
    monkeypatch.setattr(matching, "MAPPED", 100_000)


def compared(folder: Path, first: bool) -> TraceComparison:
    one = write(folder / "a.trace", 100)
    return compare_traces(one, write(folder / "b.trace", 100, wrong=True, first=first))


@pytest.mark.parametrize("first", [False, True])
def test_parts_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    whole = compared(tmp_path, first).error_of("l")
    monkeypatch.setattr(parts, "PART", 4096)
    found = compared(tmp_path, first).error_of("l")
    assert whole is not None and found is not None
    assert found.nrmse == pytest.approx(whole.nrmse) and found.nrmse > 0.1
    assert found.scaled_back == pytest.approx(whole.scaled_back)
    assert found.device_range == whole.device_range and found.values == whole.values
    assert (found.worst_frame, found.first_frame) == (whole.worst_frame, whole.first_frame)


@pytest.mark.usefixtures("small_parts")
def test_the_part_that_differs_most_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = compared(tmp_path, True)
    said = departure_verdict(done)
    assert said is not None and said.layer == "l"
    found = layer_values.layer_values(done, "l")
    assert found.rows is not None and found.rows[0] >= 49
    assert found.reference.size <= 50_000 and found.most_different()
    words = ["compare", str(tmp_path / "a.trace"), str(tmp_path / "b.trace"), "--layer", "l"]
    assert execute(words) == 2
    assert "too large to be shown whole" in capsys.readouterr().out


def test_large_values_stay_in_the_file_and_damage_in_them_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.trace", 512)
    with TraceReader(path) as reader:
        frames = list(reader.frames())
        assert not reader.cut
    values = frames[1].tensors[1].values
    assert isinstance(values, np.memmap) and np.array_equal(values, layer(512))
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1  # within the first layer
    path.write_bytes(data)
    with TraceReader(path) as reader:
        assert list(reader.frames()) == []
        assert "damaged" in reader.cut
    path.write_bytes(data[: len(data) // 4])
    with TraceReader(path) as reader:
        assert list(reader.frames()) == []
        assert "cut inside a record" in reader.cut


@pytest.mark.usefixtures("small_parts")
def test_bad_values_far_inside_a_large_layer_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.trace", 512)
    bad = tmp_path / "bad.trace"
    with TraceReader(path) as reader, TraceWriter(bad, reader.manifest) as writer:
        for frame in reader.frames():
            values = np.array(frame.tensors[1].values)
            values[300, 5, 7:9] = np.nan, np.inf
            tensors = (frame.tensors[0], replace(frame.tensors[1], values=values), frame.tensors[2])
            writer.write(replace(frame, tensors=tensors))
    (said,) = alone(bad).verdicts
    assert said.cause == "bad_values" and "4 NaN or infinite values in 2 frames" in said.evidence
    error = compare_traces(path, bad).error_of("l")
    assert error is not None and error.device_bad == 4
