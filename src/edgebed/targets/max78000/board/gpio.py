"""General-purpose pins; set and clear of outputs are served by the bus itself."""

from __future__ import annotations

from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import BusState

_OUT, _OUT_SET, _OUT_CLR, _IN = 0x18, 0x1C, 0x20, 0x24
_INTMODE, _INTPOL, _INTEN, _INTFL, _INTFL_CLR = 0x28, 0x2C, 0x34, 0x40, 0x48
_DUALEDGE = 0x5C
# Register -> its "set bits" and "clear bits" registers follow at +4 and +8.
_TRIPLES = (0x00, 0x0C, 0x34, 0x4C, 0x68, 0x74)


class Gpio:
    """One port of 32 pins.

    Args:
        port: 0, 1 or 2.
        base: address.
        irq: interrupt number.
        state: holds the output levels.
        nvic: interrupt controller.
    """

    size = 0x400

    def __init__(self, port: int, base: int, irq: int, state: BusState, nvic: Nvic) -> None:
        self.name, self.base, self.irq, self._port = f"GPIO{port}", base, irq, port
        self._state, self._nvic = state, nvic
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset; inputs idle high, as with the board's pull-ups."""
        self._words: dict[int, int] = {0x00: 0xFFFFFFFF}
        self._inputs = 0xFFFFFFFF
        self._state.gpio_out[self._port] = 0

    @property
    def outputs(self) -> int:
        """Levels of the driven pins, as a bit mask."""
        return int(self._state.gpio_out[self._port])

    def drive(self, pin: int, high: bool) -> None:
        """Set an input pin from outside (a button), with its interrupt."""
        before, bit = self._inputs, 1 << pin
        self._inputs = before | bit if high else before & ~bit
        if before == self._inputs:
            return
        rising = bool(self._words.get(_INTPOL, 0) & bit)
        if high == rising or self._words.get(_DUALEDGE, 0) & bit:
            self._words[_INTFL] = self._words.get(_INTFL, 0) | bit
        self._update()

    def load(self, offset: int) -> int:
        """Load a register."""
        if offset == _OUT:
            return self.outputs
        if offset == _IN:
            driven = self._words.get(0x0C, 0)
            return self.outputs & driven | self._inputs & ~driven & 0xFFFFFFFF
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        for first in _TRIPLES:
            if offset in (first + 4, first + 8):
                word = self._words.get(first, 0)
                self._words[first] = word | value if offset == first + 4 else word & ~value
                return self._update()
        if offset == _OUT:
            self._state.gpio_out[self._port] = value
        elif offset == _OUT_SET:
            self._state.gpio_out[self._port] |= value
        elif offset == _OUT_CLR:
            self._state.gpio_out[self._port] &= ~value
        elif offset == _INTFL_CLR:
            self._words[_INTFL] = self._words.get(_INTFL, 0) & ~value
        elif offset not in (_IN, _INTFL):
            self._words[offset] = value
        return self._update()

    def _update(self) -> None:
        flags = self._words.get(_INTFL, 0) & self._words.get(_INTEN, 0)
        self._nvic.line(self.irq, bool(flags))
