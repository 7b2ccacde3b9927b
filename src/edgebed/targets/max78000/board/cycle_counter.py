"""The trace unit's cycle counter (DWT CYCCNT)."""

from __future__ import annotations

from edgebed.targets.max78000.board.state import TIME_UNITS, BusState


class CycleCounter:
    """0xE0001000: CTRL, CYCCNT; reading the running counter is served by the bus itself."""

    name, base, size = "DWT", 0xE0001000, 0x1000

    def __init__(self, state: BusState) -> None:
        self._state = state
        self.reset()

    def reset(self) -> None:
        """Stop."""
        self._words: dict[int, int] = {0: 0x40000000}
        self._held = 0
        self._state.cycles_on = 0

    def load(self, offset: int) -> int:
        """Load a register."""
        return self._count() if offset == 4 else self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        count = value if offset == 4 else self._count()
        if offset != 4:
            self._words[offset] = value
        self._state.cycles_on = self._words[0] & 1
        self._held = count
        now = self._state.now // TIME_UNITS
        self._state.cycles_origin = (now - count) & 0xFFFFFFFFFFFFFFFF

    def _count(self) -> int:
        if not self._state.cycles_on:
            return self._held
        return (self._state.now // TIME_UNITS - self._state.cycles_origin) & 0xFFFFFFFF
