"""The core on the virtual board: interrupts, exceptions, sleep, faults, time, determinism."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from board_programs import build

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.bus import best_bus
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.state import Shared

Boot = Callable[[str], Board]


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return lambda source: Board(build(tmp_path, source))


def said(board: Board, seconds: float = 1.0) -> str:
    board.run(seconds)
    return board.chip.uart.read().decode()


def test_firmware_talks_over_the_uart_and_answers_what_it_is_sent(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            text("hello\n");
            for (;;) {
                while (REG(0x40042004) & 0x10) ;
                put((char)(REG(0x40042020) + 1));
            }
        }""")
    assert board.run(1.0) == "input"
    assert board.chip.uart.read() == b"hello\n"
    board.chip.uart.feed(b"HAL")
    assert board.run(1.0) == "input"
    assert board.chip.uart.read() == b"IBM"


def test_race_free_wait_is_woken_by_a_masked_interrupt(boot: Boot) -> None:
    board = boot(r"""
        volatile int ticks;
        void systick(void) { ticks++; }
        int main(void) {
            ticks = 0;
            REG(0xE000E014) = 99999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            for (int i = 0; i < 3; i++) {
                for (;;) {
                    __asm volatile("cpsid i" ::: "memory");
                    if (ticks > i) break;
                    __asm volatile("wfi\n cpsie i\n isb" ::: "memory");
                }
                __asm volatile("cpsie i" ::: "memory");
                put('t');
            }
            REG(0xE000E010) = 0;
            put('.');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "ttt."
    assert board.seconds == pytest.approx(3e-3, rel=0.01)


def test_a_higher_priority_interrupt_preempts_and_equal_ones_wait(boot: Boot) -> None:
    board = boot(r"""
        void tmr0(void) {               /* low priority: pends the two others from inside */
            put('a');
            REG(0xE000E200) = 1 << 6;   /* TMR1: same priority, must wait */
            REG(0xE000ED04) = 1 << 28;  /* PendSV: higher priority, comes at once */
            __asm volatile("isb");
            put('c');
        }
        void tmr1(void) { put('d'); }
        void pendsv(void) { put('b'); }
        void svc(void) { put('s'); }
        int main(void) {
            REG(0xE000E404) = 0x40404040; /* irqs 4 to 7 */
            REG(0xE000ED20) = 0x00200000; /* PendSV */
            ISER(5) = 1 << 5 | 1 << 6;
            REG(0xE000E200) = 1 << 5;
            __asm volatile("isb");
            put('e');
            __asm volatile("svc 0");
            put('.');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "abcdes."


def test_interrupts_keep_registers_flags_and_floating_point(boot: Boot) -> None:
    board = boot(r"""
        volatile uint32_t hits; volatile float noise;
        void systick(void) { hits++; noise = noise * 1.5f + 3.0f; }
        int main(void) {
            hits = 0; noise = 1.0f;
            REG(0xE000E014) = 777; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            float f = 0.0f; uint32_t h = 5, carry = 0;
            for (uint32_t i = 0; i < 200000; i++) {
                f += 0.5f; h = h * 1664525u + 1013904223u; carry += h < i;
            }
            REG(0xE000E010) = 0;
            number(h); number(carry); number((uint32_t)f); put(hits > 1000 ? 'y' : 'n');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    h, carry = 5, 0
    for i in range(200000):
        h = (h * 1664525 + 1013904223) & 0xFFFFFFFF
        carry += h < i
    assert said(board) == f"{h:08x} {carry:08x} {100000:08x} y"


def test_vector_table_moves_with_vtor(boot: Boot) -> None:
    board = boot(r"""
        static void *table[128] __attribute__((aligned(512)));
        static void mine(void) { put('m'); REG(0xE000E010) = 0; }
        int main(void) {
            for (int i = 0; i < 120; i++) table[i] = vectors[i];
            table[15] = mine;
            REG(0xE000ED08) = (uint32_t)(uintptr_t)table;
            REG(0xE000E014) = 999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "m"


def test_cycle_counter_counts_and_sleep_takes_time(boot: Boot) -> None:
    board = boot(r"""
        volatile int on;
        void systick(void) { on = 0; REG(0xE000E010) = 0; }
        int main(void) {
            REG(0xE000EDFC) = 1 << 24; REG(0xE0001004) = 0; REG(0xE0001000) |= 1;
            on = 1;
            REG(0xE000E014) = 999999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            while (on) __asm volatile("wfi");
            number(REG(0xE0001004));
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert int(said(board), 16) == pytest.approx(1_000_000, rel=0.001)
    assert board.instructions < 10_000


def test_software_reset_starts_over(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            put('r');
            if (REG(0x2001F000) != 0x1234) { REG(0x2001F000) = 0x1234;
                REG(0xE000ED0C) = 0x05FA0004; for (;;) ; }
            put('.');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    board.run(1.0)
    assert board.chip.uart.read().decode().endswith("r.")
    assert any("restart" in note for note in board.notes)


def test_a_thread_on_its_own_stack_is_interrupted_and_resumed(boot: Boot) -> None:
    board = boot(r"""
        static uint64_t own[64];
        volatile uint32_t hits, handler_sp;
        void systick(void) {
            uint32_t sp; __asm volatile("mov %0, sp" : "=r"(sp));
            handler_sp = sp; hits++;
        }
        int main(void) {
            hits = 0;
            __asm volatile("msr psp, %0\n movs r1, #2\n msr control, r1\n isb"
                           :: "r"(own + 64) : "r1");
            REG(0xE000E014) = 999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            volatile uint32_t h = 1;
            for (int i = 0; i < 20000; i++) h = h * 3 + 1;
            REG(0xE000E010) = 0;
            uint32_t control; __asm volatile("mrs %0, control" : "=r"(control));
            number(h); number(control & 3); put(hits > 20 ? 'y' : 'n');
            put(handler_sp > 0x2001F000 ? 'y' : 'n');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    h = 1
    for _ in range(20000):
        h = (h * 3 + 1) & 0xFFFFFFFF
    assert said(board) == f"{h:08x} 00000002 yy"


def test_base_priority_holds_an_interrupt_back_until_it_is_lowered(boot: Boot) -> None:
    board = boot(r"""
        void tmr0(void) { put('i'); }
        int main(void) {
            REG(0xE000E404) = 0x80808080; ISER(5) = 1 << 5;
            __asm volatile("msr basepri, %0" :: "r"(0x40));
            REG(0xE000E200) = 1 << 5;
            for (volatile int i = 0; i < 3000; i++) ;
            put('a');
            __asm volatile("msr basepri, %0\n isb" :: "r"(0));
            put('b');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "aib"


def test_wait_for_event_never_hangs(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            for (int i = 0; i < 3; i++) { __asm volatile("wfe"); put('e'); }
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "eee"


def test_an_event_right_behind_a_sleep_does_not_put_the_core_to_sleep_again(boot: Boot) -> None:
    """Two timers whose events fall into the first instructions after WFI."""
    board = boot(r"""
        volatile int first, second;
        void tmr0(void) { REG(0x4001000C) = 1; REG(0x40010010) = 0; first = 1; }
        void tmr1(void) { REG(0x4001100C) = 1; REG(0x40011010) = 0; second = 1; }
        int main(void) {
            ISER(5) = 1 << 5 | 1 << 6;
            for (uint32_t gap = 1; gap < 40; gap++) {
                first = second = 0;
                REG(0x40010000) = 0; REG(0x40010004) = 1000; REG(0x40010018) = 1 << 8;
                REG(0x40011000) = 0; REG(0x40011004) = 1000 + gap; REG(0x40011018) = 1 << 8;
                REG(0x40010010) = 1 | 1 << 14 | 1 << 15; REG(0x40011010) = 1 | 1 << 14 | 1 << 15;
                while (!first) __asm volatile("wfi");
                while (!second) ;
            }
            put('.');
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    assert said(board) == "."


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("REG(0x30000000) = 1;", ["store to 0x30000000", "victim", "r0="]),
        ("(void)REG(0x00000004 - 4 + 0x60000000);", ["load from 0x60000000", "victim"]),
        ("((void (*)(void))0x30000001)();", ["jump to 0x30000000"]),
        ('__asm volatile("bkpt 1");', ["breakpoint", "victim"]),
        ('__asm volatile("udf #1");', ["undefined instruction", "victim"]),
        ("REG(0x10000000) = 0;", ["store to 0x10000000", "flash controller"]),
        ("REG(0x40007C00) = 1;", ["no peripheral at 0x40007c00", "victim"]),
        ('__asm volatile("wfi");', ["deadlock", "victim", "enabled interrupts: none"]),
        ("REG(0x50100000) = 8;", ["before it is on", "PCLKDIS0 bit 25", "victim"]),
        ("REG(0x50400000) = 8;", ["before it is on", "REG0 (power) is 0", "victim"]),
    ],
)
def test_faults_name_address_function_and_registers(
    boot: Boot, code: str, expected: list[str]
) -> None:
    board = boot(
        '__attribute__((noinline)) void victim(void) { __asm volatile("nop"); '
        + code
        + ' __asm volatile("nop"); }\nint main(void) { victim(); for (;;) ; }'
    )
    with pytest.raises(EdgebedError) as caught:
        board.run(1.0)
    for word in expected:
        assert word in str(caught.value)


def test_a_handler_that_never_clears_its_request_is_diagnosed(boot: Boot) -> None:
    board = boot(r"""
        void tmr0(void) { }
        int main(void) {
            ISER(5) = 1 << 5;
            REG(0x40010004) = 100; REG(0x40010018) = 1 << 8;
            REG(0x40010010) = 1 | 1 << 14 | 1 << 15;
            for (;;) ;
        }""")
    with pytest.raises(EdgebedError, match=r"interrupt 5 enters its handler tmr0 for ever"):
        board.run(1.0)


BUSY = r"""
    volatile uint32_t hits;
    void systick(void) { hits++; }
    void uart(void) { while (!(REG(0x40042004) & 0x10)) put((char)REG(0x40042020));
                      REG(0x4004200C) = 0x10; }
    int main(void) {
        hits = 0;
        REG(0x40042008) = 0x10; ISER(14) = 1 << 14;
        REG(0xE000E014) = 9999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
        for (uint32_t i = 0; i < 20; i++) {
            for (volatile int k = 0; k < 500; k++) ;
            __asm volatile("wfi");
            number(hits); number(REG(0xE000E018)); number(REG(0x40010000));
        }
        REG(0xE000E010) = 0;
        for (;;) __asm volatile("wfi");
    }"""


def _trace(board: Board) -> tuple[object, ...]:
    board.chip.uart.feed(b"xyz")
    board.run(1.0)
    profile = board.counter.take()
    return board.chip.uart.read(), board.instructions, board.chip.clock.cycles, profile


def test_two_runs_are_equal_in_output_instructions_and_time(tmp_path: Path) -> None:
    firmware = build(tmp_path, BUSY)
    assert _trace(Board(firmware)) == _trace(Board(firmware))


def test_plain_python_bus_gives_the_same_run(tmp_path: Path) -> None:
    firmware = build(tmp_path, BUSY)
    shared = Shared()
    if isinstance(best_bus(shared), PythonBus):
        pytest.skip("no compiler: only the Python bus exists here")
    slow = Board(firmware, shared=shared, bus=PythonBus(shared))
    assert _trace(Board(firmware)) == _trace(slow)


def test_instructions_are_counted_per_function(boot: Boot) -> None:
    board = boot(r"""
        __attribute__((naked, noinline)) void ten(void) {
            __asm volatile("nop\n nop\n nop\n nop\n movw r0, #1\n nop\n nop\n nop\n nop\n bx lr");
        }
        int main(void) {
            for (int i = 0; i < 1000; i++) { ten(); __asm volatile("" ::: "r0", "r1"); }
            for (;;) while (REG(0x40042004) & 0x10) ;
        }""")
    board.run(1.0)
    assert board.counter.take().functions["ten"] == 10_000


def test_ctrl_c_between_two_stretches_ends_the_run_and_the_board_can_go_on(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            for (;;) {
                while (REG(0x40042004) & 0x10) ;
                put((char)(REG(0x40042020) + 1));
            }
        }""")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    presses = iter([True])

    def press_once() -> bool:
        if next(presses, False):
            signal.raise_signal(signal.SIGINT)
        return False

    try:
        with pytest.raises(KeyboardInterrupt):
            board.run(1.0, press_once)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    board.chip.uart.feed(b"HAL")
    board.run(1.0)
    assert board.chip.uart.read() == b"IBM"
