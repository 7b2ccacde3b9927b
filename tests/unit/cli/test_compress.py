"""`edgebed compress` writes what it may, refuses what it must, and says why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.program.ops import by_kind
from edgebed.program.read import read_model
from edgebed.program.to_onnx import save
from edgebed.program.types import Constant, Program, TensorType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A float network of 8 x 8 pictures and four classes."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": Constant(rng.normal(size=(6, 3, 3, 3)).astype(np.float32), 32),
        "b1": Constant(rng.normal(size=6).astype(np.float32), 32),
        "w2": Constant(rng.normal(size=(4, 6)).astype(np.float32), 32),
    }
    ops = (
        by_kind("conv2d")(name="conv", inputs=("x",), output="c", weight="w1", bias="b1"),  # type: ignore[call-arg]
        by_kind("unary")(name="relu", inputs=("c",), output="r", function="relu"),  # type: ignore[call-arg]
        by_kind("reduce")(  # type: ignore[call-arg]
            name="mean", inputs=("r",), output="m", function="mean", axes=(1, 2), keep=False
        ),
        by_kind("dense")(name="fc", inputs=("m",), output="y", weight="w2", last_axis=True),  # type: ignore[call-arg]
    )
    program = Program("tiny", {"x": TensorType((3, 8, 8), "float32", 1.0)}, ops, ("y",), constants)
    path = tmp_path / "tiny.onnx"
    save(program, path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path / "x.npz"
    x = rng.random((40, 3, 8, 8)).astype(np.float32)
    np.savez(path, x=x, y=rng.integers(0, 4, 40))
    return path


def compress(*words: object) -> int:
    return execute(["compress", *map(str, words), "--quiet"])


def test_it_writes_integers_and_a_report(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    assert compress(model, "--data", data, "--out", out, "--max-drop", "10%") == 0
    made = read_model(out)
    weights = [made.constants[op.weight].values.dtype for op in made.ops if hasattr(op, "weight")]
    assert weights == [np.int8, np.int8]
    assert made.input_type.is_float
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["measure"] == "share of samples with the labelled class"
    assert {row["layer"] for row in report["sensitivity"]} >= {"conv", "fc"}
    assert report["kind"] == "measured"


def test_a_missed_budget_is_exit_2_and_nothing_is_written(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two.onnx"  # two outputs are compared by their cosine, which rounding lowers
    save(read_model(model).with_(outputs=("y", "m")), two)
    np.save(tmp_path / "x.npy", np.load(data)["x"])
    out = tmp_path / "small.onnx"
    assert compress(two, "--data", tmp_path / "x.npy", "--out", out, "--max-drop", "0") == 2
    said = capsys.readouterr()
    assert "nothing was written" in said.err
    assert "cosine" in said.out
    assert not out.exists()


def test_equalisation_and_bias_correction_can_be_left_out(
    model: Path, data: Path, tmp_path: Path
) -> None:
    words = (model, "--data", data, "--max-drop", "30%", "--out")
    corrected, plain = tmp_path / "corrected.onnx", tmp_path / "plain.onnx"
    assert compress(*words, corrected) == 0
    assert compress(*words, plain, "--no-equalise", "--no-correct-bias") == 0
    assert read_model(plain).constants != read_model(corrected).constants


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is missing"),
        (["--data", "nowhere"], "no such file or folder"),
        (["--data", "DATA", "--calibration", "mes"], "did you mean 'mse'"),
        (["--data", "DATA", "--keep-float", "covn"], "no layer 'covn'.*did you mean 'conv'"),
        (["--data", "DATA", "--max-drop", "lots"], "'lots' is not a share"),
        (["--data", "DATA", "--out", "small.tflite"], "an ONNX file is written"),
        (["--data", "DATA", "--target", "max7800"], "unknown target"),
        (["--data", "DATA", "--target", "max78000"], "powers of two"),
        (["--data", "DATA", "--percentile", "5"], "lies in 50..100"),
        (["--data", "DATA", "--samples", "0"], "1 or more"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str],
    message: str,
    model: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(data) if word == "DATA" else word for word in words]
    assert compress(model, *given) == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    import re

    assert re.search(message, said), said


def test_the_model_is_never_overwritten(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    assert compress(model, "--data", data, "--out", model) == 1
    assert "is the model itself" in capsys.readouterr().err
    assert model.read_bytes() == before


def test_integers_are_not_quantised_again(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.onnx"
    assert compress(model, "--data", data, "--out", out, "--max-drop", "20%") == 0
    assert compress(out, "--data", data, "--out", tmp_path / "again.onnx") == 1
    assert "quantised already" in capsys.readouterr().err
