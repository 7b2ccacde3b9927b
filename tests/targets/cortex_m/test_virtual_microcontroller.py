"""The real ELF file on virtual boards: answers, exact counts, stack, sizes, and clear words."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub_network as stub

from edgebed.errors import EdgebedError
from edgebed.events import Event, Progress
from edgebed.targets._shared import arm_cores, bare_metal
from edgebed.targets._shared.arm_cores import CORES, find_core
from edgebed.targets.cortex_m import machine as machine_module
from edgebed.targets.cortex_m.board.qemu import QemuBoard
from edgebed.targets.cortex_m.build import Sizes, build, sizes
from edgebed.targets.cortex_m.figures import chip
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller, split

HAS_QEMU = shutil.which("qemu-system-arm") is not None
needs_qemu = pytest.mark.skipif(not HAS_QEMU, reason="qemu-system-arm is not installed")
needs_gcc = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
cores = [name if CORES[name].unicorn else pytest.param(name, marks=needs_qemu) for name in CORES]
Boot = Callable[..., VirtualMicrocontroller]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """Return a function that writes, builds and boots the stub network."""
    booted: list[VirtualMicrocontroller] = []

    def start(
        cpu: str, *, qemu: bool = False, compiler: str = "", **options: Any
    ) -> VirtualMicrocontroller:
        folder = tmp_path / "net"
        if not folder.exists():
            stub.write(folder, cpu, **options)
            build(folder, find_core(cpu), compiler=compiler)
        booted.append(VirtualMicrocontroller(qemu=qemu))
        booted[-1].load(folder)
        return booted[-1]

    yield start
    for machine in booted:
        machine.close()


def sample(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (1, stub.BYTES)).astype(np.int8)


def check_answer(machine: VirtualMicrocontroller, seed: int) -> None:
    tensor = sample(seed)
    outputs = machine.run(tensor).outputs
    assert np.array_equal(outputs["back"], tensor[:, ::-1])
    assert outputs["sum"].dtype == np.int32 and outputs["sum"].tolist() == [tensor.sum(dtype=int)]


@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
@pytest.mark.parametrize("cpu", cores)
def test_every_core_answers(boot: Boot, cpu: str, compiler: str, fetched: bool) -> None:
    machine = boot(cpu, compiler=compiler, fetched=fetched)
    machine.self_test()
    for seed in (1, 2):
        check_answer(machine, seed)


@pytest.mark.parametrize("cpu", cores)
def test_instructions_of_each_stage_are_exact(boot: Boot, cpu: str) -> None:
    machine = boot(cpu)
    trace = machine.run(sample())
    first, second = machine.stages
    assert (first.name, first.macs, second.name) == ("first", 10, "second")
    # The second stage is entry 1 of the schedule: its loop, and a few of the caller's to the next.
    around = second.instructions - (3 * stub.TURNS[1] + stub.STEP)
    assert 2 <= around <= 10
    total = trace.figures["instructions"]
    assert total.kind == "emulated" and total.value == first.instructions + second.instructions
    # The same input takes the same again.
    assert machine.run(sample()).figures["instructions"].value == total.value


def test_rows_that_are_awaited_do_not_count() -> None:
    waiting = [
        ("network_call", 10),
        ("network_fetch", 15),
        ("network_fetched", 1015),
        ("eb_step", 1020),
        ("network_fetch", 1030),
        ("network_fetched", 2030),
        ("eb_step", 2050),
        ("network_end", 2061),
    ]
    # Two stages: 40 of the first without waiting, and 10 of the second.
    assert split(waiting) == (50, [40, 10])


@needs_qemu
@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize("cpu", ["m4", "m7", "m33"])
def test_qemu_agrees_with_unicorn(boot: Boot, cpu: str, fetched: bool) -> None:
    first, second = (boot(cpu, qemu=qemu, fetched=fetched) for qemu in (False, True))
    a, b = (machine.run(sample()) for machine in (first, second))
    assert all(np.array_equal(a.outputs[name], b.outputs[name]) for name in a.outputs)
    assert first.stages == second.stages
    assert {n: f.value for n, f in a.figures.items()} == {n: f.value for n, f in b.figures.items()}


@pytest.mark.parametrize("cpu", cores)
def test_the_stack_watermark_follows_the_network(boot: Boot, cpu: str) -> None:
    used = boot(cpu, stack=1024).run(sample()).figures["stack_bytes"]
    assert used.kind == "emulated" and 1024 <= used.value <= 1024 + 160


@pytest.mark.parametrize("cpu", ["m0plus", "m4", "m33"])
def test_a_stack_overflow_is_told(boot: Boot, cpu: str) -> None:
    machine = boot(cpu, stack=16384)
    with pytest.raises(
        EdgebedError, match=r"the firmware stopped: stack overflow.*below the stack"
    ):
        machine.run(sample())


def test_figures_name_their_sources(boot: Boot) -> None:
    machine = boot("m4")
    found = machine.run(sample()).figures
    cycles, time, energy = found["cycles"], found["time"], found["energy"]
    instructions = found["instructions"].value
    assert cycles.kind == time.kind == energy.kind == "estimated"
    assert cycles.value == pytest.approx(1.55 * instructions)
    assert time.value == pytest.approx(1e3 * cycles.value / 120e6) and "120 MHz" in time.source
    assert energy.value == pytest.approx(278e-6 * cycles.value)
    assert "STM32L4R5 at 120 MHz, external SMPS, 3 V" in energy.source
    assert cycles.low is not None and cycles.low < cycles.value < (cycles.high or 0)
    assert found["heap_bytes"].value == 0 and found["arena_bytes"].value == stub.BYTES + 16
    assert sum(machine.functions.values()) > instructions
    assert machine.functions["eb_step"] == sum(3 * n + stub.STEP for n in stub.TURNS)


def test_every_core_has_a_chip_and_unknown_ones_are_told() -> None:
    assert all(chip(name).clock_hz > 0 for name in CORES)
    assert chip("m55").picojoule_per_cycle is None  # nobody published one
    with pytest.raises(EdgebedError, match="no facts about the core 'm3'"):
        chip("m3")


def test_the_listener_hears_of_inputs(tmp_path: Path) -> None:
    heard: list[Event] = []
    stub.write(tmp_path / "net", "m0plus")
    build(tmp_path / "net", find_core("m0plus"))
    machine = VirtualMicrocontroller(listener=heard.append)
    machine.load(tmp_path / "net")
    machine.run(sample())
    machine.close()
    done = [event.done for event in heard if isinstance(event, Progress)]
    assert done == [512, 1024, stub.BYTES]


def test_wrong_tensors_are_told(boot: Boot) -> None:
    machine = boot("m4")
    with pytest.raises(EdgebedError, match=r"input 'x' is float32.*the network takes int8"):
        machine.run(sample().astype(np.float32))
    with pytest.raises(EdgebedError, match=r"input 'x' is int8 \(1, 3\)"):
        machine.run(sample()[:, :3])
    with pytest.raises(EdgebedError, match="input 'x' is missing"):
        machine.run_named({"y": sample()})
    with pytest.raises(EdgebedError, match="no camera"):
        machine.show(np.zeros((1, 1, 3), np.uint8))
    check_answer(machine, 3)
    assert np.array_equal(machine.run(sample()[0]).outputs["back"], sample()[:, ::-1])


def test_a_failing_self_test_is_told(boot: Boot) -> None:
    with pytest.raises(EdgebedError, match="vector 2 of the self-test"):
        boot("m4", passes=False).self_test()


def test_a_binary_of_another_plan_is_refused(tmp_path: Path) -> None:
    folder = stub.write(tmp_path / "net", "m4")
    build(folder, find_core("m4"))
    (folder / "network.json").write_text(stub.manifest("m4", digest="f" * 64).to_json())
    words = r"firmware.elf: the firmware was built from plan 0123456789ab.*plan is ffffffffffff"
    with pytest.raises(EdgebedError, match=words):
        VirtualMicrocontroller().load(folder)


def test_a_binary_of_another_core_is_refused(tmp_path: Path) -> None:
    folder = stub.write(tmp_path / "net", "m33")
    build(folder, find_core("m33"))
    (folder / "network.json").write_text(stub.manifest("m4").to_json())
    with pytest.raises(EdgebedError, match=r"has code at 0x10000000.*Cortex-M4 board has flash at"):
        VirtualMicrocontroller().load(folder)


def test_a_folder_without_a_build_is_told(tmp_path: Path) -> None:
    folder = stub.write(tmp_path / "net", "m4")
    with pytest.raises(
        EdgebedError, match=r"no firmware/firmware\.elf here.*build the folder first"
    ):
        VirtualMicrocontroller().load(folder)
    with pytest.raises(EdgebedError, match="no firmware project here"):
        build(tmp_path, find_core("m4"))
    with pytest.raises(EdgebedError, match="no firmware is loaded"):
        VirtualMicrocontroller().run(sample())


def test_a_missing_qemu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_metal, "find_installed", lambda *_names: None)
    folder = stub.write(tmp_path / "net", "m55")
    build(folder, find_core("m55"))
    with pytest.raises(EdgebedError, match=r"Cortex-M55 needs qemu-system-arm.*apt install"):
        VirtualMicrocontroller().load(folder)


# ---- building ----


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_memory_is_told_apart(tmp_path: Path, compiler: str) -> None:
    found = []
    for name, weights in (("small", 64), ("large", 5000)):
        folder = stub.write(tmp_path / name, "m4", weights=weights, stack_bytes=4096)
        found.append(sizes(build(folder, find_core("m4"), compiler=compiler)))
    small, large = found
    assert isinstance(small, Sizes)
    assert small.weights_flash == 64 and large.weights_flash == 5000
    assert small.code_flash == large.code_flash and 100 < small.code_flash < 2000
    assert small.flash == small.code_flash + 64
    assert small.arena == stub.BYTES + 16 and small.static_ram == 0
    assert small.stack_reserved == 4096 and 500 < small.firmware_ram < 700


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_a_firmware_that_does_not_fit_says_where_and_by_how_much(
    tmp_path: Path, compiler: str
) -> None:
    folder = stub.write(tmp_path / "flash", "m4", weights=60_000, flash_bytes=32_768)
    with pytest.raises(EdgebedError, match=r"exceeds the board's FLASH by (29|3\d),\d\d\d bytes"):
        build(folder, find_core("m4"), compiler=compiler)
    folder = stub.write(tmp_path / "ram", "m4", ram_bytes=9_000)
    with pytest.raises(EdgebedError, match=r"exceeds the board's RAM by [89]\d\d bytes"):
        build(folder, find_core("m4"), compiler=compiler)


# ---- a line that is slow: a debugger places the inputs ----


@needs_qemu
@pytest.mark.parametrize("fetched", [False, True])
def test_large_inputs_may_be_placed_in_memory(
    boot: Boot, monkeypatch: pytest.MonkeyPatch, fetched: bool
) -> None:
    machine = boot("m55", fetched=fetched)
    sent = machine.run(sample(4))
    monkeypatch.setattr(machine_module, "_MUCH", 100)
    placed = machine.run(sample(4))
    assert np.array_equal(sent.outputs["back"], placed.outputs["back"])
    assert sent.figures["instructions"] == placed.figures["instructions"]
    check_answer(machine, 5)


@needs_qemu
def test_what_was_placed_wrongly_is_noticed(boot: Boot) -> None:
    machine = boot("m55")
    poke = machine.board.poke
    assert poke is not None
    data = sample().tobytes()
    with pytest.raises(EdgebedError, match="its CRC is wrong"):
        machine.link.place_input(0, data, lambda at, part: poke(at, part[:-1] + b"\x01"))
    with pytest.raises(EdgebedError, match="not all inputs are there"):
        machine.link.run()
    check_answer(machine, 6)


@needs_qemu
def test_power_lost_on_qemu_is_noticed(boot: Boot) -> None:
    machine = boot("m55")
    machine.link.send_input(0, sample().tobytes()[:512])
    machine.board.reset()
    with pytest.raises(EdgebedError, match="not all inputs are there"):
        machine.link.run()
    check_answer(machine, 7)


@needs_qemu
def test_a_stack_overflow_on_qemu_is_told(boot: Boot) -> None:
    machine = boot("m55", stack=16384)
    with pytest.raises(EdgebedError, match="its processor stopped at a fault"):
        machine.run(sample())


@needs_qemu
def test_an_emulator_that_ends_is_told(boot: Boot) -> None:
    machine = boot("m4", qemu=True)
    board = machine.board
    assert isinstance(board, QemuBoard)
    board._process.kill()
    with pytest.raises(EdgebedError, match="mps2-an386: qemu-system-arm ended"):
        machine.run(sample())


def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stub.write(tmp_path / "net", "m4")
    monkeypatch.setattr(arm_cores, "find_zig", lambda: None)
    monkeypatch.setattr(arm_cores, "find_installed", lambda *_names: None)
    with pytest.raises(EdgebedError, match="no compiler for Cortex-M4 is installed"):
        build(folder, find_core("m4"))
