"""The flash controller: page erase and word writes into the flash the core executes from."""

from __future__ import annotations

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.board.clock import Clock
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import Shared

_ADDR, _CTRL, _INTR, _DATA = 0x00, 0x08, 0x24, 0x30
_WRITE, _MASS_ERASE, _PAGE_ERASE = 1, 2, 4
_PAGE = 8192
_IRQ = 23
_UNLOCKED = 2


class FlashController:
    """FLC0: 128-bit (or 32-bit with bit 4 of CTRL) writes and erases, done at once.

    Writing can only clear bits, as in flash; addresses are offsets in flash or absolute.
    """

    name, base, size = "FLC", 0x40029000, 0x400

    def __init__(self, shared: Shared, clock: Clock, nvic: Nvic) -> None:
        self._shared, self._clock, self._nvic = shared, clock, nvic
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {0x04: 0x64, _CTRL: 0}
        self._flags = 0

    def load(self, offset: int) -> int:
        """Load a register."""
        return (
            self._flags | self._words.get(_INTR, 0)
            if offset == _INTR
            else self._words.get(offset, 0)
        )

    def store(self, offset: int, value: int) -> None:
        """Store into a register; the command bits act at once and clear themselves."""
        if offset == _INTR:
            self._flags &= value
            self._words[_INTR] = value & 0x300
        elif offset == _CTRL:
            self._words[_CTRL] = value & ~7
            if value & 7:
                self._command(value)
        else:
            self._words[offset] = value
        enabled = self._words.get(_INTR, 0) >> 8
        self._nvic.line(_IRQ, bool(self._flags & enabled))

    def _command(self, control: int) -> None:
        if control >> 28 & 15 != _UNLOCKED:
            self._flags |= 2
            return
        address = self._words.get(_ADDR, 0) & 0x7FFFF
        code = control >> 8 & 0xFF
        flash = self._shared.flash
        if control & _PAGE_ERASE and code == 0x55:
            page = address // _PAGE * _PAGE
            flash[page : page + _PAGE] = 0xFF
        elif control & _MASS_ERASE and code == 0xAA:
            raise EdgebedError("the firmware erases the whole flash, itself included")
        elif control & _WRITE:
            self._write(address, 1 if control >> 4 & 1 else 4)
        else:
            self._flags |= 2
            return
        self._flags |= 1
        self._shared.forget_code()

    def _write(self, address: int, words: int) -> None:
        address &= ~(4 * words - 1)
        view = self._shared.flash.view("<u4")
        for i in range(words):
            view[address // 4 + i] &= self._words.get(_DATA + 4 * i, 0)
