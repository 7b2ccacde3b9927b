"""The whole chain on the virtual board: train a little, compile, and compare every integer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebed.cli import execute
from edgebed.recipes.bed import data
from edgebed.recipes.bed.config import DEFAULT_TARGET

pytest.importorskip("unicorn")


@pytest.mark.slow
@pytest.mark.parametrize("network", ["bed-fast", "bed"])
def test_from_scenes_to_screens(
    network: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data, "SCENES", (4, 1, 2))
    out = tmp_path / "run"
    flags = ["--epochs", "1", "--qat-epochs", "1", "--out", str(out), "--json"]
    assert execute(["run", network, *flags]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "of 2 test pictures" in result["agreement"]
    kinds = {one["kind"] for one in result["figures"].values()}
    assert kinds == {"measured", "emulated", "estimated"}
    assert json.loads((out / "device" / "plan.json").read_text())["target"] == DEFAULT_TARGET
    screen = np.asarray(Image.open(next((out / "lcd").iterdir())))
    assert screen.shape[2] == 3
    assert len(np.unique(screen.reshape(-1, 3), axis=0)) > 100, "a picture, not a blank display"
    assert execute(["show", str(out)]) == 0
    assert "layer00" in capsys.readouterr().out
