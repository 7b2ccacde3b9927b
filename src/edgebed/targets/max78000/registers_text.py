"""What a register address means, for the comments of the generated tables."""

from __future__ import annotations

from collections.abc import Sequence

_CNN, _END = 0x50000000, 0x52000000
_GLOBAL = {0x50000000: "FIFO control", 0x50001000: "power"}
_CONTROL = ("control", "SRAM control", "first and last layer", "memory test")


def describe(address: int, layers: Sequence[str]) -> str:
    """Return the layer and quadrant that an accelerator register belongs to."""
    if address in _GLOBAL:
        return _GLOBAL[address]
    if not _CNN <= address < _END:
        return "other"
    quadrant, offset = (address - 0x50100000) >> 22, (address - 0x50100000) & 0x3FFFFF
    if offset < 0x10:
        return f"quadrant {quadrant}"
    if 0x10 <= offset < 0x10 + 21 * 0x80:
        number = (offset - 0x10) % 0x80 // 4
        name = f" ({layers[number]})" if number < len(layers) else ""
        if offset == 0x990:
            return f"quadrant {quadrant}: input frame size"
        return f"layer {number}{name}, quadrant {quadrant}"
    return f"quadrant {quadrant}: input frame size" if offset == 0x990 else f"quadrant {quadrant}"
