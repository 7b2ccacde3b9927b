"""compile, show and run on a compiled folder, with a device that answers as the interpreter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgebed.targets
from edgebed.cli import execute
from edgebed.program import to_onnx
from edgebed.program.contract import Contract, GridDecode, ImageInput
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.run import run
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets.contract import Problem
from null_device import NullTarget, plan_of

CONTRACT = Contract(
    ImageInput(16, 16),
    ("cell",),
    GridDecode(grid_width=8, grid_height=8, boxes=1, priors=((1, 1),)),
)


def _program() -> Program:
    rng = np.random.default_rng(1)
    weights = rng.integers(-128, 128, (6, 3, 1, 1)).astype(np.int8)
    pool = MaxPool(name="pool", inputs=("x",), output="pooled", kernel=(2, 2), stride=(2, 2))
    conv = Conv2d(name="conv", inputs=("pooled",), output="y", weight="w")
    return Program(
        "small",
        {"x": TensorType((3, 16, 16))},
        (pool, conv),
        ("y", "pooled"),
        {"w": Constant(weights, 8, 1 / 128)},
        CONTRACT,
    )


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> NullTarget:
    device = NullTarget()
    monkeypatch.setattr(edgebed.targets, "load", lambda name: device)
    monkeypatch.setattr(edgebed.targets, "names", lambda: ("null",))
    monkeypatch.setattr(edgebed.targets, "projects", lambda name: None)
    return device


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    to_onnx.save(_program(), path)
    return path


@pytest.fixture
def compiled(target: NullTarget, model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "compiled"
    assert execute(["compile", str(model), "--out", str(out), "--quiet"]) == 0
    return out


def _error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert execute(arguments) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err


def test_compile_leaves_program_plan_sources_and_build(compiled: Path) -> None:
    plan = plan_of(compiled)
    assert plan["sizes"] == {"flash": 4}
    assert plan["cost"]["total"]["time"]["kind"] == "estimated"
    assert [row["does"] for row in plan["layout"]["layers"]] == ["max_pool", "conv2d"]
    for name in ("program.onnx", "firmware/main.c", "firmware.elf"):
        assert (compiled / name).is_file()


def test_compile_again_leaves_no_stale_source(compiled: Path, model: Path) -> None:
    digest = plan_of(compiled)["digest"]
    (compiled / "firmware" / "old.c").write_text("int main(void) { return 1; }")
    assert execute(["compile", str(model), "--out", str(compiled), "--quiet"]) == 0
    assert plan_of(compiled)["digest"] == digest
    assert not (compiled / "firmware" / "old.c").exists()


def test_a_build_that_computes_other_integers_is_not_done(
    target: NullTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.wrong = True
    out = tmp_path / "out"
    said = _error(["compile", str(model), "--out", str(out)], capsys)
    assert "other integers in output 'y'" in said
    assert not (out / "plan.json").exists(), "a failed build must not look compiled"


def test_only_generate_stops_after_the_sources(
    target: NullTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert execute(["compile", str(model), "--out", str(out), "--only-generate"]) == 0
    assert not (out / "firmware.elf").exists()
    said = _error(["run", str(out), "--input", str(model)], capsys)
    assert "--only-generate" in said


def test_every_problem_is_a_line_with_its_change(
    target: NullTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.problems = [
        Problem("conv1", "2048 channels", "1024 at most", "two layers of 1024"),
        Problem("pool", "a window of 17", "16 at most", "16"),
    ]
    said = _error(["compile", str(model), "--out", str(tmp_path / "out")], capsys)
    assert "2 problems" in said
    assert "  conv1: 2048 channels (1024 at most); try: two layers of 1024\n" in said
    assert "  pool: a window of 17 (16 at most); try: 16\n" in said


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("absent.onnx", None, "no such file"),
        ("model.h5", b"x", "is a Keras model"),
        ("broken.onnx", b"not a protobuf", "broken.onnx"),
        ("empty.onnx", b"", "empty.onnx"),
    ],
)
def test_a_model_that_is_none(
    name: str,
    content: bytes | None,
    part: str,
    target: NullTarget,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    arguments = ["compile", str(tmp_path / name), "--out", str(tmp_path / "out")]
    assert part in _error(arguments, capsys)


def test_compile_refuses_what_it_would_overwrite_or_ignore(
    target: NullTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    said = _error(["compile", str(model), "--out", str(tmp_path / "mine")], capsys)
    assert "is not empty" in said
    assert "--out is missing" in _error(["compile", str(model)], capsys)
    out = ["--out", str(tmp_path / "new")]
    assert "'--replann'" in _error(["compile", str(model), *out, "--replann"], capsys)
    assert "--weights has no meaning" in _error(
        ["compile", str(model), *out, "--weights", str(model)], capsys
    )


def test_show_prints_a_program_that_parses_back_and_its_layers(
    compiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgebed.program.text import parse

    capsys.readouterr()
    assert execute(["show", str(compiled)]) == 0
    text, layers = capsys.readouterr().out.split("device layers")
    program = _program()
    assert parse(text, program.constants) == program
    assert "max_pool" in layers
    assert "50 % in use" in layers
    assert "0.25 mJ, estimated" in layers


def test_a_tensor_runs_to_the_interpreters_integers(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensor = np.random.default_rng(3).integers(-128, 128, (3, 16, 16)).astype(np.int8)
    np.save(tmp_path / "in.npy", tensor)
    out = tmp_path / "answers" / "out.npy"
    capsys.readouterr()
    arguments = ["run", str(compiled), "--input", str(tmp_path / "in.npy"), "--out", str(out)]
    assert execute([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    wanted = run(_program(), tensor)
    np.testing.assert_array_equal(np.load(out), wanted["y"])
    np.testing.assert_array_equal(np.load(out.with_name("out_pooled.npy")), wanted["pooled"])
    assert result["outputs"] == {"y": str(out), "pooled": str(out.with_name("out_pooled.npy"))}
    assert list(result["figures"]) == ["measured", "emulated", "estimated"]
    assert result["figures"]["emulated"]["instructions"]["value"] == 7
    assert result["events"] == ["booted"]


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((3, 16, 15), np.int8), "has shape 3x16x15"),
        (np.zeros((1, 3, 16, 16), np.int8), "no batch axis"),
        (np.zeros((3, 16, 16), np.float32), "holds float32"),
        (np.zeros((), np.int8), "the program takes 3x16x16"),
    ],
)
def test_a_tensor_of_another_kind(
    array: np.ndarray,  # type: ignore[type-arg]
    part: str,
    compiled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "in.npy", array)
    assert part in _error(["run", str(compiled), "--input", str(tmp_path / "in.npy")], capsys)


def test_pickled_objects_in_a_tensor_file_are_not_executed(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "in.npy", np.array([print], dtype=object), allow_pickle=True)
    said = _error(["run", str(compiled), "--input", str(tmp_path / "in.npy")], capsys)
    assert "is not a tensor file" in said


def test_pictures_become_screens_and_detections(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b", "a", "c"):
        Image.fromarray(np.full((20, 30, 3), ord(name), np.uint8)).save(folder / f"{name}.png")
    out = tmp_path / "screens"
    arguments = ["run", str(compiled), "--input", str(folder), "--out", str(out), "--frames", "2"]
    assert execute(arguments) == 0
    assert sorted(one.name for one in out.iterdir()) == [
        "0000_a.png",
        "0001_b.png",
        "detections.json",
    ]
    found = json.loads((out / "detections.json").read_text())
    assert [one["name"] for one in found] == ["a", "b"]
    assert np.asarray(Image.open(out / "0000_a.png")).shape == (16, 16, 3)


@pytest.mark.parametrize("content", [b"", b"GIF89", b"\xff\xd8\xff\xe0cut off"])
def test_a_picture_that_is_none_is_named(
    content: bytes, compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert "photo.jpg" in _error(["run", str(compiled), "--input", str(path)], capsys)


def test_empty_and_missing_inputs(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    run_it = ["run", str(compiled), "--input"]
    assert "no picture" in _error([*run_it, str(tmp_path / "empty")], capsys)
    assert "no such file" in _error([*run_it, str(tmp_path / "absent.png")], capsys)
    assert "is not a compiled folder" in _error(
        ["run", str(tmp_path / "empty"), "--input", str(tmp_path)], capsys
    )
    assert "--input is missing" in _error(["run", str(compiled)], capsys)


def test_a_damaged_plan_is_named(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (compiled / "plan.json").write_text('{"format": 99}')
    arguments = ["run", str(compiled), "--input", str(compiled)]
    assert "has format 99" in _error(arguments, capsys)
    (compiled / "plan.json").write_text("{")
    assert "plan.json: cannot be read" in _error(arguments, capsys)
    (compiled / "plan.json").write_text('{"format": 1, "target": "null"}')
    assert "plan.json: lacks digest, layout" in _error(arguments, capsys)


def test_an_archive_of_arrays_is_no_tensor(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "some.npz", a=np.zeros((3, 16, 16), np.int8))
    (tmp_path / "some.npz").rename(tmp_path / "some.npy")
    said = _error(["run", str(compiled), "--input", str(tmp_path / "some.npy")], capsys)
    assert "archive of arrays" in said


def test_an_input_is_never_written_over(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensor, folder = tmp_path / "in.npy", tmp_path / "pictures"
    np.save(tensor, np.zeros((3, 16, 16), np.int8))
    folder.mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a.png")
    for source, out in ((tensor, tensor), (folder, folder), (folder / "a.png", folder / "a.png")):
        arguments = ["run", str(compiled), "--input", str(source), "--out", str(out)]
        assert "--out is the input" in _error(arguments, capsys)
    arguments = ["run", str(compiled), "--input", str(folder), "--out", str(tmp_path / "notes")]
    (tmp_path / "notes").write_text("keep")
    assert "is a file, not a folder" in _error(arguments, capsys)
    assert np.load(tensor).shape == (3, 16, 16)
    assert [one.name for one in folder.iterdir()] == ["a.png"]


def test_someone_elses_folder_called_firmware_is_kept(
    target: NullTarget, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "project" / "firmware" / "mine.c"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    arguments = ["compile", str(model), "--out", str(tmp_path / "project")]
    assert "is not empty" in _error(arguments, capsys)
    (tmp_path / "project" / "program.onnx").write_bytes(model.read_bytes())
    (tmp_path / "project" / "notes.txt").write_text("keep")
    assert "is not empty" in _error(arguments, capsys)
    assert mine.read_text() == "keep"


def test_a_compile_that_was_cut_off_can_be_repeated(compiled: Path, model: Path) -> None:
    (compiled / "plan.json").unlink()
    (compiled / "firmware.elf").unlink()
    assert execute(["compile", str(model), "--out", str(compiled), "--quiet"]) == 0
    assert plan_of(compiled)["sizes"] == {"flash": 4}


def test_the_slow_path_is_named(
    compiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "in.npy", np.zeros((3, 16, 16), np.int8))
    monkeypatch.setattr("edgebed.targets._shared.toolchain.host_compilers", list)
    assert execute(["run", str(compiled), "--input", str(tmp_path / "in.npy")]) == 0
    assert "edgebed[cc]" in capsys.readouterr().out


def test_two_compiles_do_not_share_a_folder(
    compiled: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgebed.recipes.folder import RunFolder

    for out in (compiled, tmp_path / "new"):
        arguments = ["compile", str(model), "--out", str(out), "--quiet"]
        with RunFolder(out).locked():
            assert "another run is working in this folder" in _error(arguments, capsys)
        assert execute(arguments) == 0


@pytest.mark.parametrize(
    "words",
    ["--epochs 3", "--data bccd", "--seed 1", "--weight-bits 4", "--skip-bad", "--resume"],
)
def test_options_of_a_recipe_are_refused_for_a_folder(
    words: str, compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "in.npy", np.zeros((3, 16, 16), np.int8))
    arguments = ["run", str(compiled), "--input", str(tmp_path / "in.npy"), *words.split()]
    said = _error(arguments, capsys)
    assert f"{compiled}: {words.split()[0]} is for a recipe" in said
    assert said.count("\n") == 1


def test_a_folder_for_another_target_is_refused(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "in.npy", np.zeros((3, 16, 16), np.int8))
    arguments = ["run", str(compiled), "--input", str(tmp_path / "in.npy"), "--target"]
    assert "is compiled for null, not for other" in _error([*arguments, "other"], capsys)
    assert execute([*arguments, "null"]) == 0
