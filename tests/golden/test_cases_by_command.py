"""Every golden case through the commands a user types: compile from YAML, then run a tensor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgebed.cli import execute

pytest.importorskip("unicorn")


@pytest.mark.slow
def test_every_case_gives_the_expected_integers(cases_dir: Path, tmp_path: Path) -> None:
    cases = sorted(one.parent for one in (cases_dir / "max78000").glob("*/network.yaml"))
    assert cases
    wrong = [one.name for one in cases if not _passes(one, tmp_path / one.name)]
    assert not wrong, f"{len(wrong)} of {len(cases)} cases differ: {wrong}"


def _passes(case: Path, out: Path) -> bool:
    given = json.loads((case / "meta.json").read_text())["case"]["args"]
    weights = ["--weights", str(case / "weights_int.npz")]
    model = [str(case / "network.yaml"), *weights, "--target", "max78000", "--out", str(out)]
    if execute(["compile", *model, "--quiet", *given]) != 0:
        return False
    tensor, answer = case / "sample_input.npy", out / "OUT.npy"
    words = ["run", str(out), "--input", str(tensor), "--out", str(answer), "--json", "--quiet"]
    if execute(words) != 0:
        return False
    further = {
        f"OUT_{path.stem.removeprefix('expected_output_')}.npy": path
        for path in case.glob("expected_output_*.npy")
    }
    wanted = {"OUT.npy": case / "expected_output.npy", **further}
    return all(_equal(out / name, path) for name, path in wanted.items())


def _equal(got: Path, wanted: Path) -> bool:
    if not got.is_file():
        return False
    ours, theirs = np.load(got), np.load(wanted)
    return ours.shape == theirs.shape and np.array_equal(ours, theirs)
