"""The state that C and Python share: the busy registers, virtual time and instruction counts."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

TIME_UNITS = 16
"""Units of virtual time in one CPU cycle."""

_U64 = ctypes.c_uint64
_ARRAYS = {
    "code_base": 2,
    "code_size": 2,
    "code": 2,
    "counts": 2,
    "cached": 2,
    "gpio_out": 3,
    "fifo": 4,
    "fifo_length": 4,
    "timer_on": 4,
    "timer_origin": 4,
    "timer_base": 4,
    "timer_period": 4,
    "timer_step": 4,
    "region_base": 8,
}


class BusState(ctypes.Structure):
    """`Bus` of bus.c, field by field; every field is a 64-bit number or an array of them."""

    now: int
    limit: int
    cycle_factor: int
    instructions: int
    attention: int
    last_block: int
    last_size: int
    last_count: int
    paused: int
    pending_priority: int
    stop: int
    register_read: int
    primask: int
    basepri: int
    faultmask: int
    slow_read: int
    slow_write: int
    code_base: Any
    code_size: Any
    code: Any
    counts: Any
    cached: Any
    rx: int
    rx_mask: int
    rx_head: int
    rx_tail: int
    tx: int
    tx_size: int
    tx_length: int
    uart_polls: int
    uart_waits: int
    spi: int
    spi_size: int
    spi_length: int
    spi_free: int
    spi_byte_time: int
    gpio_out: Any
    dc_port: int
    dc_mask: int
    cnn_on: int
    log: int
    log_size: int
    log_length: int
    fifo: Any
    fifo_size: int
    fifo_length: Any
    fifo_enabled: int
    fifo_lost: int
    fifo_started: int
    fifo_start: int
    fifo_period: int
    fifo_depth: int
    tick_on: int
    tick_reload: int
    tick_origin: int
    tick_flag_time: int
    cycles_on: int
    cycles_origin: int
    timer_on: Any
    timer_origin: Any
    timer_base: Any
    timer_period: Any
    timer_step: Any
    camera: int
    camera_length: int
    camera_position: int
    region_base: Any


# In the order of the annotations above, which is the order of bus.c.
BusState._fields_ = [
    (name, _U64 * _ARRAYS[name] if name in _ARRAYS else _U64) for name in BusState.__annotations__
]


def page_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return zeros whose address is a multiple of 4096, as memory mapped into the core must be."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + 4096, np.uint8)
    start = -raw.ctypes.data % 4096
    return raw[start : start + count].view(dtype).reshape(shape)


class Shared:
    """`BusState` with the buffers it points to.

    Attributes:
        state: the fields.
        flash: uint8 [524288].
        sram: uint8 [131072].
        counts: executed instructions per half-word of flash and of SRAM, uint64.
        rx: ring of bytes on their way to the CPU, uint8 [1048576].
        tx: bytes the CPU sent, uint8; the first `state.tx_length` are valid.
        spi: bytes to the display, uint16, bit 8 = data (not command).
        fifo: words pushed to the accelerator's FIFOs, uint32 [4, size].
        log: stores to the accelerator: address, value, size; uint32 [size, 3].
        camera_words: the camera FIFO's words while the CPU reads them.
    """

    FLASH, SRAM = 0x10000000, 0x20000000
    FLASH_SIZE, SRAM_SIZE = 512 * 1024, 128 * 1024

    def __init__(self) -> None:
        self.state = BusState()
        self.flash = page_aligned((self.FLASH_SIZE,), np.uint8)
        self.flash[:] = 0xFF
        self.sram = page_aligned((self.SRAM_SIZE,), np.uint8)
        self.counts = [np.zeros(size // 2, np.uint64) for size in (self.FLASH_SIZE, self.SRAM_SIZE)]
        self._cached = [np.zeros_like(counts) for counts in self.counts]
        self.rx = np.zeros(1 << 20, np.uint8)
        self.tx = np.zeros(1 << 16, np.uint8)
        self.spi = np.zeros(1 << 18, np.uint16)
        self.fifo = np.zeros((4, 1 << 18), np.uint32)
        self.log = np.zeros((1 << 17, 3), np.uint32)
        self.camera_words = np.zeros(0, np.uint32)
        self._point()

    def _point(self) -> None:
        s = self.state
        for i, (base, memory) in enumerate(((self.FLASH, self.flash), (self.SRAM, self.sram))):
            s.code_base[i], s.code_size[i], s.code[i] = base, memory.nbytes, memory.ctypes.data
            s.counts[i], s.cached[i] = self.counts[i].ctypes.data, self._cached[i].ctypes.data
        s.rx, s.rx_mask = self.rx.ctypes.data, self.rx.size - 1
        # One entry of slack: the pause that empties a full buffer comes at the next block.
        s.tx, s.tx_size = self.tx.ctypes.data, self.tx.size // 2
        s.spi, s.spi_size = self.spi.ctypes.data, self.spi.size // 2
        s.log, s.log_size = self.log.ctypes.data, len(self.log)
        s.fifo_size = self.fifo.shape[1] // 2
        for i in range(4):
            s.fifo[i] = self.fifo[i].ctypes.data

    def forget_code(self) -> None:
        """Drop cached block lengths; to be called when flash changes."""
        for cached in self._cached:
            cached[:] = 0

    def uncount(self, address: int, instructions: int) -> None:
        """Take back instructions counted for the block at `address`."""
        for base, counts in zip((self.FLASH, self.SRAM), self.counts, strict=True):
            if 0 <= address - base < 2 * len(counts):
                counts[(address - base) // 2] -= np.uint64(instructions)
