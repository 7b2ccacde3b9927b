"""Instructions per function, counted exactly by the bus's block counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board.state import Shared


@dataclass(frozen=True)
class Profile:
    """Executed instructions by function name, most first."""

    functions: dict[str, int]

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.functions.values())


class Counter:
    """Reads the histogram and attributes it to functions."""

    def __init__(self, shared: Shared, firmware: Firmware) -> None:
        self._firmware = firmware
        end = max((address + len(data) for address, data in firmware.segments), default=0)
        used = max(end - shared.FLASH, 0) // 2 + 1
        self._parts = [(shared.FLASH, shared.counts[0][:used]), (shared.SRAM, shared.counts[1])]
        self._before = [counts.copy() for _, counts in self._parts]

    def take(self) -> Profile:
        """Return what was executed since the last call."""
        totals: dict[str, int] = {}
        for (base, counts), before in zip(self._parts, self._before, strict=True):
            if not counts.any():
                continue
            changed = np.flatnonzero(counts != before)
            spent = (counts[changed] - before[changed]).tolist()
            before[changed] = counts[changed]
            for index, count in zip(changed.tolist(), spent, strict=True):
                found = self._firmware.function_at(base + 2 * index)
                name = found.name if found else "(no symbol)"
                totals[name] = totals.get(name, 0) + count
        ordered = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
        return Profile({name: count for name, count in ordered if count})
