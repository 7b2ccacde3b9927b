"""The virtual board's serial line: two rings of bytes that C code empties and fills."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu, NativeHook
from edgebed.targets._shared.native import load_library

# Words of the header; uart.c has the same list.
_RX_BYTES, _RX_HEAD, _RX_TAIL, _TX_BYTES, _TX_HEAD, _TX_TAIL, _CONTROL, _DIVIDER, _LOST = range(9)
_HEADER = 16
_RING_BYTES = 1 << 18
_PAGE = 4096


class Uart:
    """A CMSDK APB UART; keep it as long as the core runs."""

    def __init__(self) -> None:
        self._words = np.zeros(_HEADER + 2 * _RING_BYTES // 8, np.uint64)
        self._words[[_RX_BYTES, _TX_BYTES]] = _RING_BYTES
        data = self._words[_HEADER:].view(np.uint8)
        self._rx, self._tx = data[:_RING_BYTES], data[_RING_BYTES:]

    def attach(self, cpu: Cpu, address: int) -> None:
        """Let `cpu` see the registers at `address`.

        Raises:
            EdgebedError: no C compiler is installed.
        """
        library = _library()
        read, write = (
            NativeHook(ctypes.cast(f, ctypes.c_void_p).value or 0, self._words.ctypes.data)
            for f in (library.uart_read, library.uart_write)
        )
        cpu.map_native_bus(address, _PAGE, read, write)

    @property
    def waiting(self) -> int:
        """Bytes that the firmware has not read."""
        return int(self._words[_RX_HEAD] - self._words[_RX_TAIL])

    @property
    def lost(self) -> int:
        """Bytes that the firmware sent while the line was off or full."""
        return int(self._words[_LOST])

    def feed(self, data: bytes) -> None:
        """Send bytes to the firmware.

        Raises:
            EdgebedError: more than the line can hold.
        """
        if len(data) > _RING_BYTES - self.waiting:
            raise EdgebedError(f"{len(data)} bytes at once; the line holds {_RING_BYTES}")
        _put(self._rx, int(self._words[_RX_HEAD]), data)
        self._words[_RX_HEAD] += np.uint64(len(data))

    def read(self) -> bytes:
        """Return what the firmware sent since the last call."""
        start, end = int(self._words[_TX_TAIL]), int(self._words[_TX_HEAD])
        self._words[_TX_TAIL] = end
        return self._tx[np.arange(start, end) % _RING_BYTES].tobytes()

    def reset(self) -> None:
        """Forget everything, as without power."""
        self._words[[_RX_HEAD, _RX_TAIL, _TX_HEAD, _TX_TAIL, _CONTROL, _DIVIDER]] = 0


def _put(ring: npt.NDArray[np.uint8], start: int, data: bytes) -> None:
    ring[np.arange(start, start + len(data)) % len(ring)] = np.frombuffer(data, np.uint8)


@functools.cache
def _library() -> ctypes.CDLL:
    return load_library(Path(__file__).parent / "uart.c")
