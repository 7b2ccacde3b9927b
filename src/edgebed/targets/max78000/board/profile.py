"""Instructions per function, counted exactly by the bus's block counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board.state import Shared

Counts = npt.NDArray[np.uint64]


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
        end = max((address + len(data) for address, data in firmware.segments), default=0)
        used = max(end - shared.FLASH, 0) // 2 + 1
        self._shared, self._taken_at = shared, -1
        self._names = [function.name for function in firmware.functions] + ["(no symbol)"]
        self._parts = [
            _Part(counts, counts.copy(), _owners(firmware, base, len(counts)))
            for base, counts in (
                (shared.FLASH, shared.counts[0][:used]),
                (shared.SRAM, shared.counts[1]),
            )
        ]

    def take(self) -> Profile:
        """Return what was executed since the last call."""
        if self._shared.state.instructions == self._taken_at:
            return Profile({})
        self._taken_at = self._shared.state.instructions
        totals = np.zeros(len(self._names), np.uint64)
        for part in self._parts:
            if not part.counts.any():
                continue
            changed = np.flatnonzero(part.counts != part.before)
            np.add.at(totals, part.owners[changed], part.counts[changed] - part.before[changed])
            part.before[changed] = part.counts[changed]
        by_name: dict[str, int] = {}
        for index in np.flatnonzero(totals).tolist():
            name = self._names[index]  # static functions of two files may share a name
            by_name[name] = by_name.get(name, 0) + int(totals[index])
        return Profile(dict(sorted(by_name.items(), key=lambda item: (-item[1], item[0]))))


@dataclass(frozen=True)
class _Part:
    """Counts of one memory, as they were at the last call, and each half-word's function."""

    counts: Counts
    before: Counts
    owners: npt.NDArray[np.int64]


def _owners(firmware: Firmware, base: int, count: int) -> npt.NDArray[np.int64]:
    """Return the number of the function each half-word belongs to; the last number for none."""
    functions = firmware.functions
    owners = np.full(count, len(functions), np.int64)
    for number, function in enumerate(functions):
        first = (function.address - base) // 2
        if 0 <= first < count:
            owners[first : first + max(function.size // 2, 1)] = number
    return owners
