"""Compiled folders on emulated Arm Linux cores: answers, exact counts, and clear words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from edgebed.compile.passes import optimise
from edgebed.errors import EdgebedError
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.targets._shared.rows.manifest import read
from edgebed.targets.arm_linux import emulation
from edgebed.targets.arm_linux.build import MANIFEST
from edgebed.targets.arm_linux.cores import CORES
from edgebed.targets.arm_linux.machine import VirtualBoard
from edgebed.targets.arm_linux.network import load
from edgebed.targets.arm_linux.target import TARGET


def _needs(emulator: str) -> None:
    if emulator == "unicorn":
        pytest.importorskip("unicorn", reason="unicorn is not installed")
    elif any(emulation.find_qemu(core) is None for core in CORES.values()):
        pytest.skip("qemu-user is not installed")


def _emulated() -> None:
    if any(emulation.find_qemu(core) is None for core in CORES.values()):
        pytest.importorskip("unicorn", reason="neither qemu-user nor unicorn is installed")


def _program(cases: Path, name: str):
    return optimise(read_model(cases / "models" / name))[0]


def _compiled(program, folder: Path, **options) -> Path:
    target = TARGET.with_options(options)
    folder.mkdir(exist_ok=True)
    target.plan(program).write(folder)
    target.build(folder)
    return folder


@pytest.fixture(scope="module")
def keywords(cases_dir):
    return _program(cases_dir, "kws_ref_model.tflite")


@pytest.fixture(scope="module", params=list(CORES))
def folder(request, keywords, tmp_path_factory) -> Path:
    return _compiled(keywords, tmp_path_factory.mktemp("net") / "out", cpu=request.param)


def _samples(program, count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(-128, 128, (count, *program.file_shape(name)[1:])).astype(np.int8)
        for name in program.inputs
    }


def _expected(program, x):
    given = {n: v.reshape(len(v), *program.inputs[n].shape) for n, v in x.items()}
    return run(program, given)


def _check(program, folder: Path, board: VirtualBoard, count: int = 2) -> list[float]:
    board.load(folder)
    x = _samples(program, count)
    want = _expected(program, x)
    traces = board.run_named([{name: v[i] for name, v in x.items()} for i in range(count)])
    for i, trace in enumerate(traces):
        for name, got in trace.outputs.items():
            np.testing.assert_array_equal(got.ravel(), want[name][i].ravel())
    return [trace.figures["instructions"].value for trace in traces]


@pytest.mark.parametrize("emulator", ["qemu", "unicorn"])
def test_answers_equal_the_interpreter(emulator, folder, keywords):
    _needs(emulator)
    board = VirtualBoard(emulator)
    counts = _check(keywords, folder, board)
    assert sum(one.instructions for one in board.stages) == counts[-1]
    assert all(one.instructions > 0 for one in board.stages)
    board.self_test()


def test_both_emulators_count_the_same(folder, keywords):
    _needs("qemu")
    _needs("unicorn")
    counts = [_check(keywords, folder, VirtualBoard(one)) for one in ("qemu", "unicorn")]
    assert counts[0] == counts[1]


def test_counts_are_emulated_and_no_time_is_told(folder, keywords):
    _emulated()
    network = load(folder)
    network.run(_samples(keywords, 1))
    assert network.figures["instructions"].kind == "emulated"
    assert not {"time", "energy", "cycles"} & set(network.figures)
    with pytest.raises(EdgebedError, match="no time of its own"):
        network.time_runs(3)


def test_the_shared_library_offers_the_network_alone(folder):
    name = json.loads((folder / MANIFEST).read_text())["name"]
    with (folder / f"lib{name}.so").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        symbols = [one for one in table.iter_symbols() if one.name]
        offered = {one.name for one in symbols if one["st_shndx"] != "SHN_UNDEF"}
        wanted = {one.name for one in symbols if one["st_shndx"] == "SHN_UNDEF"}
    assert offered == {f"{name}_run", f"{name}_digest"}
    assert wanted <= {"memcpy", "memset"}  # which every C library has


@pytest.mark.parametrize("goal", ["time", "ram"])
def test_other_goals_give_the_same_answers(goal, keywords, tmp_path):
    _emulated()
    folder = _compiled(keywords, tmp_path / "out", cpu="a76", goal=goal)
    _check(keywords, folder, VirtualBoard())


@pytest.mark.parametrize(
    ("cpu", "most"), [("a53", 0.272), ("a72", 0.27), ("a76", 0.10), ("armv7", 0.35)]
)
def test_resnet_stays_within_its_instructions(cpu, most, cases_dir, tmp_path):
    _emulated()
    program = _program(cases_dir, "pretrainedResnet_quant.tflite")
    folder = _compiled(program, tmp_path / "out", cpu=cpu)
    board = VirtualBoard()
    (count,) = _check(program, folder, board, count=1)
    assert count <= most * sum(one.macs for one in board.stages)


def test_the_program_reads_and_writes_files(folder, keywords, tmp_path):
    _needs("qemu")
    manifest = json.loads((folder / MANIFEST).read_text())
    core, program = CORES[manifest["cpu"]], folder / manifest["name"]
    x = _samples(keywords, 3)
    paths = [tmp_path / "in.bin", tmp_path / "out.bin"]
    paths[0].write_bytes(next(iter(x.values())).tobytes())
    ran = emulation.run(core, program, arguments=[str(path) for path in paths])
    assert (ran.status, ran.output) == (0, b"")
    (want,) = _expected(keywords, x).values()
    assert paths[1].read_bytes() == want.tobytes()
    assert emulation.run(core, program, arguments=[str(tmp_path / "no"), "x"]).status == 4
    assert emulation.run(core, program, arguments=["one file"]).status == 2


@pytest.mark.parametrize("emulator", ["qemu", "unicorn"])
def test_an_input_that_ends_within_a_sample_is_refused(emulator, folder, keywords):
    _needs(emulator)
    manifest = json.loads((folder / MANIFEST).read_text())
    core, program = CORES[manifest["cpu"]], folder / manifest["name"]
    ran = emulation.run(core, program, data=bytes(100), emulator=emulator)
    assert (ran.status, ran.output) == (3, b"")


def test_a_program_of_another_plan_is_refused(keywords, tmp_path):
    _emulated()
    folder = _compiled(keywords, tmp_path / "out", cpu="a72")
    path = folder / MANIFEST
    manifest = read(path)
    path.write_text(dataclasses.replace(manifest, digest="0" * 64).to_json())
    with pytest.raises(EdgebedError, match=f"built from plan {manifest.digest[:12]}"):
        VirtualBoard().load(folder)


def test_wrong_inputs_are_named(folder, keywords):
    _emulated()
    network = load(folder)
    (name,) = keywords.inputs
    x = _samples(keywords, 1)
    with pytest.raises(EdgebedError, match="is missing"):
        network.run({})
    with pytest.raises(EdgebedError, match="float32"):
        network.run({name: x[name].astype(np.float32)})
    with pytest.raises(EdgebedError, match="not for a99"):
        load(folder, isa="a99")
    with pytest.raises(EdgebedError, match="one thread"):
        load(folder, threads=2)


def test_nothing_to_run_is_said(tmp_path, keywords):
    board = VirtualBoard()
    with pytest.raises(EdgebedError, match="no program is loaded"):
        board.run(np.zeros(1, np.int8))
    TARGET.plan(keywords).write(tmp_path)
    with pytest.raises(EdgebedError, match="build the folder first"):
        board.load(tmp_path)
    with pytest.raises(EdgebedError, match="no camera"):
        board.show(np.zeros((2, 2, 3), np.uint8))


def test_unknown_settings_get_the_nearest():
    with pytest.raises(EdgebedError, match="armv7"):
        TARGET.with_options({"cpu": "armv8"})
    with pytest.raises(EdgebedError, match="balanced"):
        TARGET.with_options({"goal": "balance"})


def test_the_same_program_gives_the_same_plan(keywords):
    target = TARGET.with_options({"cpu": "a53"})
    assert target.plan(keywords).digest == target.plan(keywords).digest
    assert target.plan(keywords).digest != TARGET.plan(keywords).digest


def test_estimates_are_near_the_counts(folder, keywords):
    _emulated()
    cpu = json.loads((folder / MANIFEST).read_text())["cpu"]
    network = load(folder)
    network.run(_samples(keywords, 1))
    guess = TARGET.with_options({"cpu": cpu}).cost(keywords).total["instructions"]
    assert guess.low is not None and guess.high is not None
    assert guess.low <= network.figures["instructions"].value <= guess.high
