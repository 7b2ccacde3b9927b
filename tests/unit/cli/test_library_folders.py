"""compile, run and compare for a target whose build is a library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edgebed.targets
from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.program import from_onnx, to_onnx
from edgebed.program.ops.add import Add
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.unary import Unary
from edgebed.program.run import run
from edgebed.program.types import Constant, Program, TensorType
from edgebed.recipes.folder import RunFolder
from null_library import NullLibraryTarget


def _program() -> Program:
    """Two inputs, two outputs, and an op that changes nothing."""
    kind = TensorType((2, 3, 4))
    return Program(
        "pair",
        {"left": kind, "right": kind},
        (
            Identity(name="same", inputs=("left",), output="copy"),
            Add(name="sum", inputs=("copy", "right"), output="total"),
            Add(name="twice", inputs=("total", "total"), output="double"),
        ),
        ("total", "double"),
    )


def _real() -> Program:
    weights = np.ones((2, 3), np.float32)
    kind = TensorType((3,), "float32", 1.0)
    dense = Dense(name="dense", inputs=("x",), output="y", weight="w", last_axis=True)
    return Program("real", {"x": kind}, (dense,), ("y",), {"w": Constant(weights, 32)})


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> NullLibraryTarget:
    device = NullLibraryTarget()
    monkeypatch.setattr(edgebed.targets, "load", lambda name: device)
    monkeypatch.setattr(edgebed.targets, "names", lambda: ("null",))
    monkeypatch.setattr(edgebed.targets, "projects", lambda name: None)
    monkeypatch.setattr(
        edgebed.targets, "library_target", lambda f: "null" if (f / "net.so").exists() else None
    )
    monkeypatch.setattr(edgebed.targets, "open_library", lambda f, threads=1: device.open(f))
    return device


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "pair.onnx"
    to_onnx.save(_program(), path)
    return path


@pytest.fixture
def compiled(target: NullLibraryTarget, model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "compiled"
    assert execute(["compile", str(model), "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "inputs.npz"
    np.savez(path, **{n: rng.integers(-9, 9, (5, 2, 3, 4), np.int8) for n in ("left", "right")})
    return path


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    capsys.readouterr()
    assert execute(arguments) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_has_program_plan_project_and_library(compiled: Path) -> None:
    assert set(_contents(compiled)) == {
        "program.onnx", "plan.json", "manifest.json", "net/net.c", "net.so"
    }  # fmt: skip
    assert json.loads((compiled / "plan.json").read_text())["sizes"] == {"library": 3}


def test_the_passes_run_unless_told_otherwise(
    target: NullLibraryTarget, model: Path, tmp_path: Path
) -> None:
    for flags, count in (([], 2), (["--no-passes"], 3)):
        out = str(tmp_path / f"out{count}")
        assert execute(["compile", str(model), "--out", out, "--quiet", *flags]) == 0
        assert len(target.planned[-1].ops) == count


@pytest.mark.parametrize(
    ("error", "code"),
    [(EdgebedError("the compiler refused"), 1), (KeyboardInterrupt(), 130), (OSError("disk"), 3)],
)
def test_a_compile_that_ends_early_leaves_nothing(
    error: BaseException,
    code: int,
    target: NullLibraryTarget,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(tmp_path.iterdir())
    target.fail = error
    _fails(["compile", str(model), "--out", str(tmp_path / "new"), "--quiet"], capsys, code)
    assert sorted(tmp_path.iterdir()) == before


def test_an_earlier_compile_stays_until_the_next_is_complete(
    compiled: Path, target: NullLibraryTarget, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _contents(compiled)
    again = ["compile", str(model), "--out", str(compiled), "--quiet"]
    target.fail = EdgebedError("the compiler refused")
    assert "the compiler refused" in _fails(again, capsys)
    assert _contents(compiled) == before
    target.fail = None
    (compiled / "net" / "stale.c").write_text("old")
    assert execute(again) == 0
    assert _contents(compiled) == before


def test_files_of_the_users_survive_a_second_compile(compiled: Path, model: Path) -> None:
    (compiled / "notes.txt").write_text("mine")
    (compiled / "results").mkdir()
    (compiled / "results" / "y.npy").write_text("mine too")
    assert execute(["compile", str(model), "--out", str(compiled), "--quiet"]) == 0
    assert (compiled / "notes.txt").read_text() == "mine"
    assert (compiled / "results" / "y.npy").read_text() == "mine too"


def test_a_wrong_variant_is_named_and_not_handed_over(
    target: NullLibraryTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.wrong = {"plain": 1}
    said = _fails(["compile", str(model), "--out", str(tmp_path / "new"), "--quiet"], capsys)
    assert "the plain variant computes other values in output 'total'" in said
    assert not (tmp_path / "new").exists()


def test_a_folder_at_work_or_of_others_is_refused(
    compiled: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(compiled).locked():
        said = _fails(["compile", str(model), "--out", str(compiled), "--quiet"], capsys)
        assert "another run is working in this folder" in said
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("do not touch")
    said = _fails(["compile", str(model), "--out", str(mine), "--quiet"], capsys)
    assert "nothing of yours is ever overwritten" in said


def test_the_folder_one_is_in_is_refused(
    target: NullLibraryTarget,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "you are in it" in _fails(["compile", str(model), "--out", ".", "--quiet"], capsys)
    assert not list(Path().iterdir())


def test_a_float_network_is_told_of_compress(
    target: NullLibraryTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_onnx.save(_real(), tmp_path / "real.onnx")
    out = str(tmp_path / "out")
    assert execute(["compile", str(tmp_path / "real.onnx"), "--out", out]) == 0
    assert "1 layers with weights compute in float32; edgebed compress" in capsys.readouterr().out


@pytest.mark.parametrize(("off", "code"), [(0, 0), (1, 0), (90, 1)])
def test_a_real_number_at_a_rounding_boundary_is_noted_and_a_wrong_one_refused(
    off: int,
    code: int,
    target: NullLibraryTarget,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ops = (
        Unary(name="curve", inputs=("x",), output="y", function="sigmoid"),
        Quantize(name="round", inputs=("y",), output="q", scale=1 / 256, zero_point=-128),
    )
    program = Program("mixed", {"x": TensorType((40,), "float32", 1.0)}, ops, ("q",))
    to_onnx.save(program, tmp_path / "mixed.onnx")
    target.wrong = {"plain": off}
    words = ["compile", str(tmp_path / "mixed.onnx"), "--out", str(tmp_path / "out")]
    assert execute(words) == code
    said = capsys.readouterr()
    assert ("plain: output 'q' differs in 1 of 120" in said.out) is (off == 1)
    assert ("the plain variant computes other values" in said.err) is (off == 90)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--input-shape", "x"], "--input-shape NAME=1,3,224,224"),
        (["--input-shape", "x=1,0"], "--input-shape x=1,0"),
        (["--input-shape", "lef=1,2,3,4"], "did you mean 'left'"),
        (["--input-shape", "left=1,2,3,5"], "input 'left' has the fixed shape 1,2,3,4"),
        (["--weights", "w.npz"], "--weights has no meaning"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    words: list[str],
    part: str,
    target: NullLibraryTarget,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert part in _fails(["compile", str(model), "--out", str(tmp_path / "o"), *words], capsys)


def test_run_takes_several_inputs_and_writes_every_output(
    compiled: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "y.npy"
    capsys.readouterr()
    assert execute(["run", str(compiled), "--input", str(inputs), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outputs"] == {"total": str(out), "double": str(tmp_path / "y.1.npy")}
    assert said["samples"] == 5
    wanted = run(_program(), dict(np.load(inputs)))
    np.testing.assert_array_equal(np.load(out), wanted["total"])
    np.testing.assert_array_equal(np.load(tmp_path / "y.1.npy"), wanted["double"])
    assert execute(["run", str(compiled), "--input", str(inputs), "--out", str(out)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [str(out), "total"] in rows
    assert [str(tmp_path / "y.1.npy"), "double"] in rows


def test_profile_prints_a_line_a_layer(
    compiled: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(compiled), "--input", str(inputs), "--out", str(tmp_path / "y.npy")]
    capsys.readouterr()
    assert execute([*words, "--profile"]) == 0
    said = capsys.readouterr().out
    assert "measured" in said
    assert [line.split()[0] for line in said.splitlines() if " add " in line] == ["sum", "twice"]
    assert execute([*words, "--profile", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)["profile"]
    assert profile["kind"] == "measured"
    assert len(profile["layers"]) == 2


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"left": (np.int8, 1)}, "lacks 'right'"),
        ({"left": (np.int8, 1), "right": (np.int8, 1), "up": (np.int8, 1)}, "holds 'up'"),
        ({"left": (np.int8, 1), "right": (np.float32, 1)}, "holds float32"),
    ],
)
def test_other_inputs_are_refused_by_name(
    arrays: dict[str, tuple[type, int]],
    part: str,
    compiled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "in.npz"
    np.savez(source, **{name: np.zeros((n, 2, 3, 4), t) for name, (t, n) in arrays.items()})
    out = tmp_path / "y.npy"
    said = _fails(["run", str(compiled), "--input", str(source), "--out", str(out)], capsys)
    assert part in said and "in.npz" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--frames", "3"], "--frames is for a board"),
        (["--uart-port", "99"], "--uart-port is for a board"),
        (["--target", "other"], "is compiled for null, not for other"),
        (["--threads", "0"], "--threads is 0"),
        (["--out", "folder"], "folder.npy"),
    ],
)
def test_options_of_boards_are_refused(
    words: list[str],
    part: str,
    compiled: Path,
    inputs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert part in _fails(["run", str(compiled), "--input", str(inputs), *words], capsys)


def test_damaged_tensor_files_are_refused(
    compiled: Path, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(inputs.read_bytes()[:100])
    assert "cut.npz" in _fails(["run", str(compiled), "--input", str(cut)], capsys)
    single = tmp_path / "one.npy"
    np.save(single, np.zeros((2, 3, 4), np.int8))
    said = _fails(["run", str(compiled), "--input", str(single)], capsys)
    assert "the network has 2 inputs" in said


def test_compare_counts_what_differs(
    compiled: Path,
    target: NullLibraryTarget,
    model: Path,
    inputs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["compare", str(model), str(compiled), "--input", str(inputs), "--json"]
    capsys.readouterr()
    assert execute(words) == 0
    assert json.loads(capsys.readouterr().out)["equal"]
    target.wrong = {"good": 3}
    assert execute(words) == 2
    (pair,) = json.loads(capsys.readouterr().out)["compared"]
    total = pair["outputs"][0]
    assert (total["name"], total["values"], total["differing"]) == ("total", 120, 1)
    assert (total["quanta"], total["largest"]) == (3, 3 / 128)
    assert execute(words[:-1]) == 2
    assert "NOT equal" in capsys.readouterr().out


def test_compare_refuses_a_library_of_another_network(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_onnx.save(_real(), tmp_path / "real.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    words = [str(tmp_path / "real.onnx"), str(compiled), "--input", str(tmp_path / "x.npy")]
    assert "compiled from another network than real.onnx" in _fails(["compare", *words], capsys)


def test_compare_refuses_tensors_of_another_type(
    compiled: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "in.npz", left=np.zeros((2, 3, 4)), right=np.zeros((2, 3, 4), np.int8))
    words = ["compare", str(model), str(compiled), "--input", str(tmp_path / "in.npz")]
    assert "holds float64 for input 'left'" in _fails(words, capsys)


def test_show_prints_what_each_pass_changed(
    target: NullLibraryTarget, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["show", str(model), "--passes"]) == 0
    said = capsys.readouterr().out
    assert "removed 1 identity (ops 3 -> 2)" in said
    assert said.index("simplify") < said.index("program ")


def test_a_board_compile_removes_an_earlier_library(
    compiled: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from null_device import NullTarget

    single = Program(
        "one",
        {"x": TensorType((2, 3, 4))},
        (Identity(name="same", inputs=("x",), output="y"),),
        ("y",),
    )
    to_onnx.save(single, model)
    monkeypatch.setattr(edgebed.targets, "load", lambda name: NullTarget())
    assert execute(["compile", str(model), "--out", str(compiled), "--quiet"]) == 0
    assert not (compiled / "net.so").exists() and not (compiled / "net").exists()
    # what edgebed trained for a board stays as it is
    assert len(from_onnx.load(compiled / "program.onnx").ops) == 1
