"""The accelerator on the board: power sequence, FIFOs, interrupt in time, diagnosed races."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from board_programs import build

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.run import run
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.options import BoardOptions
from edgebed.targets.max78000.board.state import Shared
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.ports import ports

SIDE, CHANNELS = 8, 4

CODE = r"""
static void power(void) {
    REG(0x4000580C) = 15; REG(0x40005804) = 15; REG(0x40005800) = 15; REG(0x40005808) = 0;
    REG(0x4000580C) = 0;
    REG(0x40000018) = (REG(0x40000018) & ~(15u << 14)) | 4 << 14;
    REG(0x40000024) &= ~(1u << 25);
}
static void writes(const uint32_t (*w)[2], int n) { for (; n; n--, w++) REG((*w)[0]) = (*w)[1]; }
static void set_up(void) {
    power();
    writes(init, sizeof init / 8);
    for (const uint32_t *k = kernels; *k;) {
        uint32_t at = *k++, n = *k++;
        *(volatile uint8_t *)(uintptr_t)(at | 1) = 1;
        for (; n; n--, at += 4) REG(at) = *k++;
    }
    writes(config, sizeof config / 8);
    REG(0x4000580C) = 0;
}
volatile int done;
void cnn(void) { REG(0x50100000) &= ~0x1001u; done = 1; }
"""


def small() -> Program:
    """One 3x3 convolution of a 4 x 8 x 8 map."""
    rng = np.random.default_rng(7)
    weight = Constant(rng.integers(-128, 128, (4, CHANNELS, 3, 3)).astype(np.int8), 8, 2.0**-9)
    op = Conv2d(name="conv", inputs=("x",), output="y", weight="w", padding=(1, 1, 1, 1),
                requantize=PowerOfTwo(9))  # fmt: skip
    shape = (CHANNELS, SIDE, SIDE)
    return Program(name="small", inputs={"x": TensorType(shape)}, ops=(op,), outputs=("y",),
                   constants={"w": weight})  # fmt: skip


def tensor() -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.integers(-128, 128, (CHANNELS, SIDE, SIDE)).astype(np.int8)


def _array(name: str, rows: np.ndarray) -> str:
    pairs = ",".join(f"{{0x{a:x}u,0x{v:x}u}}" for a, v in rows.tolist())
    return f"static const uint32_t {name}[][2] = {{{pairs}}};\n"


def source(main: str) -> str:
    image = compile_program(small()).image
    words = ",".join(f"0x{word:x}u" for word in image.kernels.tolist())
    data = ports(image.inputs[0]).to_wire(tensor()).reshape(-1).view("<u4")
    values = ",".join(f"0x{word:x}u" for word in data.tolist())
    address = ports(image.inputs[0]).ports[0].address
    return (
        f"static const uint32_t kernels[] = {{{words}}};\n"
        f"static const uint32_t input[] = {{{values}}};\n"
        + _array("init", image.init)
        + _array("config", image.config)
        + _array("start", image.start)
        + CODE
        + f"static void load(void) {{ for (int i = 0; i < {len(data)}; i++) "
        f"REG(0x{address:x}u + 4u * i) = input[i]; }}\n" + main
    )


def output(board: Board) -> np.ndarray:
    """Read the result where the image says it is."""
    layout = ports(compile_program(small()).image.outputs[0])
    at = (layout.ports[0].address - 0x50400000) // 4
    words = board.chip.cnn.sram.reshape(-1)[at : at + SIDE * SIDE]
    return layout.from_wire(words.astype("<u4").view(np.uint8).reshape(SIDE * SIDE, 4))


WAIT = r"""
int main(void) {
    done = 0;
    set_up(); load(); ISER(101) = 1 << 5;
    REG(0xE000EDFC) = 1 << 24; REG(0xE0001004) = 0; REG(0xE0001000) |= 1;
    uint32_t before = REG(0xE0001004);
    writes(start, sizeof start / 8);
    for (;;) {
        __asm volatile("cpsid i" ::: "memory");
        if (done) break;
        __asm volatile("wfi\n cpsie i\n isb" ::: "memory");
    }
    __asm volatile("cpsie i" ::: "memory");
    number(REG(0xE0001004) - before);
    for (;;) while (REG(0x40042004) & 0x10) ;
}"""

Compile = Callable[[str], Firmware]


@pytest.fixture
def compile_(tmp_path: Path) -> Compile:
    return lambda main: build(tmp_path, source(main))


def test_interrupt_comes_after_the_estimated_cycles_and_results_are_exact(
    compile_: Compile,
) -> None:
    board = Board(compile_(WAIT))
    board.run(1.0)
    cycles = int(board.chip.uart.read(), 16)
    (result,) = board.chip.cnn.take_runs()
    # The accelerator's clock is half the processor's; around it a few hundred cycles of code.
    assert 2 * result.cycles < cycles < 2 * result.cycles + 500
    assert np.array_equal(output(board), run(small(), tensor())["y"])


def test_python_bus_runs_the_accelerator_alike(compile_: Compile) -> None:
    firmware, shared = compile_(WAIT), Shared()
    boards = Board(firmware), Board(firmware, shared=shared, bus=PythonBus(shared))
    for board in boards:
        board.run(1.0)
    native, plain = boards
    assert native.chip.uart.read() == plain.chip.uart.read() != b""
    assert native.instructions == plain.instructions
    assert np.array_equal(output(plain), output(native))


def test_check_then_wfi_race_is_diagnosed_not_looped(compile_: Compile) -> None:
    """The interrupt comes between test and WFI: on the chip, nothing would ever wake the core."""
    firmware = compile_(r"""
        int main(void) {
            done = 0;
            set_up(); load(); ISER(101) = 1 << 5;
            writes(start, sizeof start / 8);
            if (!done) {
                for (volatile int i = 0; i < 20000; i++) ;
                __asm volatile("wfi");
            }
            for (;;) ;
        }""")
    with pytest.raises(EdgebedError, match=r"main.*deadlock.*check-then-WFI race"):
        Board(firmware).run(1.0)


def test_accelerator_without_its_clock_is_diagnosed(compile_: Compile) -> None:
    firmware = compile_(r"""
        int main(void) { set_up(); REG(0x40000024) |= 1u << 25; load(); for (;;) ; }""")
    with pytest.raises(EdgebedError, match=r"PCLKDIS0 bit 25"):
        Board(firmware).run(0.1)


def test_words_pushed_into_a_full_fifo_are_reported(compile_: Compile) -> None:
    main = r"""
        int main(void) {
            set_up();
            for (int i = 0; i < 40; i++) REG(0x50000008) = (uint32_t)i;
            number(REG(0x50000004));
            for (;;) while (REG(0x40042004) & 0x10) ;
        }"""
    board = Board(compile_(main))
    board.run(0.1)
    assert board.chip.uart.read() == b"00000001 "
    assert any("24 words were pushed into a full FIFO" in note for note in board.notes)
    deep = Board(compile_(main), BoardOptions(fifo_depth=0))
    deep.run(0.1)
    assert deep.chip.uart.read() == b"00000000 "
    assert not deep.notes


def test_data_memory_can_be_the_target_of_dma(compile_: Compile) -> None:
    board = Board(
        compile_(r"""
        int main(void) {
            set_up();
            REG(0x40028108) = (uint32_t)(uintptr_t)input; REG(0x4002810C) = 0x50408000;
            REG(0x40028110) = sizeof input;
            REG(0x40028100) = 1 | 2 << 16 | 1 << 18 | 2 << 20 | 1 << 22;
            while (!(REG(0x40028104) & 4)) ;
            number(REG(0x50408004) == input[1]);
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    )
    board.run(0.1)
    assert board.chip.uart.read() == b"00000001 "


def test_reset_of_the_accelerator_forgets_a_started_network(compile_: Compile) -> None:
    board = Board(
        compile_(r"""
        int main(void) {
            done = 0;
            set_up(); load(); ISER(101) = 1 << 5;
            writes(start, sizeof start / 8);
            REG(0x40000004) = 1 << 25;
            for (volatile int i = 0; i < 20000; i++) ;
            number((uint32_t)done);
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    )
    board.run(0.1)
    assert board.chip.uart.read() == b"00000000 "
