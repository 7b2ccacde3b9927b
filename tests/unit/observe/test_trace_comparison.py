"""What is wrong with traces themselves: cut, of another network, incomplete, or very long."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import Recorder, float_network, integer_network, op, pictures, real

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.departure_verdict import command, departure_verdict
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Program, TensorType

INTEGER = integer_network()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clean") / "reference.trace"
    return Recorder(INTEGER).record(path, pictures(6))


def thinned(source: Path, path: Path, numbers: list[int]) -> Path:
    with TraceReader(source) as reader, TraceWriter(path, reader.manifest) as writer:
        for frame in reader.frames():
            if frame.number in numbers:
                writer.write(frame)
    return path


def test_a_cut_trace_is_read_up_to_the_cut(clean: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.trace"
    cut.write_bytes(clean.read_bytes()[: clean.stat().st_size * 2 // 3])
    found = compare_traces(clean, cut)
    assert 0 < found.frames < 6
    assert found.departure is None
    assert any("cut.trace is cut" in text for text in found.notes)
    assert any("frames that the other trace lacks" in text for text in found.notes)


def test_frames_are_paired_by_number(clean: Path, tmp_path: Path) -> None:
    some = thinned(clean, tmp_path / "some.trace", [1, 4, 5])
    found = compare_traces(clean, some)
    assert found.frames == 3
    assert all(one.equal for one in found.errors)
    assert compare_traces(clean, some, only=4).frames == 1
    with pytest.raises(EdgebedError, match="frame 2 is not in both"):
        compare_traces(clean, some, only=2)


def test_no_common_tensor_is_said(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.trace"
    with TraceWriter(path, Manifest("board")) as writer:
        writer.write(Frame(0))
    with pytest.raises(EdgebedError, match="no tensor in common"):
        compare_traces(clean, path)


def test_a_layer_of_another_size_is_noted_and_not_fatal(clean: Path, tmp_path: Path) -> None:
    def cropped(one: Tensor) -> Tensor:
        if one.name != "pool.q" or one.values is None:
            return one
        return replace(one, values=one.values[:, 1:], shape=one.values[:, 1:].shape)

    found = compare_traces(
        clean, Recorder(INTEGER, "board", changed=cropped).record(tmp_path / "c.trace", pictures(6))
    )
    assert any("pool.q: 8x6x6 in the reference, 8x5x6 here" in text for text in found.notes)
    assert found.departure is None and found.error_of("last.q") is not None


def test_no_common_frame_is_said(clean: Path, tmp_path: Path) -> None:
    a = thinned(clean, tmp_path / "a.trace", [0, 1])
    b = thinned(clean, tmp_path / "b.trace", [2, 3])
    with pytest.raises(EdgebedError, match="no frame in common"):
        compare_traces(a, b)


def test_traces_of_other_networks_are_refused_in_one_sentence(clean: Path, tmp_path: Path) -> None:
    shape = TensorType((3, 24, 24), "float32", 1.0)
    ops = (op("conv2d", "u", "x", weight="w"), op("unary", "v", "u", function="relu"))
    other = Program("elsewhere", {"x": shape}, ops, ("v",), {"w": real(7, 7, 3, 3, 3)})
    path = Recorder(other, digest="o").record(tmp_path / "other.trace", pictures(3))
    with pytest.raises(EdgebedError) as raised:
        compare_traces(clean, path)
    text = str(raised.value)
    assert "different networks, 'tiny' and 'elsewhere'" in text
    assert "--force" in text and "\n" not in text
    forced = compare_traces(clean, path, force=True)
    assert forced.frames == 3
    assert command(forced).endswith("--force")  # or it would be refused again


def test_the_float_network_and_its_integers_are_one_network(clean: Path, tmp_path: Path) -> None:
    path = Recorder(float_network(), digest="f").record(tmp_path / "f.trace", pictures(3))
    found = compare_traces(path, clean)
    assert any("different digests" in text for text in found.notes)
    assert found.departure is None


def test_io_traces_compare_inputs_and_outputs(clean: Path, tmp_path: Path) -> None:
    recorder = Recorder(INTEGER, "board", level="io", defects={"deep.q": lambda r, _b: r // 2})
    found = compare_traces(clean, recorder.record(tmp_path / "io.trace", pictures(6)))
    assert found.departure is not None and found.departure.layer == "scores"
    assert "deep.q" in found.departure.unseen
    assert any("levels full and io" in text for text in found.notes)
    said = departure_verdict(found)
    assert said is not None and said.cause == "unseen_layer"
    assert "level full" in said.fix and "and 5 more" in said.evidence


def test_worst_frames_are_the_ones_that_fail(clean: Path, tmp_path: Path) -> None:
    calls = iter(range(6))

    def sometimes(right: np.ndarray, _before: object) -> np.ndarray:
        return np.zeros_like(right) if next(calls) in (2, 5) else right

    device = Recorder(INTEGER, "board", defects={"deep.q": sometimes})
    found = compare_traces(clean, device.record(tmp_path / "d.trace", pictures(6)))
    assert {number for number, _ in found.worst} == {2, 5}
    deep = found.error_of("deep.q")
    assert deep is not None and deep.first_frame == 2 and deep.worst_frame in (2, 5)


def test_figures_are_means(clean: Path, tmp_path: Path) -> None:
    def timed(source: Path, path: Path) -> Path:
        with TraceReader(source) as reader, TraceWriter(path, reader.manifest) as writer:
            for frame in reader.frames():
                latency = Figure(10.0 * frame.number, "us", "measured", "clock")
                layer = {"deep.q": {"time": Figure(4.0 + frame.number, "us", "measured", "clock")}}
                writer.write(replace(frame, figures={"latency": latency}, layer_figures=layer))
        return path

    found = compare_traces(clean, timed(clean, tmp_path / "t.trace"))
    assert found.device.figures["latency"].value == pytest.approx(25)
    assert found.device.layers["deep.q"]["time"].value == pytest.approx(6.5)
    assert not found.reference.figures


MEASURED = """
import sys
from pathlib import Path
from edgebed.observe.trace_comparison import compare_traces
found = compare_traces(Path(sys.argv[1]), Path(sys.argv[1]))
# Not ru_maxrss, in which the process that started this one counts.
status = Path("/proc/self/status").read_text().split()
print(found.frames, int(status[status.index("VmHWM:") + 1]) // 1024)
"""


def test_memory_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    megabytes = []
    for count in (6, 60):
        path = tmp_path / f"{count}.trace"
        values = rng.integers(-128, 128, (32, 256, 256)).astype(np.int8)
        with TraceWriter(path, Manifest("host", "full", "long", "d")) as writer:
            for number in range(count):
                tensor = Tensor("l", "layer", values.shape, "int8", 0.1, values=values)
                writer.write(Frame(number, (tensor,)))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True
        )
        frames, used = map(int, done.stdout.split())
        assert frames == count
        megabytes.append(used)
    assert megabytes[1] < megabytes[0] + 30  # the longer trace is 113 MB larger
    assert megabytes[1] < 500
