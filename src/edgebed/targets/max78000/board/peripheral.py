"""What every peripheral is to the bus, and the one that only stores."""

from __future__ import annotations

from typing import Protocol


class Peripheral(Protocol):
    """A block of registers; offsets are multiples of four, values 32-bit."""

    name: str
    base: int
    size: int

    def load(self, offset: int) -> int:
        """Load a register."""

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""

    def reset(self) -> None:
        """Return to the state after reset."""


class Storage:
    """Registers that keep what is written: power sequencer, regulators, trims, ...

    Args:
        name: as in the chip's documentation.
        base: address.
        values: reset values by offset; the others are 0.
        fixed: values by offset that writes do not change.
        size: bytes of the block.
    """

    def __init__(
        self,
        name: str,
        base: int,
        values: dict[int, int] | None = None,
        *,
        fixed: dict[int, int] | None = None,
        size: int = 0x400,
    ) -> None:
        self.name, self.base, self.size = name, base, size
        self._reset, self._fixed = values or {}, fixed or {}
        self.reset()

    def reset(self) -> None:
        """Load the reset values."""
        self.words = dict(self._reset)

    def load(self, offset: int) -> int:
        """Return what was written last."""
        return self._fixed.get(offset, self.words.get(offset, 0))

    def store(self, offset: int, value: int) -> None:
        """Keep `value`."""
        self.words[offset] = value
