"""A profile travels with a compiled folder, and what its own runs give is judged by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from contract_programs import detector, rules

from edgebed.cli import execute
from edgebed.observe.drift_profile import NAME
from edgebed.program import to_onnx
from edgebed.program.contract import ImageInput
from edgebed.program.types import Array
from edgebed.targets._shared.toolchain import find_zig, host_compilers

pytest.importorskip("unicorn", reason="unicorn is not installed")
SIDE = 24
TARGETS = [
    pytest.param(("host",), marks=pytest.mark.skipif(not host_compilers(), reason="no compiler")),
    pytest.param(
        ("cortex_m", "--cpu", "m4"),
        marks=pytest.mark.skipif(
            find_zig() is None and shutil.which("arm-none-eabi-gcc") is None,
            reason="no compiler for Arm",
        ),
    ),
]


def tensors(seed: int, count: int, light: float) -> Array:
    random = np.random.default_rng(seed)
    coarse = np.kron(random.normal(0, 30, (count, 3, 6, 6)), np.ones((1, 1, 4, 4)))
    pictures = light * (120 + coarse + random.normal(0, 4, (count, 3, SIDE, SIDE)))
    return np.asarray((np.clip(np.round(pictures), 0, 255) - 128).astype(np.int8))


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_judges_its_own_runs_by_its_profile(
    target: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, folder, good = tmp_path / "eye.onnx", tmp_path / "eye", tmp_path / "good.npy"
    to_onnx.save(detector(rules(ImageInput(SIDE, SIDE))), model)
    np.save(good, tensors(0, 80, 1.0))
    words = ["compile", str(model), "--target", *target, "--out", str(folder), "--quiet"]
    assert execute([*words, "--profile", str(good)]) == 0
    assert (folder / NAME).is_file()
    causes = {}
    for light in (1.0, 0.5):
        given, trace = tmp_path / "x.npy", tmp_path / "x.trace"
        np.save(given, tensors(1, 24, light))
        run = ["run", str(folder), "--input", str(given), "--out", str(tmp_path / "y.npy")]
        assert execute([*run, "--trace", str(trace), "--level", "io", "--quiet"]) == 0
        capsys.readouterr()
        execute(["observe", str(trace), "--program", str(folder), "--json"])
        said = json.loads(capsys.readouterr().out)
        assert said["windows"] == 1
        causes[light] = [one["cause"] for one in said["verdicts"] if "input" in one["layer"]]
    assert causes[1.0] == []
    assert causes[0.5][0] in ("brightness_shift", "contrast_shift", "new_range")
