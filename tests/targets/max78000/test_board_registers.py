"""Registers that firmware reads back, DMA, and misuse that the board names, on both buses."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from test_board_peripherals import FINISH, words

from edgebed.errors import EdgebedError
from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board import bus as bus_module
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.state import Shared

Boot = Callable[[str], Board]


def main(body: str) -> str:
    return "int main(void) { " + body + FINISH + "}"


def numbers(board: Board, seconds: float = 0.05) -> list[int]:
    board.run(seconds)
    return words(board.chip.uart.read().decode())


def test_interrupt_masks_read_back_and_clear(boot: Boot) -> None:
    board = boot(
        main(r"""
        REG(0xE000E100) = 1 << 5; number(REG(0xE000E100)); number(REG(0xE000E180));
        REG(0xE000E180) = 1 << 5; number(REG(0xE000E100));
        REG(0xE000E204) = 1 << 6; number(REG(0xE000E204)); number(REG(0xE000E200));
        number(REG(0xE000ED04) >> 22 & 1);
        REG(0xE000E284) = 1 << 6; number(REG(0xE000E204)); number(REG(0xE000ED04) >> 22 & 1);
        REG(0xE000EF00) = 7; number(REG(0xE000E200));
    """)
    )
    assert numbers(board) == [0x20, 0x20, 0, 0x40, 0, 1, 0, 0, 0x80]


def test_priorities_are_bytes_of_a_word(boot: Boot) -> None:
    board = boot(
        main(r"""
        *(volatile uint8_t *)0xE000E405 = 0x60; *(volatile uint16_t *)0xE000E406 = 0x2040;
        number(REG(0xE000E404));
        *(volatile uint8_t *)0xE000ED23 = 0xE0; number(REG(0xE000ED20) >> 24);
    """)
    )
    assert numbers(board) == [0x20406000, 0xE0]


def test_pending_system_exceptions_show_and_can_be_taken_back(boot: Boot) -> None:
    board = boot(r"""
        void tmr0(void) { number(REG(0xE000ED04) & 0x1FF); number(REG(0xE000E300)); }
        """ + main(r"""
        __asm volatile("cpsid i");
        REG(0xE000ED04) = 1 << 28; number(REG(0xE000ED04) >> 28 & 1);
        number(REG(0xE000ED04) >> 12 & 0x1FF);
        REG(0xE000ED04) = 1 << 27; number(REG(0xE000ED04) >> 28 & 1);
        REG(0xE000ED04) = 1 << 26; number(REG(0xE000ED04) >> 26 & 1);
        REG(0xE000ED04) = 1 << 25; number(REG(0xE000ED04) >> 26 & 1);
        ISER(5) = 1 << 5; REG(0xE000E200) = 1 << 5;
        __asm volatile("cpsie i\n isb");
    """))  # fmt: skip
    assert numbers(board) == [1, 14, 0, 1, 0, 16 + 5, 1 << 5]


def test_a_reset_request_needs_its_key(boot: Boot) -> None:
    board = boot(main('text("a "); REG(0xE000ED0C) = 4; text("b "); '))
    assert numbers(board) == [0xA, 0xB]
    assert not board.notes


def test_the_systick_flag_is_cleared_by_reading(boot: Boot) -> None:
    board = boot(
        main(r"""
        REG(0xE000E014) = 999; REG(0xE000E018) = 0;
        number(REG(0xE000E018)); REG(0xE000E010) = 5;
        while (!(REG(0xE000E010) >> 16 & 1)) ;
        number(REG(0xE000E010) >> 16 & 1); number(REG(0xE000E014));
        number(REG(0xE000E018) < 1000);
    """)
    )
    assert numbers(board) == [0, 0, 999, 1]


def test_timer_counts_read_back_and_reset(boot: Boot) -> None:
    board = boot(
        main(r"""
        REG(0x40010004) = 0xFFFFFFFF; REG(0x40010010) = 1 | 1 << 14 | 1 << 15;
        for (volatile int i = 0; i < 100; i++) ;
        uint32_t early = REG(0x40010000);
        for (volatile int i = 0; i < 100; i++) ;
        number(early > 0 && REG(0x40010000) > early);
        REG(0x40010010) = 0; uint32_t held = REG(0x40010000);
        number(REG(0x40010000) == held);
        REG(0x40010010) = 1 << 13; number(REG(0x40010000)); number(REG(0x40010010) >> 13 & 1);
    """)
    )
    assert numbers(board)[:2] == [1, 1]


def test_quiet_registers_say_what_drivers_wait_for(boot: Boot) -> None:
    board = boot(
        main(r"""
        REG(0x40006010) = 1 << 15; number(REG(0x40006010) >> 3 & 3);
        REG(0x4001E000) = 3; number(REG(0x4001E000));
        number(REG(0x4002A100) >> 16 & 1);
        REG(0x40042010) = 54; number(REG(0x40042010));
        number(REG(0x400BE01C) >> 8 & 0x3F);
    """)
    )
    # clock set up and ready; both I2C lines high; cache ready; the divider; an empty SPI FIFO
    assert numbers(board) == [2, 0x303, 1, 54, 0]


def test_a_locked_flash_controller_refuses_and_says_so(boot: Boot) -> None:
    board = boot(
        main(r"""
        uint32_t at = 0x10040000;
        REG(0x40029000) = at; REG(0x40029030) = 0; REG(0x40029008) = 1;
        number(REG(at)); number(REG(0x40029024) & 3);
        REG(0x40029024) = 0; number(REG(0x40029024) & 3);
        REG(0x40029008) = 2u << 28 | 0x54 << 8 | 4; number(REG(0x40029024) & 3);
    """)
    )
    assert numbers(board) == [0xFFFFFFFF, 2, 0, 2]


def test_a_button_held_makes_one_interrupt_an_edge_each_way_two(boot: Boot) -> None:
    board = boot(
        r"""
        void gpio0(void) { put('!'); REG(0x40008048) = 1 << 2; }
        int main(void) {
            REG(0x4000805C) = EDGES; REG(0x40008038) = 1 << 2; ISER(24) = 1 << 24;
            """.replace("EDGES", "1 << 2")
        + FINISH
        + "}"
    )
    board.run(0.01)
    for high in (True, False, False, True, True):
        board.chip.gpio[0].drive(2, high)
        board.run(0.01)
    assert board.chip.uart.read() == b"!!"


DMA = "static uint32_t from[8], to[8]; static uint8_t in[8];\n"


def test_dma_feeds_the_uart_and_takes_from_it(boot: Boot) -> None:
    board = boot(DMA + r"""
        int main(void) {
            while (REG(0x40042004) & 0x10) ;
            REG(0x40028108 + 4) = (uint32_t)(uintptr_t)in; REG(0x40028110) = 4;
            REG(0x40028100) = 1 | 0x04 << 4 | 1 << 22;
            while (REG(0x40028100) & 1) ;
            REG(0x40028128) = (uint32_t)(uintptr_t)in; REG(0x40028130) = 4;
            REG(0x40028120) = 1 | 0x24 << 4 | 1 << 18;
            while (!(REG(0x40028124) & 4)) ;
            """ + FINISH + "}")  # fmt: skip
    board.run(0.001)
    board.chip.uart.feed(b"ping and more")
    board.run(0.001)
    assert board.chip.uart.read() == b"ping"


def test_dma_fills_memory_from_one_word(boot: Boot) -> None:
    """Also from the last word of the memory: only that one is read."""
    board = boot(
        DMA
        + main(r"""
        REG(0x2001FFFC) = 0x11223344; for (int i = 0; i < 8; i++) to[i] = 0;
        REG(0x40028108) = 0x2001FFFC; REG(0x4002810C) = (uint32_t)(uintptr_t)to;
        REG(0x40028110) = 28; REG(0x40028100) = 1 | 2 << 16 | 2 << 20 | 1 << 22;
        while (!(REG(0x40028104) & 4)) ;
        number(to[0]); number(to[6]); number(to[7]); number(REG(0x40028104) >> 4 & 1);
    """).replace("int main(void) {", 'int main(void) { __asm volatile("sub sp, #64");')
    )
    assert numbers(board) == [0x11223344, 0x11223344, 0, 0]
    assert not board.notes


def test_dma_reloads_once_and_requests_its_interrupt(boot: Boot) -> None:
    board = boot(
        DMA
        + main(r"""
        for (uint32_t i = 0; i < 8; i++) from[i] = i + 1, to[i] = 0;
        REG(0x40028000) = 1;
        REG(0x40028108) = (uint32_t)(uintptr_t)from; REG(0x4002810C) = (uint32_t)(uintptr_t)to;
        REG(0x40028110) = 4;
        REG(0x40028114) = (uint32_t)(uintptr_t)(from + 4);
        REG(0x40028118) = (uint32_t)(uintptr_t)(to + 2); REG(0x4002811C) = 1u << 31 | 8;
        REG(0x40028100) = 3 | 2 << 16 | 1 << 18 | 2 << 20 | 1 << 22 | 1u << 31;
        while (REG(0x40028100) & 1) ;
        number(to[0]); number(to[1]); number(to[2]); number(to[3]); number(to[4]);
        number(REG(0x40028104) >> 3 & 1); number(REG(0x40028000)); number(REG(0x40028004) & 1);
        REG(0x40028104) = 12; number(REG(0x40028004) & 1);
    """)
    )
    assert numbers(board) == [1, 0, 5, 6, 0, 1, 1, 1, 0]


# ---- misuse ----


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("REG(0x40029008) = 2u << 28 | 0xAA << 8 | 2;", "erases the whole flash"),
        ("ISER(3) = 1 << 3; REG(0xE000E200) = 1 << 3; for (;;) ;",
         r"vector 19 holds 0x00000000.*install a handler"),
        ("__asm volatile(\"mov sp, %0\" :: \"r\"(0x30000000)); "
         "REG(0xE000ED04) = 1 << 28; for (;;) ;",
         r"stack pointer 0x(2fff|3)\w+ is outside of SRAM"),
    ],
)  # fmt: skip
def test_what_would_kill_the_chip_is_named_with_its_place(
    boot: Boot, body: str, message: str
) -> None:
    with pytest.raises(EdgebedError, match=message):
        boot(main(body)).run(0.1)


POWER = r"""
    REG(0x4000580C) = 15; REG(0x40005804) = 15; REG(0x40005800) = 15; REG(0x40005808) = 0;
    REG(0x4000580C) = 0; REG(0x40000024) &= ~(1u << 25);
"""


def test_half_words_do_not_reach_the_accelerator(boot: Boot) -> None:
    board = boot(
        main(POWER + "*(volatile uint16_t *)0x50180000 = 1; number(REG(0x50100000)); for (;;) ;")
    )
    with pytest.raises(EdgebedError, match=r"half-word store to the accelerator at 0x50180000"):
        board.run(0.001)


def test_an_accelerator_held_in_reset_is_named(boot: Boot) -> None:
    board = boot(main(POWER + "REG(0x4000580C) = 15; REG(0x50100000) = 1; for (;;) ;"))
    with pytest.raises(EdgebedError, match=r"REG3 \(reset\) 0xf"):
        board.run(0.1)


@pytest.mark.parametrize(
    ("address", "data", "message"),
    [
        (0x10000000, b"\0" * 16, "no vector table at 0x10000000: sp 0x00000000"),
        (0x1007FFFC, b"\0" * 16, "16 bytes at 0x1007fffc is not in flash"),
        (0x20000000, b"\0" * 16, "16 bytes at 0x20000000 is not in flash"),
    ],
)
def test_firmware_of_another_chip_is_refused(address: int, data: bytes, message: str) -> None:
    pytest.importorskip("unicorn")
    with pytest.raises(EdgebedError, match=f"other\\.elf: .*{message}"):
        Board(Firmware(Path("other.elf"), ((address, data),), (), address))


def test_the_board_runs_without_a_compiled_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_shared: Shared) -> None:
        raise EdgebedError("no compiler")

    monkeypatch.setattr(bus_module, "NativeBus", refuse)
    assert isinstance(bus_module.best_bus(Shared()), PythonBus)


def test_a_terminal_may_leave_and_another_come(compiled: Callable[[str], Firmware]) -> None:
    board = Board(compiled(r"""
        int main(void) { for (;;) { while (REG(0x40042004) & 0x10) ;
                         put((char)(REG(0x40042020) + 1)); } }"""))  # fmt: skip
    port = board.chip.serve_uart()
    for sent, heard in ((b"A", b"B"), (b"K", b"L")):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as terminal:
            terminal.settimeout(5)
            terminal.sendall(sent)
            while not board.chip.uart.available:
                board.run(0.05)
            board.run(0.05)
            assert terminal.recv(10) == heard
        board.chip.uart.read()
        board.run(0.05)
    board.chip.uart.feed(b"x")
    board.run(0.05)
    assert board.chip.uart.read() == b"y"  # nobody listens, and nothing is held up
    board.close()
