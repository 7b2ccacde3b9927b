"""A detector's library for Arm Linux offers its contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_programs import detector, rules
from elftools.elf.elffile import ELFFile

from edgebed.program.contract import ImageInput
from edgebed.targets.arm_linux.cores import CORES
from edgebed.targets.arm_linux.target import TARGET


@pytest.mark.parametrize("cpu", list(CORES))
def test_the_shared_library_has_the_contract(cpu: str, tmp_path: Path) -> None:
    target = TARGET.with_options({"cpu": cpu})
    program = detector(rules(ImageInput(32, 24)))
    target.plan(program).write(tmp_path)
    target.build(tmp_path)
    with (tmp_path / "libeye.so").open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".dynsym").iter_symbols())
    offered = {one.name for one in symbols if one["st_shndx"] != "SHN_UNDEF"}
    assert {"eye_run", "eye_prepare", "eye_prepare_scaled", "eye_detect", "eye_classes"} <= offered
    missing = {one.name for one in symbols if one["st_shndx"] == "SHN_UNDEF"} - {""}
    assert missing <= {"memcpy", "memset", "memmove"}
    make = (tmp_path / "Makefile").read_text()
    assert "library/eye.c library/eye_contract.c" in make
