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
        self._shared, self._firmware = shared, firmware
        self._before = [counts.copy() for counts in shared.counts]

    def take(self) -> Profile:
        """Return what was executed since the last call."""
        shared = self._shared
        totals: dict[str, int] = {}
        for base, counts, before in zip(
            (shared.FLASH, shared.SRAM), shared.counts, self._before, strict=True
        ):
            changed = np.flatnonzero(counts != before)
            for index in changed.tolist():
                found = self._firmware.function_at(base + 2 * index)
                name = found.name if found else "(no symbol)"
                totals[name] = totals.get(name, 0) + int(counts[index] - before[index])
            before[changed] = counts[changed]
        ordered = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
        return Profile({name: count for name, count in ordered if count})
