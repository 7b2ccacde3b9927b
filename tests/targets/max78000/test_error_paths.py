"""Errors of the tools around a build, of illegal registers, and of contracts firmware cannot do."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from firmware_projects import contract, detector
from register_program import write
from test_accelerator_memory import layer_register, small

from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract
from edgebed.targets._shared import elf as elf_module
from edgebed.targets._shared import native, toolchain
from edgebed.targets._shared.toolchain import Compiler
from edgebed.targets.max78000 import Accelerator
from edgebed.targets.max78000 import build as build_module
from edgebed.targets.max78000.accelerator import fast
from edgebed.targets.max78000.accelerator.arithmetic import PlainArithmetic
from edgebed.targets.max78000.build import build, sizes
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit


def test_a_compiler_that_hangs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.c"
    source.write_text("int a;\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_TIMEOUT_S", 0.2)
    slow = Compiler("slow", (sys.executable, "-c", "import time; time.sleep(9)"), ())
    with pytest.raises(EdgebedError, match=r"a\.c: slow took longer than 0\.2 s"):
        native.build_library(source, slow)


def test_zig_on_the_path_serves_where_the_wheel_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: f"/opt/{name}")
    assert toolchain.find_zig() == Path("/opt/zig")
    monkeypatch.setattr(toolchain.shutil, "which", lambda _name: None)
    assert toolchain.find_zig() is None


def test_arithmetic_falls_back_to_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise EdgebedError("no compiler")

    monkeypatch.setattr(fast, "FastArithmetic", refuse)
    assert isinstance(fast.best_arithmetic(), PlainArithmetic)


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x02" + bytes(100), b"\x7fELF\x01short"])
def test_sizes_of_no_elf_file_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(data)
    with pytest.raises(EdgebedError, match=r"firmware\.elf: not a 32-bit ELF file"):
        sizes(path)


def test_a_folder_without_sources_is_no_firmware_project(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"no firmware project here .*edgebed compile"):
        build(tmp_path)


def test_a_program_of_this_computer_is_no_firmware(tmp_path: Path) -> None:
    pytest.importorskip("elftools")
    binary = Path(sys.executable).resolve()
    if binary.read_bytes()[:4] != b"\x7fELF":
        pytest.skip("programs are no ELF files here")
    with pytest.raises(EdgebedError, match=r"not built for Arm|not a 32-bit"):
        elf_module.load_firmware(binary)


def test_a_firmware_compiler_that_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_words: Any, **_options: Any) -> None:
        raise subprocess.TimeoutExpired("cc", 1)

    program = detector()
    for name, data in emit(compile_program(program).image, program).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    try:
        build_module.find_bare_arm()
    except EdgebedError:
        pytest.skip("no compiler for the firmware")
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(EdgebedError, match="took too long"):
        build(tmp_path)


# ---- illegal register values ----


@pytest.mark.parametrize(
    ("register", "value", "message"),
    [
        (2, 0x1100, "conv1d on two-dimensional"),
        (0, 0x0, r"RCNT = 0x0.*output size"),
    ],
)
def test_illegal_shapes_name_the_register(register: int, value: int, message: str) -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    accelerator.write32(layer_register(register), value)
    with pytest.raises(EdgebedError, match=message) as error:
        accelerator.run()
    assert "layer 0, register" in str(error.value)


def test_bytes_of_data_memory_are_written_singly() -> None:
    accelerator = Accelerator()
    accelerator.write32(0x50400000, 0x11223344)
    accelerator.write8(0x50400001, 0xAA)
    assert accelerator.read32(0x50400000) == 0x1122AA44


def test_data_memory_in_pieces_is_refused() -> None:
    pieces = np.zeros((16, 16384), np.uint32)[:, ::2]
    with pytest.raises(EdgebedError, match="not contiguous; try: one mapping"):
        Accelerator(sram=pieces)


# ---- contracts that the firmware cannot do ----


def changed(part: str, **changes: Any) -> Contract:
    rules = contract(32, 8)
    return replace(rules, **{part: replace(getattr(rules, part), **changes)})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (changed("input", offset=0), r"contract\.input\.offset: offset 0 .*try: offset -128"),
        (changed("decode", grid_width=7), "no output can be decoded"),
        (changed("input", camera_bits="rgb888"), "cannot deliver rgb888.*camera_bits rgb565"),
    ],
)
def test_contracts_the_firmware_cannot_do_are_refused(rules: Contract, message: str) -> None:
    program = replace(detector(), contract=rules)
    with pytest.raises(EdgebedError, match=message):
        emit(compile_program(program).image, program)
