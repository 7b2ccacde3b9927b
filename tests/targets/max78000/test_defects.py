"""The known defects of the published firmware: built in on request, absent else, each named."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_firmware import detector as network_of
from firmware_projects import detector

from edgebed.cli import execute
from edgebed.data.preprocess import to_tensor
from edgebed.deploy.bundle import build
from edgebed.observe.examine import verdicts_on
from edgebed.observe.recorders import machine as recorder
from edgebed.observe.recorders import reference
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.contract import Nms
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.run import run, trace
from edgebed.program.types import Program
from edgebed.targets._shared.toolchain import find_zig
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.defects import DEFECTS
from edgebed.targets.max78000.emit import emit
from edgebed.targets.max78000.machine import VirtualBoard
from edgebed.targets.max78000.target import Max78000

pytest.importorskip("unicorn", reason="unicorn is not installed")
pytest.importorskip("elftools", reason="pyelftools is not installed")
if find_zig() is None:
    pytest.skip("no zig to compile the firmware with", allow_module_level=True)

NAMES = {
    "biases": "missing_biases", "colours": "channel_order", "normalisation": "double_normalisation",
    "weights": "stale_weights", "threshold": "output_scale", "overlap": "suppression",
}  # fmt: skip
CASES = pytest.mark.parametrize(("defect", "cause"), NAMES.items())
PICTURES = 6


def small() -> Program:
    """A detector of two layers whose random weights give overlapping boxes."""
    program = detector(side=64, seed=3, boxes=2)
    assert program.contract is not None
    nms = Nms(score=0.2, iou=0.3, maximum=32)
    return replace(program, contract=replace(program.contract, nms=nms))


def bed_fast() -> Program:
    """The recipe's network with random weights, shifted so that every layer uses its range."""
    program = network_of("bed-fast")
    assert program.contract is not None
    x = np.random.default_rng(0).integers(-12, 12, (3, 28, 28)).cumsum(1).cumsum(2) - 60
    tensor = np.clip(x, -128, 127).astype(np.int8).repeat(8, 1).repeat(8, 2)
    for op in program.ops:
        if isinstance(op, Conv2d):
            deviation = float(dict(trace(program, tensor))[op.output].std())
            program = _shifted(program, op, deviation)
    nms = Nms(score=0.2, iou=0.3, maximum=32)
    return replace(program, contract=replace(program.contract, nms=nms))


def _shifted(program: Program, op: Conv2d, deviation: float) -> Program:
    """Bring a layer's deviation to about 30 steps, the last one's to about 3."""
    if isinstance(op.requantize, PowerOfTwo):
        shift = op.requantize.right_shift + round(np.log2(deviation / 30))
        changed = replace(op, requantize=PowerOfTwo(shift))
        return replace(program, ops=tuple(changed if o is op else o for o in program.ops))
    step = program.types[op.inputs[0]].scale
    scale = 2.0 ** round(np.log2(3 / deviation / step))
    held = {**program.constants, op.weight: replace(program.constants[op.weight], scale=scale)}
    return replace(program, constants=held)


@pytest.fixture(scope="module")
def pictures(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted((data_dir / "bccd" / "images").glob("*.jpg"))[:PICTURES]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module", params=[
    pytest.param(small, id="small"), pytest.param(bed_fast, id="bed-fast", marks=pytest.mark.slow)
])  # fmt: skip
def place(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the network, and what the interpreter makes of the pictures."""
    folder = tmp_path_factory.mktemp("network")
    to_onnx.save(request.param(), folder / "p.onnx")
    words = ["run", str(folder / "p.onnx"), "--input", str(pictures), "--level", "full"]
    assert execute([*words, "--trace", str(folder / "ref.trace")]) == 0
    return folder


def traced(place: Path, pictures: Path, *words: str, frames: int = 0) -> Path:
    """Compile with the command line, hold the pictures before the camera, return the trace."""
    folder = place / "_".join(["device", *words])
    given = ["compile", str(place / "p.onnx"), "--target", "max78000", "--no-passes", *words]
    assert execute([*given, "--out", str(folder), "--quiet"]) == 0
    trace = folder.with_suffix(".trace")
    given = ["run", str(folder), "--input", str(pictures), "--out", str(place / "frames")]
    given += ["--frames", str(frames)]
    assert execute([*given, "--trace", str(trace), "--level", "full", "--quiet"]) == 0
    return trace


@CASES
def test_each_is_named_by_one_comparison(
    place: Path, pictures: Path, defect: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = traced(place, pictures, "--defect", defect)
    assert "ON PURPOSE" in capsys.readouterr().out
    assert execute(["compare", str(place / "ref.trace"), str(trace), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["verdicts"]
    assert [one["cause"] for one in found] == [cause], found


def test_without_a_defect_nothing_is_said(
    place: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = traced(place, pictures)
    capsys.readouterr()
    assert execute(["compare", str(place / "ref.trace"), str(trace), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == []
    with TraceReader(place / "ref.trace") as first, TraceReader(trace) as second:
        for right, seen in zip(first.frames(), second.frames(), strict=True):
            assert {one.role for one in seen.tensors} == {one.role for one in right.tensors}
            for one in seen.tensors:
                known = right.named(one.name)
                assert known is not None
                np.testing.assert_array_equal(one.values, known.values, one.name)


@pytest.mark.slow
def test_no_alarm_over_many_pictures(data_dir: Path, tmp_path: Path) -> None:
    to_onnx.save(small(), tmp_path / "p.onnx")
    source = data_dir / "bccd" / "images"
    trace = traced(tmp_path, source, frames=100)
    words = ["run", str(tmp_path / "p.onnx"), "--input", str(source), "--frames", "100"]
    assert execute([*words, "--level", "full", "--trace", str(tmp_path / "ref.trace")]) == 0
    done = compare_traces(tmp_path / "ref.trace", trace)
    assert done.frames == 100
    assert verdicts_on(done) == ()


def test_kernels_of_another_build_are_stale_weights(pictures: Path, tmp_path: Path) -> None:
    """Registers, biases and everything else are right; one generated file is of another build."""
    program, older = small(), detector(side=64, seed=4, boxes=2)
    build(program, Max78000(), tmp_path / "device")
    kernels = emit(compile_program(older).image, older, vectors=1)["kernels.c"]
    sources = tmp_path / "device" / "firmware"
    (sources / "kernels.c").write_bytes(kernels)
    Max78000().build(sources)
    shutil.copy(sources / "firmware.elf", tmp_path / "device")
    seen = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8) for n in range(6)]
    with TraceWriter(tmp_path / "ref.trace", reference.manifest(program, "full")) as writer:
        for frame in reference.record_pictures(program, seen):
            writer.write(frame)
    note = str(tmp_path / "device" / "program.onnx")
    manifest = recorder.manifest(program, "max78000", "full", model=note)
    board = VirtualBoard(keep_layers=True, keep_data=True)
    board.load(tmp_path / "device")
    with TraceWriter(tmp_path / "dev.trace", manifest) as writer:
        for number, picture in enumerate(seen):
            shown = board.show(picture)
            writer.write(recorder.frame_of(program, shown.trace, number, picture=picture))
    board.close()
    done = compare_traces(tmp_path / "ref.trace", tmp_path / "dev.trace")
    assert [one.cause for one in verdicts_on(done)] == ["stale_weights"]


LAYOUTS = {
    "words": lambda: detector(side=32),
    "pixels through a FIFO": lambda: detector(side=64, fold=1, pool=4, early=2),
    "folds of three": lambda: detector(side=48, fold=2, pool=3),
    "blue first": lambda: detector(side=32, channels="bgr"),
    "streaming": lambda: network_of("bed"),
}


@pytest.mark.parametrize("make", [
    pytest.param(make, id=name, marks=pytest.mark.slow if name == "streaming" else ())
    for name, make in LAYOUTS.items()
])  # fmt: skip
def test_input_and_outputs_are_what_the_accelerator_had(make: object, tmp_path: Path) -> None:
    program = make()  # type: ignore[operator]
    build(program, Max78000(), tmp_path)
    board = VirtualBoard(keep_data=True)
    board.load(tmp_path)
    for seed in range(2):
        picture = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        frame = board.show(picture.repeat(4, 0).repeat(4, 1))
        wanted = to_tensor(picture.repeat(4, 0).repeat(4, 1), program.contract.input)
        np.testing.assert_array_equal(
            frame.trace.inputs["x" if "x" in program.inputs else "image"], wanted
        )
        for name, values in run(program, wanted).items():
            np.testing.assert_array_equal(frame.trace.outputs[name], values)
    tensor = np.random.default_rng(9).integers(-128, 128, wanted.shape).astype(np.int8)
    given = board.run(tensor)
    np.testing.assert_array_equal(next(iter(given.inputs.values())), tensor)
    board.close()


def test_nothing_of_a_defect_is_in_an_ordinary_build(tmp_path: Path) -> None:
    program = small()
    plain = emit(compile_program(program).image, program)
    assert not [
        path for path, data in plain.items() if path.endswith("network.h") and b"EB_DEF" in data
    ]
    build(program, Max78000(), tmp_path / "sound")
    build(program, Max78000(defect="overlap"), tmp_path / "wrong")
    assert b"ON PURPOSE" not in (tmp_path / "sound" / "firmware.elf").read_bytes()
    assert b"NOT FOR USE: overlap" in (tmp_path / "wrong" / "firmware.elf").read_bytes()
    plans = [json.loads((tmp_path / one / "plan.json").read_text()) for one in ("sound", "wrong")]
    assert "defect" not in plans[0] and plans[1]["defect"] == "overlap"
    assert plans[0]["digest"] != plans[1]["digest"]


def test_every_defect_is_in_the_readme_and_one_line_of_make(tmp_path: Path) -> None:
    program = small()
    files = emit(compile_program(program).image, program)
    readme = files["README.md"].decode()
    assert all(f"| `{name}` |" in readme for name in DEFECTS) and "@DEFECTS@" not in readme
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    words = [make, "-n", "-C", str(tmp_path), "cnn.o"]
    shown = subprocess.run([*words, "DEFECT=biases"], capture_output=True, text=True).stdout
    assert "-DEB_DEFECT_BIASES" in shown
    assert "EB_DEFECT" not in subprocess.run(words, capture_output=True, text=True).stdout


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[list[str]]:
    to_onnx.save(small(), tmp_path / "p.onnx")
    yield ["compile", str(tmp_path / "p.onnx"), "--out", str(tmp_path / "out")]


def test_unknown_defects_and_other_targets(
    bad: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute([*bad, "--target", "max78000", "--defect", "bias"]) != 0
    said = capsys.readouterr().err
    assert "no defect is called 'bias'" in said and "biases" in said
    assert execute([*bad, "--target", "host", "--defect", "biases"]) != 0
    assert "--defect means nothing to host" in capsys.readouterr().err
