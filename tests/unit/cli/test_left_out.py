"""Pictures of a folder that cannot be read: left out, counted and listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_folders import _program

import edgebed.targets
from edgebed.cli import execute
from edgebed.data.readers.pictures import frames
from edgebed.errors import EdgebedError
from edgebed.program import to_onnx
from null_device import NullTarget


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    null = NullTarget()
    monkeypatch.setattr(edgebed.targets, "load", lambda name: null)
    monkeypatch.setattr(edgebed.targets, "names", lambda: ("null",))
    monkeypatch.setattr(edgebed.targets, "projects", lambda name: None)
    to_onnx.save(_program(), tmp_path / "small.onnx")
    arguments = [str(tmp_path / "small.onnx"), "--out", str(tmp_path / "device"), "--quiet"]
    assert execute(["compile", *arguments]) == 0
    return tmp_path / "device"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two good pictures; b.png is text, c.jpg cut short."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "c.jpg", "d.png"):
        Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(folder / name)
    (folder / "b.png").write_text("not a picture")
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:200])
    return folder


def test_unreadable_pictures_are_left_out_and_listed(
    device: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    arguments = ["run", str(device), "--input", str(pictures), "--out", str(tmp_path / "screens")]
    assert execute([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert len(result["left_out"]) == 2
    assert "b.png: not an image" in result["left_out"][0]
    assert "c.jpg" in result["left_out"][1]
    assert "left out" in said.err
    found = json.loads((tmp_path / "screens" / "detections.json").read_text())
    assert [one["name"] for one in found] == ["a", "d"]
    assert execute(arguments) == 0
    assert "left out 2 of 4 pictures:" in capsys.readouterr().out


def test_a_folder_without_a_readable_picture_is_exit_1(
    device: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "d.png"):
        (pictures / name).unlink()
    out = tmp_path / "screens"
    assert execute(["run", str(device), "--input", str(pictures), "--out", str(out)]) == 1
    assert "none of its pictures can be read (the first: " in capsys.readouterr().err
    assert not out.exists()


def test_without_a_listener_the_first_unreadable_picture_ends_the_reading(pictures: Path) -> None:
    with pytest.raises(EdgebedError, match="not an image"):
        list(frames(pictures))
    heard: list[EdgebedError] = []
    assert [name for name, _ in frames(pictures, heard.append)] == ["a", "d"]
    assert [Path(str(error.where)).name for error in heard] == ["b.png", "c.jpg"]
