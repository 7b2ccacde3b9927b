"""Clocks and resets: GCR, LPGCR and the accelerator's power switches (GCFR)."""

from __future__ import annotations

from collections.abc import Callable

_OSCILLATORS_READY = 0x1F << 25 | 1 << 13
_CLKCTRL, _PCLKDIV, _PCLKDIS0 = 0x08, 0x18, 0x24
_RST0, _RST1, _MEMZ = 0x04, 0x44, 0x2C
_CNN_BIT = 1 << 25
_SOURCES_HZ = {0: 60e6, 3: 30e3, 4: 100e6, 5: 7.3728e6, 6: 32768.0, 7: 100e6}
_CNN_DIVIDERS = {0: 2, 1: 4, 2: 8, 3: 16, 4: 1}


class Gcr:
    """Global control: every oscillator is ready at once, reset bits clear themselves.

    Args:
        changed: called when a clock or the accelerator's supply changed.
        resets: what to do for a bit of RST0 (0 to 31) or RST1 (32 to 63).
    """

    name, base, size = "GCR", 0x40000000, 0x400

    def __init__(self, changed: Callable[[], None], resets: dict[int, Callable[[], None]]) -> None:
        self._changed, self._resets = changed, resets
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset: IPO at 100 MHz, all peripheral clocks off."""
        self._words = {
            _CLKCTRL: 4 << 9 | 1 << 19,
            _PCLKDIV: 1,
            _PCLKDIS0: 0xFFFFFFFF,
            0x48: 0xFFFFFFFF,
            0x50: 0xA1,
        }

    @property
    def cpu_hz(self) -> float:
        """Frequency of the system clock."""
        word = self._words[_CLKCTRL]
        return _SOURCES_HZ.get(word >> 9 & 7, 100e6) / (1 << (word >> 6 & 7))

    @property
    def cnn_hz(self) -> float:
        """Frequency of the accelerator's clock."""
        word = self._words[_PCLKDIV]
        source = 60e6 if word >> 17 & 1 else self.cpu_hz / 2
        return source / _CNN_DIVIDERS.get(word >> 14 & 7, 1)

    @property
    def cnn_clocked(self) -> bool:
        """Whether the accelerator's clock runs."""
        return not self._words[_PCLKDIS0] & _CNN_BIT

    def load(self, offset: int) -> int:
        """Load a register; oscillators are ready, resets and memory clearing are done."""
        if offset == _CLKCTRL:
            return self._words[offset] | _OSCILLATORS_READY
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset in (_RST0, _RST1):
            self._reset_units(value, 0 if offset == _RST0 else 32)
        elif offset != _MEMZ:
            self._words[offset] = value
            if offset in (_CLKCTRL, _PCLKDIV, _PCLKDIS0):
                self._changed()

    def _reset_units(self, value: int, first: int) -> None:
        for bit in range(32):
            if value >> bit & 1 and first + bit in self._resets:
                self._resets[first + bit]()


class PowerSwitches:
    """GCFR: power, memory, isolation and reset of the accelerator's four quadrants."""

    name, base, size = "GCFR", 0x40005800, 0x400

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset: off and isolated."""
        self._words = {0x0: 0, 0x4: 0, 0x8: 0xF, 0xC: 0}

    @property
    def ready(self) -> int:
        """Bit mask of quadrants that have power and memory, not isolated, not in reset."""
        power, memory, isolated, reset = (self._words[i] for i in (0x0, 0x4, 0x8, 0xC))
        return power & memory & ~isolated & ~reset & 0xF

    def missing(self) -> str:
        """Say what keeps the accelerator off, as register settings; empty when nothing does."""
        wanted = {"REG0 (power)": 0x0, "REG1 (memory)": 0x4}
        lines = [f"{name} is 0" for name, offset in wanted.items() if not self._words[offset] & 15]
        if not lines and not self.ready:
            lines = [f"REG2 (isolation) {self._words[8]:#x}, REG3 (reset) {self._words[12]:#x}"]
        return ", ".join(lines)

    def load(self, offset: int) -> int:
        """Load a register."""
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        self._words[offset] = value
        self._changed()
