"""The bed recipe from pictures to report, on a device that answers as the interpreter does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgebed.cli import execute
from edgebed.recipes.bed import data, recipe
from null_device import NullTarget

FILES = (
    "config.json",
    "environment.json",
    "events.jsonl",
    "metrics.json",
    "program.onnx",
    "report.html",
    "MODEL_CARD.md",
    "lcd.png",
    "traces/interpreter.npz",
    "device/plan.json",
    "device/firmware.elf",
)
TINY = ("--epochs", "1", "--qat-epochs", "1", "--target", "null")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> NullTarget:
    """Six drawn scenes to train on, and the null device."""
    target = NullTarget()
    monkeypatch.setattr(data, "SCENES", (6, 2, 3))
    monkeypatch.setattr(recipe, "load_target", lambda name: target)
    return target


def _run(out: Path, *flags: str) -> int:
    return execute(["run", "bed-fast", "--out", str(out), *TINY, *flags])


@pytest.mark.slow
def test_a_run_leaves_everything_and_a_second_call_redoes_nothing(
    small: NullTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert _run(out) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"bed-fast on synthetic for null, into {out}"
    assert f"report: {out / 'report.html'}" in said
    assert all((out / name).is_file() for name in FILES)
    trained = (out / "program.onnx").stat().st_mtime_ns
    assert _run(out, "--resume", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (out / "program.onnx").stat().st_mtime_ns == trained
    assert set(result["accuracy"]) == {"float network", "int8 program", "virtual board"}
    board, program = (result["accuracy"][k]["ap50"] for k in ("virtual board", "int8 program"))
    assert board == program
    assert "of 3 test pictures" in result["agreement"]
    assert all(
        {"value", "unit", "kind", "source"} <= one.keys() for one in result["figures"].values()
    )


@pytest.mark.slow
def test_the_report_is_one_offline_file(small: NullTarget, tmp_path: Path) -> None:
    assert _run(tmp_path / "run") == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page), "a link leaves the file"
    assert "<script" not in page
    assert "@import" not in page
    assert page.count("data:image/png") == 3
    assert page.index("On the display") < page.index("Accuracy")
    assert "all &lt;weights&gt;" in page
    assert "loose AP (IoU &gt; 0.01)" in page
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "| float network | test | 3 |" in card
    assert "edgebed run bed-fast --data synthetic" in card


@pytest.mark.slow
def test_a_board_that_differs_in_one_integer_is_an_error(
    small: NullTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path / "run") == 0
    small.wrong = True
    assert _run(tmp_path / "run", "--resume", "--frames", "2") == 1
    said = capsys.readouterr().err
    assert "differs from the interpreter's in 1 of 1960" in said
    assert "--resume" in said


@pytest.mark.slow
def test_a_missed_accuracy_budget_is_exit_2_with_the_numbers(
    small: NullTarget, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path / "run") == 0
    record = tmp_path / "run" / "stages" / "train.json"
    stage = json.loads(record.read_text())
    stage["result"]["float"]["ap50"] = 0.9
    record.write_text(json.dumps(stage))
    assert _run(tmp_path / "run", "--resume", "--max-drop", "1%") == 2
    assert "1 points are allowed" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").is_file()
