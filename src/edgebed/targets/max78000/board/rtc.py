"""The real-time clock, in virtual time."""

from __future__ import annotations

from edgebed.targets.max78000.board.clock import Clock
from edgebed.targets.max78000.board.options import BoardOptions

_SEC, _SSEC, _CTRL = 0x00, 0x04, 0x10
_BUSY, _READY = 1 << 3, 1 << 4


class Rtc:
    """Seconds and 1/4096 seconds; alarms are not modelled."""

    name, base, size = "RTC", 0x40006000, 0x400

    def __init__(self, clock: Clock, options: BoardOptions) -> None:
        self._clock, self._hz = clock, options.cpu_hz
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset: stopped at zero."""
        self._words: dict[int, int] = {}
        self._origin, self._held = 0.0, 0.0

    def load(self, offset: int) -> int:
        """Load a register; the clock is never busy."""
        if offset == _SEC:
            return int(self._seconds())
        if offset == _SSEC:
            return int(self._seconds() % 1 * 4096)
        if offset == _CTRL:
            return self._words.get(_CTRL, 0) & ~_BUSY | _READY
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register; seconds are set while stopped, as the chip asks."""
        self._held = float(value) if offset == _SEC else self._seconds()
        self._words[offset] = value
        self._origin = self._clock.cycles / self._hz

    def _seconds(self) -> float:
        if not self._words.get(_CTRL, 0) & 1:
            return self._held
        return self._held + self._clock.cycles / self._hz - self._origin
