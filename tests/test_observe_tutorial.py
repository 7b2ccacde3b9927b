"""The tutorial works as it is written: its files are made, its commands run, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

for extra in ("PIL", "onnx", "onnxruntime"):
    pytest.importorskip(extra)

PAGE = Path(__file__).parents[1] / "docs" / "observe-tutorial.md"
FENCE = re.compile(r"^```(\w+)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands behind it, and its text."""

    language: str
    more: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in FENCE.findall(PAGE.read_text(encoding="utf-8"))]


def run(block: Block, folder: Path) -> str:
    """Run the lines of a block; all but the last have to succeed. Return what they print."""
    wanted = int(block.more.removeprefix("exit=") or 0)
    said = ""
    lines = block.text.strip().splitlines()
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": scripts, "OMP_NUM_THREADS": "1"}
    for at, line in enumerate(lines):
        words = shlex.split(line)
        if words[0] == "python":
            words[0] = sys.executable
        elif words[0] == "edgebed":
            words[:1] = [sys.executable, "-m", "edgebed"]
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        said += done.stdout
        expected = wanted if at == len(lines) - 1 else 0
        assert done.returncode == expected, f"{line}\n{done.stdout}\n{done.stderr}"
    return said


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_tutorial_mends_the_pipeline(tmp_path: Path) -> None:
    said = ""
    for block in blocks():
        if block.language == "python":
            (tmp_path / block.more).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            said = run(block, tmp_path)
        else:
            for line in block.text.strip().splitlines():
                assert flat(line) in flat(said), f"{line!r} is not in\n{said}"
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_page_says_what_each_block_is() -> None:
    found = blocks()
    assert {one.language for one in found} == {"python", "sh", "text"}
    assert all(one.more.endswith(".py") for one in found if one.language == "python")
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * len(found)
