"""Golden cases through the whole chain: compiled, built, and run as firmware on the board."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from firmware_projects import Host, write_project

from edgebed.targets._shared.elf import load_firmware
from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.build import build
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit
from edgebed.targets.max78000.wire import wire

# One of each way in and out: channel-wise, wide, FIFOs of both forms, several passes and operands.
KINDS = (
    "mnist_extrasmall",
    "test-fifostream-32-hwc",
    "test-fifostream-quant",
    "test-mpadd-128",
    "test-mppool-1x1",
    "test-eltwiseadd4-7ch",
)


@pytest.mark.parametrize("name", KINDS)
def test_firmware_answers_the_expected_integers(name: str, cases_dir: Path, tmp_path: Path) -> None:
    case = cases_dir / "max78000" / name
    if not case.is_dir():
        pytest.skip(f"case {name} is absent")
    check(case, tmp_path)


@pytest.mark.slow
def test_firmware_answers_the_expected_integers_of_every_case(
    cases_dir: Path, tmp_path: Path
) -> None:
    for file in sorted((cases_dir / "max78000").glob("*/network.yaml")):
        check(file.parent, tmp_path / file.parent.name)


def check(case: Path, folder: Path) -> None:
    flags = parse_flags(json.loads((case / "meta.json").read_text())["case"]["args"])
    project = read_project(case / "network.yaml", case / "weights_int.npz", flags)
    program, image = project.program, compile_program(project).image
    elf = build(write_project(emit(image, program, vectors=1), folder))
    host = Host(Board(load_firmware(elf)), wire(program, image))
    assert "selftest 1/1 ok" in host.boot(), case.name
    x = np.load(case / "sample_input.npy").reshape(host.wire.input_shape)
    reply = host.ask("R", host.wire.pack_input(x))
    assert struct.unpack_from("<I", reply.payload)[0] > 0
    outputs = host.wire.unpack_outputs(reply.payload[4:])
    final, *further = program.outputs
    files = {final: "expected_output.npy"} | {n: f"expected_output_{n}.npy" for n in further}
    for output, file in files.items():
        np.testing.assert_array_equal(outputs[output], np.load(case / file), err_msg=case.name)
    assert not host.board.notes
    host.board.close()
