"""The firmware project as a plan: complete, deterministic, and refused where it cannot work."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from firmware_projects import detector, write_project

from edgebed.compile.plan import BuildPlan
from edgebed.errors import EdgebedError
from edgebed.program.types import Program, TensorType
from edgebed.targets._shared import bare_arm
from edgebed.targets.max78000.build import FLASH_BYTES, RAM_BYTES, build, sizes
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit, pseudo_random

PROGRAM = detector()
IMAGE = compile_program(PROGRAM).image
FILES = emit(IMAGE, PROGRAM, command="edgebed compile run/7 --target max78000")


def plain() -> Program:
    """Return a network without a contract."""
    return replace(PROGRAM, contract=None)


def test_equal_input_gives_equal_bytes() -> None:
    again = emit(IMAGE, PROGRAM, command="edgebed compile run/7 --target max78000")
    assert again == FILES


def test_another_weight_gives_another_digest() -> None:
    other = detector(seed=2)
    changed = emit(compile_program(other).image, other)
    assert digest(changed["main.c"]) != digest(FILES["main.c"])


def digest(data: bytes) -> str:
    found = re.search(rb"plan ([0-9a-f]{16})", data)
    assert found
    return found[1].decode()


def test_every_file_names_network_digest_and_command() -> None:
    digests = set()
    for name, data in FILES.items():
        head = data[:600] if name != "README.md" else data
        assert b"small-detector" in head, name
        assert b"edgebed compile run/7 --target max78000" in head, name
        digests.add(digest(data))
    assert len(digests) == 1


def test_the_digest_is_that_of_the_files_with_it_left_blank() -> None:
    named = digest(FILES["main.c"]).encode()
    blank = {name: data.replace(named, b"@DIGEST@") for name, data in FILES.items()}
    assert BuildPlan("max78000", blank, (("make",),)).digest.startswith(named.decode())


def test_tables_name_the_layer_they_belong_to() -> None:
    text = FILES["network.c"].decode()
    for name in IMAGE.cycles:
        assert f"({name}), quadrant 0" in text


def test_a_network_without_contract_gets_no_camera_and_builds(tmp_path: Path) -> None:
    program = plain()
    files = emit(compile_program(program).image, program)
    assert not {"camera.c", "lcd.c", "detect.c", "screen.c"} & set(files)
    elf = build(write_project(files, tmp_path))
    assert sizes(elf).ram_static < 4096


def test_names_cannot_break_the_c_sources(tmp_path: Path) -> None:
    program = replace(PROGRAM, name='n*/ "x" \\ ??/ \n é')
    build(write_project(emit(IMAGE, program, command="a */ b", vectors=0), tmp_path))


def test_sizes_add_up_and_fit_the_chip(tmp_path: Path) -> None:
    found = sizes(build(write_project(FILES, tmp_path)))
    assert found.flash_weights == 4 * len(IMAGE.kernels)
    assert 10_000 < found.flash_code < 60_000
    assert found.ram_static > 2 * 32 * 32
    assert found.flash < FLASH_BYTES
    assert found.ram < RAM_BYTES
    assert found.stack_bound is not None
    assert found.stack_bound < found.ram_stack


def test_a_program_beyond_the_flash_is_refused_by_the_linker(tmp_path: Path) -> None:
    folder = write_project(FILES, tmp_path)
    with (folder / "kernels.c").open("a") as file:
        file.write(
            'const uint32_t more[140000] __attribute__((section(".kernels"), used)) = {1};\n'
        )
        file.write("const uint32_t *keep(void);\nconst uint32_t *keep(void) { return more; }\n")
    script = folder / "link.ld"
    script.write_text(script.read_text().replace("*(.kernels .kernels.*)", "KEEP(*(.kernels))"))
    with pytest.raises(EdgebedError, match=r"(?i)flash"):
        build(folder)


def test_a_damaged_source_is_named(tmp_path: Path) -> None:
    folder = write_project(FILES, tmp_path)
    (folder / "cnn.c").write_text("int broken(void) { return missing; }\n")
    with pytest.raises(EdgebedError, match=r"cnn\.c: .* refused it .*missing"):
        build(folder)


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="no firmware project here"):
        build(tmp_path)


def test_without_a_compiler_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_arm, "find_zig", lambda: None)
    monkeypatch.setattr(bare_arm, "find_installed", lambda *_names: None)
    with pytest.raises(EdgebedError, match=r'pip install "edgebed\[cc\]"'):
        build(write_project(FILES, tmp_path))


def test_an_installed_gcc_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_arm, "find_installed", lambda *names: Path("/opt/bin") / names[0])
    assert bare_arm.find_bare_arm().name == "arm-none-eabi-gcc"


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no arm-none-eabi-gcc")
def test_gcc_builds_it_without_a_warning(tmp_path: Path) -> None:
    assert bare_arm.find_bare_arm().name == "arm-none-eabi-gcc"
    build(write_project(FILES, tmp_path))


def test_a_camera_contract_with_full_colour_is_refused() -> None:
    contract = PROGRAM.contract
    assert contract
    full = replace(contract, input=replace(contract.input, camera_bits="rgb888"))
    with pytest.raises(EdgebedError, match="camera_bits"):
        emit(IMAGE, replace(PROGRAM, contract=full))


def test_a_contract_for_another_picture_is_refused() -> None:
    contract = PROGRAM.contract
    assert contract
    other = replace(contract, input=replace(contract.input, width=64))
    with pytest.raises(EdgebedError, match="the network reads 3x32x32"):
        emit(IMAGE, replace(PROGRAM, contract=other))


def test_an_image_that_loads_an_inner_tensor_is_refused() -> None:
    (layout,) = IMAGE.inputs
    with pytest.raises(EdgebedError, match="loads tensor 'map'"):
        emit(replace(IMAGE, inputs=(replace(layout, name="map"),)), PROGRAM)


def test_a_program_with_two_inputs_is_refused() -> None:
    two = replace(PROGRAM, inputs={**PROGRAM.inputs, "z": TensorType((1, 1, 1))})
    with pytest.raises(EdgebedError, match="2 inputs"):
        emit(IMAGE, two)


def test_test_inputs_look_random() -> None:
    values = np.frombuffer(pseudo_random(1, 10_000), np.uint8)
    counts = np.bincount(values, minlength=256)
    assert counts.min() > 10
    assert counts.max() < 80
