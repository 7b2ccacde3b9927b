"""The target's own build and machine, as `edgebed compile` and any other caller use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from firmware_projects import write_project
from networks_by_hand import Row, chain

from edgebed.errors import EdgebedError
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets import load
from edgebed.targets._shared import bare_arm
from edgebed.targets.max78000.machine import VirtualBoard

TARGET = load("max78000")
FLASH, RAM = 512 * 1024, 128 * 1024


def small(channels: int = 4) -> Program:
    return chain("small", (3, 8, 8), (Row(channels), Row(4)))


def built(program: Program, folder: Path) -> dict[str, int]:
    if bare_arm.installed_gcc() is None and bare_arm.zig_clang() is None:
        pytest.skip("no compiler for Cortex-M")
    return dict(TARGET.build(write_project(TARGET.plan(program).files, folder)))


def test_a_build_says_what_it_takes_of_flash_and_ram(tmp_path: Path) -> None:
    sizes = built(small(), tmp_path / "small")
    assert set(sizes) == {"weights in flash", "code in flash", "static RAM", "stack"}
    assert all(size > 0 for size in sizes.values())
    assert sizes["weights in flash"] + sizes["code in flash"] <= FLASH
    assert sizes["static RAM"] + sizes["stack"] <= RAM
    larger = built(small(64), tmp_path / "larger")
    added = 60 * 3 * 9 + 4 * 60 * 9  # bytes of further weights
    assert larger["weights in flash"] >= sizes["weights in flash"] + added
    assert larger["stack"] == sizes["stack"]


def test_a_built_folder_runs_on_the_targets_machine(tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    pytest.importorskip("elftools")
    program, folder = small(), tmp_path / "device"
    built(program, folder)
    machine = TARGET.machine()
    assert isinstance(machine, VirtualBoard)
    try:
        machine.load(folder)
        machine.self_test()
        x = np.random.default_rng(3).integers(-128, 128, (3, 8, 8)).astype(np.int8)
        wanted = run(program, x)
        (found,) = machine.run(x).outputs.values()
        np.testing.assert_array_equal(found, wanted[program.outputs[0]])
    finally:
        machine.close()


def test_a_machine_without_firmware_says_what_to_do(tmp_path: Path) -> None:
    machine = TARGET.machine()
    with pytest.raises(EdgebedError, match="edgebed compile MODEL --target max78000"):
        machine.load(tmp_path)
    with pytest.raises(EdgebedError, match=r"no firmware is loaded; try: load\(folder\)"):
        machine.run(np.zeros((3, 8, 8), np.int8))
    machine.close()


def test_a_folder_without_sources_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="no firmware project here"):
        TARGET.build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_build_without_a_compiler_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_arm, "installed_gcc", lambda: None)
    monkeypatch.setattr(bare_arm, "zig_clang", lambda: None)
    folder = write_project(TARGET.plan(small()).files, tmp_path / "device")
    with pytest.raises(EdgebedError, match=r"no compiler for Cortex-M.*edgebed\[cc\]"):
        TARGET.build(folder)
