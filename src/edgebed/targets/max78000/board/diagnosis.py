"""Errors of running firmware: what happened, in which function, with the registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu, Stop
from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board.nvic import EXTERNAL, bits
from edgebed.targets.max78000.board.state import Shared

if TYPE_CHECKING:
    from edgebed.targets.max78000.board.chip import Chip

_DUMP = (*(f"r{i}" for i in range(13)), "sp", "lr", "pc", "xpsr")
_STUCK = (
    "nothing that is enabled can end WFI: the chip would sleep for ever (check-then-WFI race, or "
    "an interrupt that was never enabled)"
)


class Diagnosis:
    """Turns stops of the core into errors a firmware author can act on."""

    def __init__(self, cpu: Cpu, firmware: Firmware, shared: Shared) -> None:
        self._cpu, self._firmware, self._shared = cpu, firmware, shared

    def registers(self) -> str:
        """Return all core registers in one line."""
        return " ".join(f"{name}={self._cpu[name]:08x}" for name in _DUMP)

    def place(self, pc: int) -> str:
        """Return function, offset and address."""
        return f"{self._firmware.name_of(pc)} (pc {pc:#010x})"

    def callers(self) -> str:
        """Return where lr points, the likely caller."""
        return self._firmware.name_of(self._cpu["lr"])

    def locate(self, error: Exception, pc: int) -> Exception:
        """Add the place to an error that a peripheral raised; others pass unchanged."""
        if not isinstance(error, EdgebedError):
            return error
        where = f"{error.where}, in {self.place(pc)}" if error.where else self.place(pc)
        why = "; ".join(part for part in (error.why, self.registers()) if part)
        return EdgebedError(error.what, where=where, why=why, try_=error.try_)

    def bus_fault(self, stop: Stop) -> EdgebedError:
        """Nothing is at the address."""
        what = {"read": "load from", "write": "store to", "fetch": "jump to"}[stop.access]
        hint = "flash is written through the flash controller only"
        if not 0x10000000 <= stop.address < 0x10080000:
            hint = "a null or wild pointer, or a stack overflow below 0x20000000"
        return EdgebedError(
            f"{what} {stop.address:#010x}, where the board has no such memory",
            where=self.place(stop.pc),
            why=f"called from {self.callers()}; {self.registers()}",
            try_=f"look for {hint}" if "pointer" in hint else hint,
        )

    def fault(self, stop: Stop) -> EdgebedError:
        """BKPT or an undefined instruction."""
        what = "breakpoint instruction" if stop.reason == "breakpoint" else "undefined instruction"
        return EdgebedError(
            f"the firmware stopped at a{'n' if what[0] == 'u' else ''} {what}",
            where=self.place(stop.pc),
            why=f"called from {self.callers()}; {self.registers()}",
            try_="floating point needs CPACR bits 23:20 set first" if what[0] == "u" else None,
        )

    def deadlock(self, pc: int, chip: Chip) -> EdgebedError:
        """WFI that nothing can end."""
        nvic = chip.nvic
        enabled = [str(e - EXTERNAL) for e in bits(nvic.enabled) if e >= EXTERNAL]
        pending = [str(e - EXTERNAL) for e in bits(nvic.pending) if e >= EXTERNAL]
        state = f"enabled interrupts: {', '.join(enabled) or 'none'}"
        state += f"; pending: {', '.join(pending) or 'none'}"
        return EdgebedError(
            "deadlock: the core sleeps and nothing can wake it",
            where=self.place(pc),
            why=f"{_STUCK}; {state}; called from {self.callers()}; {self.registers()}",
            try_="mask interrupts (cpsid i), test the condition, WFI, then unmask (cpsie i)",
        )

    def storm(self, exception: int, vector: int, pc: int) -> EdgebedError:
        """A handler that returns while its request is still high."""
        return EdgebedError(
            f"interrupt {exception - EXTERNAL} enters its handler "
            f"{self._firmware.name_of(vector)} for ever",
            where=self.place(pc),
            why="the handler returns while the peripheral still requests; the chip does the same",
            try_="clear the peripheral's flag in the handler",
        )
