"""`edgebed run DIR --trace`: frames for each input, wherever the folder runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgebed.targets
from edgebed.cli import execute
from edgebed.observe.trace import Frame, Manifest
from edgebed.observe.trace_reader import TraceReader
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops import by_kind
from edgebed.program.run import trace
from edgebed.program.types import Constant, Op, Program, TensorType
from null_library import NullLibraryTarget

COUNT = 3


def op(kind: str, output: str, *inputs: str, **attributes: Any) -> Op:
    return by_kind(kind)(name=output, inputs=inputs, output=output, **attributes)  # type: ignore[arg-type]


def network() -> Program:
    rng = np.random.default_rng(0)

    def held(*shape: int) -> Constant:
        return Constant(rng.integers(-128, 128, shape).astype(np.int8), 8, 2**-7)

    layer = {"padding": (1, 1, 1, 1), "requantize": PowerOfTwo(8), "activation": "relu"}
    ops = (
        op("conv2d", "wide", "x", weight="w1", **layer),
        op("max_pool", "few", "wide", kernel=(4, 5), stride=(4, 5)),
        op("dense", "scores", "few", weight="w3", requantize=PowerOfTwo(7)),
    )
    constants = {"w1": held(8, 1, 3, 3), "w3": held(5, 48)}
    return Program("tiny", {"x": TensorType((1, 12, 10))}, ops, ("scores",), constants)


def read(path: Path) -> tuple[Manifest, list[Frame]]:
    with TraceReader(path) as reader:
        frames = list(reader.frames())
        assert not reader.cut
        return reader.manifest, frames


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).integers(-128, 128, (COUNT, 1, 12, 10)).astype(np.int8)
    np.save(tmp_path / "x.npy", values)
    return tmp_path / "x.npy"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    place = tmp_path_factory.mktemp("board")
    to_onnx.save(network(), place / "tiny.onnx")
    words = ["compile", str(place / "tiny.onnx"), "--target", "cortex_m", "--cpu", "m4"]
    assert execute([*words, "--out", str(place / "out"), "--quiet"]) == 0
    return place / "out"


def test_every_layer_of_a_virtual_microcontroller(
    board: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = tmp_path / "t.trace", tmp_path / "y.npy"
    words = ["run", str(board), "--input", str(inputs), "--out", str(out)]
    assert execute([*words, "--trace", str(place), "--level", "full", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["trace"] == str(place) and said["samples"] == COUNT
    manifest, frames = read(place)
    assert (manifest.source, manifest.level, manifest.network) == ("cortex_m", "full", "tiny")
    outputs = np.load(out)
    assert outputs.shape[0] == len(frames) == COUNT
    for frame, given in zip(frames, np.load(inputs), strict=True):
        right = dict(trace(network(), given))
        assert {"x", "wide", "few", "scores"} == {one.name for one in frame.tensors}
        for one in frame.tensors:
            assert one.values is not None
            values = one.values.transpose(2, 0, 1) if one.layout == "HWC" else one.values
            np.testing.assert_array_equal(values, right[one.name])
        np.testing.assert_array_equal(outputs[frame.number].ravel(), right["scores"].ravel())
        assert frame.figures["instructions"].kind == "emulated"
        assert frame.figures["cycles"].kind == "estimated"
        assert frame.layer_figures["wide"]["instructions"].value > 0


def test_outputs_with_and_without_a_trace_are_the_same_file(
    board: Path, inputs: Path, tmp_path: Path
) -> None:
    words = ["run", str(board), "--input", str(inputs), "--out"]
    assert execute([*words, str(tmp_path / "a.npy")]) == 0
    assert execute([*words, str(tmp_path / "b.npy"), "--trace", str(tmp_path / "t.trace")]) == 0
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    manifest, frames = read(tmp_path / "t.trace")
    assert manifest.level == "io" and not any(one.of("layer") for one in frames)


def test_a_library_that_shows_nothing_is_built_anew(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = NullLibraryTarget()
    monkeypatch.setattr(edgebed.targets, "load", lambda name: device)
    monkeypatch.setattr(edgebed.targets, "names", lambda: ("null",))
    monkeypatch.setattr(edgebed.targets, "projects", lambda name: None)
    monkeypatch.setattr(
        edgebed.targets, "library_target", lambda f: "null" if (f / "net.so").exists() else None
    )
    monkeypatch.setattr(edgebed.targets, "open_library", lambda f, threads=1: device.open(f))
    to_onnx.save(network(), tmp_path / "tiny.onnx")
    assert execute(["compile", str(tmp_path / "tiny.onnx"), "--out", str(tmp_path / "c")]) == 0
    words = ["run", str(tmp_path / "c"), "--input", str(inputs), "--trace"]
    assert execute([*words, str(tmp_path / "t.trace"), "--level", "statistics"]) == 0
    _, frames = read(tmp_path / "t.trace")
    for frame in frames:
        assert {one.name for one in frame.of("layer")} == {"wide", "few"}
        assert all(one.values is None and one.statistics for one in frame.of("layer"))
        assert frame.figures["latency"].kind == "measured"


def test_a_networks_file_gives_the_references_trace(
    board: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--input", str(inputs), "--level", "full", "--trace"]
    model, right, device = board / "program.onnx", tmp_path / "r.trace", tmp_path / "d.trace"
    assert execute(["run", str(model), *words, str(right)]) == 0
    assert execute(["run", str(board), *words, str(device)]) == 0
    (manifest, frames), (other, _) = read(right), read(device)
    assert manifest.source == "reference" and len(frames) == COUNT
    assert manifest.digest == other.digest
    capsys.readouterr()
    assert execute(["compare", str(right), str(device), "--json"]) == 0


@pytest.mark.parametrize(
    "words, what",
    [
        (["--level", "ful", "--trace", "t.trace"], "--level ful is none"),
        (["--level", "full"], "needs a file"),
        (["--trace", "."], "is a folder"),
        (["--trace", "x.npy"], "--trace is the input"),
        (["--trace", "notes.txt"], "exists and is no trace"),
    ],
)
def test_what_makes_no_trace_is_said(
    board: Path, inputs: Path, words: list[str], what: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(inputs.parent)
    Path("notes.txt").write_text("mine")
    assert execute(["run", str(board), "--input", str(inputs), *words]) == 1
    assert Path("notes.txt").read_text() == "mine"
    assert what in capsys.readouterr().err


def test_a_recipe_has_no_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert execute(["run", "bed-fast", "--trace", str(tmp_path / "t.trace")]) == 1
    assert "--trace is for a compiled folder" in capsys.readouterr().err


def test_an_input_that_does_not_fit_leaves_the_older_trace(
    board: Path, inputs: Path, tmp_path: Path
) -> None:
    place = tmp_path / "t.trace"
    words = ["run", str(board), "--trace", str(place), "--input"]
    assert execute([*words, str(inputs)]) == 0
    before = place.read_bytes()
    np.save(tmp_path / "odd.npy", np.zeros((3, 2, 2), np.int8))
    assert execute([*words, str(tmp_path / "odd.npy")]) == 1
    assert place.read_bytes() == before


def test_ctrl_c_keeps_the_frames_that_are_done(
    board: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from edgebed.observe.trace_writer import TraceWriter

    whole = TraceWriter.write

    def stopped(self: TraceWriter, frame: Frame) -> None:
        if frame.number == 2:
            raise KeyboardInterrupt
        whole(self, frame)

    monkeypatch.setattr(TraceWriter, "write", stopped)
    place = tmp_path / "t.trace"
    for model in (board, board / "program.onnx"):
        words = ["run", str(model), "--input", str(inputs), "--trace", str(place)]
        assert execute(words) == 130
        assert f"stopped; {place} holds 2 whole frames" in capsys.readouterr().err
        with TraceReader(place) as reader:
            assert len(list(reader.frames())) == 2
            assert "ends behind 2 whole frames" in reader.cut
