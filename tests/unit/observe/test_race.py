"""A race takes turns, reports what a runtime refuses, and compares the outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.observe.peers import check_name, random_inputs
from edgebed.observe.race import Contender, race
from edgebed.program.ops import by_kind
from edgebed.program.to_onnx import save
from edgebed.program.types import Constant, Program, TensorType

pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weight = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    op = by_kind("dense")(name="fc", inputs=("x",), output="y", weight="w", last_axis=True)  # type: ignore[call-arg]
    kind = TensorType((6,), "float32", 1.0)
    save(
        Program("fc", {"x": kind}, (op,), ("y",), {"w": Constant(weight, 32)}), tmp_path / "m.onnx"
    )
    return tmp_path / "m.onnx"


def test_equal_runtimes_answer_alike(model: Path) -> None:
    first, second = race(
        [Contender("onnxruntime", model), Contender("onnxruntime", model)], rounds=2
    )
    assert first.difference is None
    assert second.difference == 0.0
    assert min(first.runs, second.runs) >= 2  # one a round at least
    assert 0 < first.spread_us[0] <= first.spread_us[1]


def test_a_refusal_is_a_result(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    good, bad = race([Contender("onnxruntime", model), Contender("onnxruntime", broken)], rounds=1)
    assert good.refused is None
    assert bad.refused is not None
    assert "broken.onnx" in bad.refused


def test_inputs_fill_the_range_of_their_type() -> None:
    small, real = random_inputs([("a", (4000,), "int8"), ("b", (100,), "float32")])
    assert (small.min(), small.max()) == (-128, 127)
    assert 0 <= real.min() < real.max() <= 1


def test_unknown_runtimes_are_named() -> None:
    with pytest.raises(EdgebedError, match="did you mean 'onnxruntime'"):
        check_name("onnxruntme")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.onnx"], "no such file"),
        ([str(Path(__file__).parent)], "is a folder"),
        (["MODEL", "--threads", "two"], "--threads 'two'"),
        (["MODEL", "--against", "tvm"], "unknown runtime 'tvm'"),
        (["MODEL", "--peer-model", "litert=x.tflite"], "no such file"),
        (["MODEL", "--rounds", "0"], "--rounds 0"),
        (["MODEL", "--compiled", "nowhere"], "nowhere: no such folder"),
        (["MODEL", "--against", ","], "names no runtime"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(model) if word == "MODEL" else word for word in words]
    assert execute(["bench", *given, "--quiet"]) == 1
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_a_contender_that_dies_is_named_with_its_last_words(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "talker.py").write_text(
        "import sys\nsys.stderr.write('chatter\\n' * 100_000 + 'out of luck\\n')\nsys.exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("edgebed.observe.race.WORKER", "talker")
    with pytest.raises(EdgebedError, match=r"onnxruntime died.*out of luck"):
        race([Contender("onnxruntime", model)], rounds=1)
