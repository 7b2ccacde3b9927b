"""The virtual board on unicorn, and the same board on qemu, behind the same calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import Core
from edgebed.targets._shared.counting import Counter, UnicornCount
from edgebed.targets._shared.cpu import Stop
from edgebed.targets._shared.cpu_unicorn import UnicornCpu
from edgebed.targets._shared.elf import Firmware
from edgebed.targets.cortex_m.board.uart import Uart

_PAGE = 4096
_FRAME = 1 << 16
"""So far below the memory an access is taken for an overflow of the stack, which lies first."""
_SYSTEM_REGISTERS = 0xE000E000
_TRACE_UNIT = 0xE0001000
"""With the cycle counter, which stands still: an emulator knows no cycles."""
_SLICE = 500_000
"""Instructions that cannot fill the serial line's buffer: one byte takes several."""
MARKS = ("network_call", "network_end", "eb_step", "network_fetch", "network_fetched")
"""Functions whose entries are counted: the run's begin and end, each entry of its schedule, and
begin and end of waiting for a row of input."""


class Board(Protocol):
    """A board that runs a firmware, as a byte stream with a counter."""

    @property
    def counter(self) -> Counter:
        """Executed instructions, and entries of `MARKS`."""

    def write(self, data: bytes) -> None:
        """Send bytes to the firmware."""

    def read(self) -> bytes:
        """Let the firmware run until it answers; empty when it waits for more instead."""

    @property
    def poke(self) -> Callable[[int, bytes], None] | None:
        """Writes bytes to an address of the RAM, as a debugger; None where the line is fast."""

    def reset(self) -> None:
        """Take the power away for a moment."""

    def close(self) -> None:
        """Release the emulator."""


def marked(firmware: Firmware) -> tuple[list[str], list[int]]:
    """Return the names and addresses of the functions in `MARKS` that the firmware has."""
    found = {}
    for function in firmware.functions:  # a compiler may have made eb_step.constprop.0 of eb_step
        name = function.name.partition(".")[0]
        if name in MARKS:
            found[name] = function.address
    return [name for name in MARKS if name in found], [found[n] for n in MARKS if n in found]


def code_bytes(core: Core, firmware: Firmware) -> int:
    """Return the bytes from the start of flash to the end of the last function."""
    ends = [function.address + max(function.size, 2) for function in firmware.functions]
    return (max(ends) - core.board.flash_base + 3) // 4 * 4


class UnicornBoard:
    """The virtual board on unicorn.

    Args:
        core: of the board.
        firmware: to run.
        budget: instructions between two answers after which the firmware is taken to hang.

    Attributes:
        trace_unit: its registers; the cycle counter among them stands still.

    Raises:
        EdgebedError: the firmware lies outside of the board's memory, or unicorn is missing.
    """

    def __init__(self, core: Core, firmware: Firmware, budget: int = 20_000_000_000) -> None:
        self._core, self._firmware, self._budget = core, firmware, budget
        board = core.board
        self._flash = np.zeros(board.flash_bytes, np.uint8)
        self._ram = np.zeros(board.ram_bytes, np.uint8)
        for address, data in firmware.segments:
            at = address - board.flash_base
            if at < 0 or at + len(data) > board.flash_bytes:
                raise EdgebedError(
                    f"the firmware has code at {address:#x}",
                    where=str(firmware.path),
                    why=f"the virtual {core.title} board has flash at {board.flash_base:#x}",
                    try_="compile for this core",
                )
            self._flash[at : at + len(data)] = np.frombuffer(data, np.uint8)
        self.counter = Counter(board.flash_base, code_bytes(core, firmware), marked(firmware)[1])
        self._uart = Uart()
        self._cpu = UnicornCpu(core.unicorn)
        self._cpu.map_memory(board.flash_base, self._flash, writable=False)
        self._cpu.map_memory(board.ram_base, self._ram)
        self._system = np.zeros(_PAGE, np.uint8)
        self._cpu.map_memory(_SYSTEM_REGISTERS, self._system)
        self.trace_unit = np.zeros(_PAGE, np.uint8)
        self._cpu.map_memory(_TRACE_UNIT, self.trace_unit)
        self._uart.attach(self._cpu, board.uart)
        self._count = UnicornCount(self.counter, self._cpu, self._flash)
        self._start()

    def _start(self) -> None:
        """Run until the firmware listens: what it sends and gets before is lost."""
        self._pc = self._firmware.symbols["reset_handler"]
        self.read()

    def write(self, data: bytes) -> None:
        """See `Board.write`."""
        self._uart.feed(data)

    def read(self) -> bytes:
        """See `Board.read`.

        Raises:
            EdgebedError: the firmware faulted, or runs on and on.
        """
        end, said = self.counter.total + self._budget, b""
        while True:
            self.counter.limit(min(self.counter.total + _SLICE, end))
            stop = self._cpu.run(self._pc)
            self._pc = stop.pc
            said += self._uart.read()
            if stop.reason == "wait" and not self._uart.waiting:
                return said
            if stop.reason != "wait" and (stop.reason != "paused" or self.counter.total >= end):
                raise self._stopped(stop)

    @property
    def poke(self) -> None:
        """See `Board.poke`: the line takes a megabyte a second."""
        return None

    def reset(self) -> None:
        """See `Board.reset`."""
        self._uart.reset()
        self._ram[:] = 0
        self._system[:] = 0
        self._start()

    def close(self) -> None:
        """See `Board.close`."""
        self._cpu.close()

    def _stopped(self, stop: Stop) -> EdgebedError:
        where = self._firmware.name_of(stop.pc)
        if stop.reason == "paused":
            return EdgebedError(
                "the firmware does not answer",
                where=where,
                why=f"it ran {self._budget:,} instructions",
            )
        below = 0 < self._core.board.ram_base - stop.address <= _FRAME
        if below or stop.reason == "stack_overflow":
            at = f"{stop.access} {stop.address:#x}" if below else "its limit register"
            return EdgebedError(
                "the firmware stopped: stack overflow",
                where=where,
                why=f"{at}, below the stack",
                try_="a larger stack in firmware/link.ld",
            )
        what = f"{stop.access} {stop.address:#x}" if stop.reason == "bus_fault" else stop.access
        reason = stop.reason.replace("_", " ")
        return EdgebedError(f"the firmware stopped: {reason}", where=where, why=what or None)
