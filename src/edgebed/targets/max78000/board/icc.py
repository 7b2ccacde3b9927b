"""The instruction cache controller: always ready."""

from __future__ import annotations

_CTRL, _READY = 0x100, 1 << 16


class InstructionCache:
    """ICC0: enabling and invalidating take no time; caches are not modelled."""

    name, base, size = "ICC0", 0x4002A000, 0x1000

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._control = 0

    def load(self, offset: int) -> int:
        """Load a register."""
        if offset == _CTRL:
            return self._control | _READY
        return 0x00080008 if offset == 0x004 else 0

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == _CTRL:
            self._control = value & 1
