"""Pulse trains: PT0 makes the camera's input clock."""

from __future__ import annotations

_RATE_MASK = (1 << 27) - 1


class PulseTrains:
    """Global enable at +0, engine n at +0x20 + 0x10 n: rate and mode, train, loop, restart."""

    name, base, size = "PT", 0x4003C000, 0x400

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {}

    def load(self, offset: int) -> int:
        """Load a register."""
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        self._words[offset] = value

    def frequency(self, engine: int, clock_hz: float) -> float:
        """Return the square wave's frequency, 0 when the engine is off."""
        rate = self._words.get(0x20 + 0x10 * engine, 0) & _RATE_MASK
        if not self._words.get(0, 0) >> engine & 1 or not rate:
            return 0.0
        return clock_hz / (2 * rate)
