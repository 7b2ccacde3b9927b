"""compress for a microcontroller, compile, run: layers in float32 where 8 bits are not enough."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_networks import mobile

from edgebed.cli import execute
from edgebed.program import to_onnx
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.program.types import Constant, Program

SAMPLES = 30


def hard() -> Program:
    """One channel of a depthwise layer is 300 times weaker than the next layer makes up for."""
    program = mobile()
    values = {name: one.values.copy() for name, one in program.constants.items()}
    values["w2"][0] /= 300
    values["b2"][0] /= 300
    values["w3"][:, 0] *= 300
    constants = {name: Constant(value, 32) for name, value in values.items()}
    return program.with_(name="hard", constants=constants)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    to_onnx.save(hard(), tmp_path / "hard.onnx")
    data = np.random.default_rng(0).random((SAMPLES, 3, 12, 12)).astype(np.float32)
    np.save(tmp_path / "data.npy", data)
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    given = ["compress", str(folder / "hard.onnx"), "--data", str(folder / "data.npy")]
    out = ["--out", str(folder / "small.onnx"), "--no-equalise", "--quiet"]
    return [*given, *out, *more]


def test_the_way_to_a_virtual_m4(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ["--target", "cortex_m"]
    assert execute([*words(folder, "--max-drop", "6%"), *target, "--cpu", "m4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["wide_layers"] == [] and "point" in report["float_layers"]
    before, after = report["costs"]["eight_bits"], report["costs"]["with_float_layers"]
    assert after["instructions"]["value"] > before["instructions"]["value"]
    assert after["instructions"]["kind"] == "estimated"
    small = folder / "small.onnx"
    assert json.loads(small.with_suffix(".json").read_text()) == report
    assert execute(["compile", str(small), *target, "--out", str(folder / "net"), "--quiet"]) == 0
    given = ["run", str(folder / "net"), "--input", str(folder / "data.npy")]
    assert execute([*given, "--out", str(folder / "y.npy")]) == 0
    program = read_model(small)
    assert any(program.types[op.output].is_float and op.kind == "conv2d" for op in program.ops)
    wanted = run(program, {"x": np.load(folder / "data.npy")})["classes"]
    np.testing.assert_allclose(np.load(folder / "y.npy"), wanted, atol=2 / 256)
    refused = ["compile", str(small), *target, "--cpu", "m0plus", "--out", str(folder / "no")]
    assert execute(refused) == 1
    assert "point: computes in float32" in capsys.readouterr().err


def test_the_lines_name_layers_costs_and_the_next_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words(folder, "--max-drop", "6%", "--target", "cortex_m", "--cpu", "m33")) == 0
    said = capsys.readouterr().out
    assert "float32 layers: point" in said and "16-bit" not in said
    assert "instructions with them: " in said and "instructions, estimated" in said
    assert said.endswith("--target cortex_m --cpu m33 --out DIR\n")


def test_a_core_without_fpu_misses_the_budget(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(folder, "--max-drop", "1%", "--target", "cortex_m", "--cpu", "m0plus")
    assert execute(given) == 2
    assert "or a core with a floating-point unit" in capsys.readouterr().err
    assert not (folder / "small.onnx").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--cpu", "m4"], "--cpu m4 without a target; try: --target NAME"),
        (["--target", "host", "--cpu", "m4"], "--cpu means nothing to host"),
        (["--target", "cortex_m", "--cpu", "m5"], "no core is called 'm5'"),
    ],
)
def test_a_core_that_makes_no_sense_is_refused(
    folder: Path, options: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(words(folder, *options)) == 1
    assert part in capsys.readouterr().err
