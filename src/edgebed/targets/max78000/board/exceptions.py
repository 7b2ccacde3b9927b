"""Exception entry and return, as the Armv7-M manual (B1.5.6, B1.5.8) describes them.

Frames carry the floating-point registers when the interrupted code used them (CONTROL.FPCA);
they are stored at once, not lazily, which software cannot tell apart.
"""

from __future__ import annotations

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import Shared

_BASIC = ("r0", "r1", "r2", "r3", "r12", "lr")
_SINGLES = tuple(f"s{i}" for i in range(16))
_SPSEL, _FPCA, _SFPA = 2, 4, 8
_ALIGNED = 1 << 9  # xPSR bit of a stacked frame: one word was left out to align it


class Exceptions:
    """Moves the core into handlers and back."""

    def __init__(self, cpu: Cpu, nvic: Nvic, shared: Shared) -> None:
        self._cpu, self._nvic = cpu, nvic
        self._words = shared.sram.view("<u4")
        self._end = shared.SRAM_SIZE
        self._base = shared.SRAM
        self.vectors = shared.FLASH
        self._flash, self._flash_base = shared.flash.view("<u4"), shared.FLASH

    def vector(self, exception: int) -> int:
        """Return the handler's address from the vector table, bit 0 included."""
        address = self.vectors + 4 * exception
        offset = address - self._flash_base
        if 0 <= offset < self._flash.nbytes:
            return int(self._flash[offset // 4])
        return int(self._words[self._index(address, 1)])

    def enter(self, exception: int, pc: int) -> int:
        """Stack the context whose next instruction is `pc`; return the handler's address."""
        cpu = self._cpu
        control, xpsr, sp = cpu["control"], cpu["xpsr"], cpu["sp"]
        handler_mode, floats = cpu["ipsr"] != 0, bool(control & _FPCA)
        size = 4 * (26 if floats else 8)
        top = (sp - size) & ~7
        xpsr = xpsr & ~_ALIGNED | (_ALIGNED if top != sp - size else 0)
        frame = [cpu[name] for name in _BASIC] + [pc, xpsr]
        if floats:
            frame += [cpu[name] for name in _SINGLES] + [cpu["fpscr"], 0]
        start = self._index(top, len(frame))
        self._words[start : start + len(frame)] = frame
        cpu["sp"] = top
        if not handler_mode:  # the bank switches with CONTROL, before the mode does
            cpu["control"] = control & ~(_SPSEL | _FPCA | _SFPA)
        cpu["ipsr"] = exception
        if handler_mode:
            cpu["control"] = control & ~(_FPCA | _SFPA)
        cpu["lr"] = _return_value(handler_mode, bool(control & _SPSEL), floats)
        self._nvic.enter(exception)
        return self._handler(exception)

    def leave(self, value: int) -> int:
        """Undo `enter` for an EXC_RETURN value; return the address to go on at."""
        cpu = self._cpu
        self._nvic.leave(cpu["ipsr"])
        thread, process, floats = bool(value & 8), bool(value & 4), not value & 16
        if thread:
            cpu["ipsr"] = 0
            cpu["control"] = cpu["control"] & ~(_SPSEL | _FPCA) | (_SPSEL if process else 0)
        sp = cpu["sp"]
        size = 26 if floats else 8
        start = self._index(sp, size)
        frame = [int(word) for word in self._words[start : start + size]]
        for name, word in zip(_BASIC, frame, strict=False):
            cpu[name] = word
        pc, xpsr = frame[6], frame[7]
        if floats:
            for name, word in zip(_SINGLES, frame[8:24], strict=True):
                cpu[name] = word
            cpu["fpscr"] = frame[24]
            cpu["control"] = cpu["control"] | _FPCA
        cpu["sp"] = sp + 4 * size + (4 if xpsr & _ALIGNED else 0)
        cpu["xpsr"] = xpsr & ~_ALIGNED
        cpu["faultmask"] = 0
        return pc & ~1

    def _handler(self, exception: int) -> int:
        address = self.vector(exception)
        if not address & 1:
            raise EdgebedError(
                f"vector {exception} holds {address:#010x}",
                where=f"vector table at {self.vectors:#010x}",
                why="a handler's address has bit 0 set (Thumb code); the chip would lock up",
                try_="install a handler before enabling the interrupt",
            )
        return address & ~1

    def _index(self, address: int, words: int) -> int:
        offset = address - self._base
        if not 0 <= offset <= self._end - 4 * words:
            raise EdgebedError(
                f"the stack pointer {address:#010x} is outside of SRAM",
                why="exception frames need memory; the chip would lock up",
                try_="a larger stack, or look for code that overwrites sp",
            )
        return offset // 4


def _return_value(handler_mode: bool, process: bool, floats: bool) -> int:
    value = 0xFFFFFFF1 if handler_mode else 0xFFFFFFFD if process else 0xFFFFFFF9
    return value & ~0x10 if floats else value
