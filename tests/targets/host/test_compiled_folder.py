"""From a file to a folder by the command line, with the compiler and the libraries of this host."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgebed
from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.program import to_onnx
from edgebed.program.arithmetic import Affine
from edgebed.program.ops.add import Add
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.run import run
from edgebed.program.types import Program, TensorType
from edgebed.targets import library_target, open_library
from edgebed.targets._shared.toolchain import host_compilers

pytestmark = pytest.mark.skipif(not host_compilers(), reason="no C compiler for this computer")


def _program() -> Program:
    kind = TensorType((3, 8, 8), "int8", 0.1, -5)
    rule = Affine(0.2, 3, "fixed_point")
    return Program(
        "pair",
        {"left": kind, "right": kind},
        (
            Add(name="sum", inputs=("left", "right"), output="total", requantize=rule),
            MaxPool(name="pool", inputs=("total",), output="small", kernel=(2, 2), stride=(2, 2)),
        ),
        ("total", "small"),
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    to_onnx.save(_program(), folder / "pair.onnx")
    words = ["compile", str(folder / "pair.onnx"), "--target", "host", "--out"]
    assert execute([*words, str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


@pytest.fixture
def copy(compiled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compiled, tmp_path / "copy")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    path = tmp_path / "in.npz"
    shape = (4, 3, 8, 8)
    np.savez(path, **{n: rng.integers(-128, 128, shape).astype(np.int8) for n in ("left", "right")})
    return path


def test_run_gives_the_interpreters_integers(compiled: Path, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "y.npy"
    words = ["run", str(compiled), "--input", str(inputs), "--out", str(out), "--threads", "2"]
    assert execute([*words, "--profile"]) == 0
    wanted = run(_program(), dict(np.load(inputs)))
    np.testing.assert_array_equal(np.load(out), wanted["total"])
    np.testing.assert_array_equal(np.load(tmp_path / "y.1.npy"), wanted["small"])


def test_compare_and_show_know_the_folder(
    compiled: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(compiled.parent / "pair.onnx")
    assert execute(["compare", model, str(compiled), "--input", str(inputs)]) == 0
    capsys.readouterr()
    assert execute(["show", str(compiled)]) == 0
    said = capsys.readouterr().out
    assert "no placement needs less than" in said
    assert all(size in said for size in ("library", "constants", "arena"))


def test_the_folder_loads_by_its_manifest(compiled: Path) -> None:
    assert library_target(compiled) == "host"
    session = open_library(compiled)
    assert [one.name for one in session.inputs] == ["left", "right"]
    assert session.inputs[0].shape == (1, 3, 8, 8)
    given = {name: np.zeros((1, 3, 8, 8), np.int8) for name in ("left", "right")}
    first, second = edgebed.load(compiled).run(given)
    wanted = run(_program(), given)
    np.testing.assert_array_equal(first, wanted["total"])
    np.testing.assert_array_equal(second, wanted["small"])


def test_a_folder_that_holds_no_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="holds no compiled library"):
        open_library(tmp_path)
    with pytest.raises(EdgebedError, match="no such folder"):
        open_library(tmp_path / "none")


@pytest.mark.parametrize("damage", ["library", "manifest", "processor"])
def test_a_damaged_or_foreign_library_is_refused_in_one_sentence(
    damage: str, copy: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = copy / "manifest.json"
    facts = json.loads(manifest.read_text())
    if damage == "library":
        library = copy / facts["library"]
        library.write_bytes(library.read_bytes()[:2000])
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:200])
    else:
        manifest.write_text(json.dumps({**facts, "machine": "riscv64"}))
    assert execute(["run", str(copy), "--input", str(inputs)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(copy) in said
    assert {
        "library": "is not the library that was built",
        "manifest": "compile the network again",
        "processor": "was built for riscv64",
    }[damage] in said


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((1, 3, 8, 9), np.int8), "has shape (1, 3, 8, 9)"),
        (np.zeros((1, 3, 8, 8), np.uint8), "holds uint8 (int8 is needed)"),
    ],
)
def test_a_wrong_tensor_is_refused_with_what_is_needed(
    array: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
    part: str,
    compiled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "in.npz", left=array, right=np.zeros((1, 3, 8, 8), np.int8))
    assert execute(["run", str(compiled), "--input", str(tmp_path / "in.npz")]) == 1
    assert part in capsys.readouterr().err


def test_the_example_builds_with_one_command(copy: Path) -> None:
    """As its first lines say: any C compiler, the example and the static library."""
    compiler = host_compilers()[0]
    static = next(copy.glob("*.a")).name
    command = [*compiler.command, "example.c", static, "-lm", "-lpthread", "-o", "example"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    done = subprocess.run([str(copy / "example")], check=True, capture_output=True, timeout=60)
    with edgebed.load(copy) as session:
        answers = session.run([np.zeros(one.shape, one.dtype) for one in session.inputs])
        names = [one.name for one in session.outputs]
    first, *rows = done.stdout.decode().splitlines()
    assert first.startswith("pair on ")
    for row, name, values in zip(rows, names, answers, strict=True):
        assert row == f"{name}: {' '.join(str(n) for n in values.ravel()[:16])}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hello_world_int8", "kws_ref_model", "pretrainedResnet_quant"])
def test_public_networks_answer_like_tensorflow_lite_micro(
    name: str, cases_dir: Path, tmp_path: Path
) -> None:
    model = cases_dir / "models" / f"{name}.tflite"
    if not model.is_file():
        pytest.skip(f"{name} is absent")
    known = np.load(f"{model}.tflm.npz")
    session_input = known["inputs"].reshape(-1, *known["inputs"].shape[2:])
    np.save(tmp_path / "x.npy", session_input)
    out = str(tmp_path / "out")
    assert execute(["compile", str(model), "--target", "host", "--out", out, "--quiet"]) == 0
    words = ["run", out, "--input", str(tmp_path / "x.npy"), "--out", str(tmp_path / "y.npy")]
    assert execute(words) == 0
    answered = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(answered.ravel(), known["outputs"].ravel())
