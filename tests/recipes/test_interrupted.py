"""Ctrl-C and a full disk lose at most the epoch at work; the printed command continues."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgebed.cli import execute
from edgebed.recipes.bed import data, recipe
from null_device import NullTarget

TESTS = Path(__file__).parents[1]
SCRIPT = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from null_device import NullTarget
from edgebed.cli import main
from edgebed.recipes.bed import data, recipe
data.SCENES = (6, 2, 3)
recipe.load_target = lambda name: NullTarget()
main()
"""
RECIPE = ("run", "bed-fast", "--epochs", "4", "--qat-epochs", "1", "--target", "null")


def _epochs(out: Path) -> list[int]:
    path = out / "events.jsonl"
    if not path.is_file():
        return []
    events = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return [e["done"] for e in events if e["event"] == "progress" and e["unit"] == "epoch"]


def _start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_ctrl_c_prints_the_command_that_continues(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = _start([*RECIPE, "--out", str(out)])
    deadline = time.monotonic() + 120
    while not _epochs(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in said
    before = _epochs(out)
    assert 1 <= before[-1] < 5
    again = said.split("continue: ")[1].splitlines()[0]
    words = shlex.split(again)
    assert words[0] == "edgebed"
    second = _start(words[1:])
    second.communicate(timeout=240)
    assert second.returncode == 0
    assert (out / "report.html").is_file()
    assert _epochs(out)[len(before)] == before[-1] + 1, "continues after the last epoch"


@pytest.mark.slow
def test_a_full_disk_during_training_loses_one_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "SCENES", (6, 2, 3))
    monkeypatch.setattr(recipe, "load_target", lambda name: NullTarget())
    arguments = [*RECIPE, "--out", str(tmp_path / "run")]
    full = _FullAfter(tmp_path / "run" / "train", writes=2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert execute(arguments) == 1
    said = capsys.readouterr().err
    assert "no space left on the disk" in said
    assert "--resume" in said
    kept = _epochs(tmp_path / "run")
    assert 1 <= len(kept) < 5
    assert execute([*arguments, "--resume"]) == 0
    assert _epochs(tmp_path / "run") == [1, 2, 3, 4, 5]


class _FullAfter:
    """Stands in for `os.fsync`: the disk takes a few checkpoints and is then full."""

    def __init__(self, folder: Path, writes: int) -> None:
        self.folder, self.left, self.real = folder, writes, os.fsync

    def __call__(self, file: Any) -> None:
        if self.folder.is_dir():
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        self.real(file)


@pytest.mark.slow
def test_two_runs_started_at_once_get_separate_folders(tmp_path: Path) -> None:
    script = SCRIPT.replace("main()", f"import os; os.chdir({str(tmp_path)!r}); main()")
    command = [sys.executable, "-c", script, "run", "bed-fast", "--epochs", "1", "--qat-epochs"]
    runs = [subprocess.Popen([*command, "1", "--target", "null", "--quiet"]) for _ in range(2)]
    assert [run.wait(timeout=240) for run in runs] == [0, 0]
    done = sorted(path.parent.name for path in tmp_path.glob("runs/bed-fast/*/report.html"))
    assert done == ["1", "2"]
    assert (tmp_path / "runs" / "latest" / "report.html").is_file()
