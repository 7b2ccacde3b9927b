"""The busy registers through bus.c: registered with the emulator as C callbacks."""

from __future__ import annotations

import ctypes
from pathlib import Path

from edgebed.targets._shared.cpu import Cpu, NativeHook, Read, Write
from edgebed.targets._shared.native import load_library
from edgebed.targets.max78000.board.state import Shared

_SLOW_READ = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)
_SLOW_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)


class _Region(ctypes.Structure):
    """`Region` of bus.c."""

    _fields_ = (("bus", ctypes.c_void_p), ("base", ctypes.c_uint64))


class NativeBus:
    """Connects the emulator to bus.c, and bus.c to Python for what it does not handle.

    Raises:
        EdgebedError: bus.c cannot be compiled here.
    """

    def __init__(self, shared: Shared) -> None:
        self._library = load_library(Path(__file__).with_name("bus.c"))
        self._shared = shared
        self._keep: list[object] = []

    def connect(
        self, cpu: Cpu, regions: list[tuple[int, int]], slow_read: Read, slow_write: Write
    ) -> None:
        """Map `regions` (address, size) and count blocks."""
        state = self._shared.state
        read, write = _SLOW_READ(slow_read), _SLOW_WRITE(slow_write)
        state.slow_read, state.slow_write = _address(read), _address(write)
        services = cpu.services()
        state.stop, state.register_read = services.stop, services.register_read
        state.primask, state.basepri = services.primask, services.basepri
        state.faultmask = services.faultmask
        self._keep += [read, write]
        for address, size in regions:
            region = _Region(ctypes.addressof(state), address)
            self._keep.append(region)
            data = ctypes.addressof(region)
            cpu.map_native_bus(
                address,
                size,
                NativeHook(_address(self._library.bus_read), data),
                NativeHook(_address(self._library.bus_write), data),
            )
        cpu.on_native_block(NativeHook(_address(self._library.bus_block), ctypes.addressof(state)))


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
