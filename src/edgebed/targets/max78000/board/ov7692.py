"""The image sensor's control side: 256 registers behind SCCB (I2C)."""

from __future__ import annotations

_RESET_VALUES = {0x0A: 0x76, 0x0B: 0x92, 0x1C: 0x7F, 0x1D: 0xA2}
_REG12, _SOFT_RESET = 0x12, 0x80
_OUTPUT_SIZE = (0xCC, 0xCD, 0xCE, 0xCF)  # width high, low; height high, low
_MIRROR = 0x0C  # bit 7 vertical flip, bit 6 horizontal mirror, bit 2 swaps red and blue


class Ov7692:
    """Keeps what is written; reports the picture size and mirroring that it was set to."""

    ADDRESS = 0x3C

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Load the reset values."""
        self.registers = dict(_RESET_VALUES)
        self._pointer: int | None = None

    def begin(self) -> None:
        """A write starts with the register number."""
        self._pointer = None

    def put(self, value: int) -> None:
        """Take the register number, then values for ascending registers."""
        if self._pointer is None:
            self._pointer = value
            return
        if self._pointer == _REG12 and value & _SOFT_RESET:
            self.reset()
            self._pointer = _REG12 + 1
            return
        self.registers[self._pointer] = value
        self._pointer = self._pointer + 1 & 255

    def get(self) -> int:
        """Send the register and advance."""
        pointer = self._pointer or 0
        self._pointer = pointer + 1 & 255
        return self.registers.get(pointer, 0)

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Width and height that the firmware set, None when it did not."""
        if not all(register in self.registers for register in _OUTPUT_SIZE):
            return None
        high_w, w, high_h, h = (self.registers[register] for register in _OUTPUT_SIZE)
        return (high_w << 8 | w, high_h << 8 | h)

    @property
    def mirrored(self) -> bool:
        """Left and right are exchanged."""
        return bool(self.registers.get(_MIRROR, 0) & 0x40)

    @property
    def flipped(self) -> bool:
        """Top and bottom are exchanged."""
        return bool(self.registers.get(_MIRROR, 0) & 0x80)

    @property
    def swaps_red_and_blue(self) -> bool:
        """Blue comes first."""
        return bool(self.registers.get(_MIRROR, 0) & 0x04)
