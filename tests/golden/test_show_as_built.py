"""`edgebed show DIR` prints the placement that was built, not a new one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute

DESCRIPTION = """
arch: small
dataset: small
layers:
  - {processors: 0x7000, op: conv2d, out_offset: 0x1240, activate: ReLU}
"""


def test_the_authors_placement_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "network.yaml").write_text(DESCRIPTION)
    weights = np.random.default_rng(0).integers(-128, 128, (12, 3, 3)).astype(np.int8)
    np.savez(tmp_path / "weights_int.npz", weight00=weights)
    words = ["compile", str(tmp_path / "network.yaml"), "--target", "max78000", "--only-generate"]
    words += ["--weights", str(tmp_path / "weights_int.npz"), "--input-shape", "3,8,8"]
    assert execute([*words, "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert execute(["show", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "12-14" in shown
    assert "0x1240" in shown
    assert "estimated" in shown
