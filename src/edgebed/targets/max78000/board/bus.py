"""Choice of the bus: compiled when a compiler is found, plain Python otherwise."""

from __future__ import annotations

from typing import Protocol

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu, Read, Write
from edgebed.targets.max78000.board.bus_native import NativeBus
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.state import Shared


class Bus(Protocol):
    """Serves the busy registers and counts instructions."""

    def connect(
        self, cpu: Cpu, regions: list[tuple[int, int]], slow_read: Read, slow_write: Write
    ) -> None:
        """Map `regions` (address, size); what is not busy goes to `slow_read`, `slow_write`."""


def best_bus(shared: Shared) -> Bus:
    """Return the compiled bus, or the Python one (same values, some ten times slower)."""
    try:
        return NativeBus(shared)
    except EdgebedError:
        return PythonBus(shared)
