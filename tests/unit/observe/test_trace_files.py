"""Traces: what is written comes back, and what is cut or damaged is said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.trace import Frame, Level, Manifest, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter


def tensors(seed: int) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(seed)
    given = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    inner = rng.integers(-128, 128, (2, 5)).astype(np.int8)
    last = rng.normal(size=7).astype(np.float32)
    return (
        Tensor("picture", "raw", (4, 4, 3), "uint8", 1.0, 0, "HWC", "", given),
        Tensor("conv: 1", "layer", (2, 5), "int8", 0.5, 3, "", "conv2d", inner),
        Tensor("scores", "output", (7,), "float32", None, 0, "", "", last),
    )


def write(path: Path, level: Level = "full", frames: int = 3) -> Path:
    figure = Figure(12.5, "us", "measured", "clock")
    with TraceWriter(path, Manifest("host", level, "net", layers=("conv: 1",))) as writer:
        for n in range(frames):
            layer = {"conv: 1": {"time": figure}}
            writer.write(Frame(n, tensors(n), {"latency": figure}, layer, {"light": 3}, 99))
    return path


def read(path: Path) -> tuple[list[Frame], str]:
    with TraceReader(path) as reader:
        return list(reader.frames()), reader.cut


def test_everything_comes_back(tmp_path: Path) -> None:
    frames, cut = read(write(tmp_path / "a.trace"))
    assert not cut
    assert [frame.number for frame in frames] == [0, 1, 2]
    for frame in frames:
        for got, want in zip(frame.tensors, tensors(frame.number), strict=True):
            assert (got.name, got.role, got.scale, got.layout) == (
                want.name, want.role, want.scale, want.layout,
            )  # fmt: skip
            np.testing.assert_array_equal(got.values, want.values)
            assert got.values is not None and got.values.dtype == np.dtype(want.dtype)
        assert frame.figures["latency"].value == 12.5
        assert frame.layer_figures["conv: 1"]["time"].kind == "measured"
        assert frame.sensors == {"light": 3}


def test_levels_keep_less(tmp_path: Path) -> None:
    sizes = {}
    for level in ("io", "statistics", "full"):
        path = write(tmp_path / f"{level}.trace", level)  # type: ignore[arg-type]
        sizes[level] = path.stat().st_size
        frames, _ = read(path)
        names = [one.name for one in frames[0].tensors]
        assert ("conv: 1" in names) == (level != "io")
    inner = read(tmp_path / "statistics.trace")[0][0].named("conv: 1")
    assert inner is not None and inner.values is None and inner.statistics is not None
    real = tensors(0)[1].real
    assert inner.statistics.mean == pytest.approx(float(real.mean()), rel=1e-5)
    assert inner.statistics.high == float(real.max())
    with pytest.raises(EdgebedError, match="statistics only"):
        inner.real  # noqa: B018
    write(tmp_path / "off.trace", "off")
    assert not (tmp_path / "off.trace").exists()


def test_real_values_follow_scale_and_zero_point() -> None:
    tensor = Tensor("t", "layer", (2,), "int8", 0.5, 3, values=np.array([3, -1], np.int8))
    assert tensor.real.tolist() == [0.0, -2.0]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1))
def test_a_cut_file_gives_its_whole_frames_and_says_so(share: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        path = write(Path(scratch) / "a.trace")
        data = path.read_bytes()
        path.write_bytes(data[: int(share * (len(data) - 1))])
        try:
            frames, cut = read(path)
        except EdgebedError as error:
            assert "trace" in str(error) or "damaged" in str(error)
            return
        assert cut
        assert [frame.number for frame in frames] == list(range(len(frames)))


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.trace")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    frames, cut = read(path)
    assert len(frames) < 3
    assert "damaged" in cut


def test_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "x.trace"
    other.write_bytes(b"PNG and so on")
    with pytest.raises(EdgebedError, match="is no trace"):
        TraceReader(other)
    data = bytearray(write(tmp_path / "b.trace").read_bytes())
    data[7] = 9
    other.write_bytes(data)
    with pytest.raises(EdgebedError, match="trace format 9"):
        TraceReader(other)
    with pytest.raises(EdgebedError, match="cannot be read"):
        TraceReader(tmp_path / "none.trace")


def test_nan_and_infinity_are_counted(tmp_path: Path) -> None:
    values = np.array([1.0, np.nan, np.inf, 3.0], np.float32)
    with TraceWriter(tmp_path / "n.trace", Manifest("host", "statistics")) as writer:
        writer.write(Frame(0, (Tensor("t", "layer", (4,), "float32", values=values),)))
    (frame,), _ = read(tmp_path / "n.trace")
    found = frame.tensors[0].statistics
    assert found is not None
    assert (found.bad, found.mean, found.low, found.high) == (2, 2.0, 1.0, 3.0)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgebedError, match="cannot write the trace"):
        TraceWriter(tmp_path / "file" / "t.trace", Manifest("host"))
