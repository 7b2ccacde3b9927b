"""The accelerator's address map and everything it stores (registers, memories, FIFOs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError

Words = npt.NDArray[np.uint32]

BASE = 0x50000000
QUADRANT_STRIDE = 0x00400000
QUADRANTS, PROCESSORS, INSTANCES, LAYERS, FIFOS = 4, 64, 16, 32, 4
SRAM_WORDS, KERNEL_COLUMNS, KERNEL_BYTES, BIASES = 8192, 768, 9, 512
TRAM_WORDS = 3072
CTL, SRAM_CONTROL, LCNT_MAX, BIST = 0, 1, 2, 3  # words of the quadrant control block
IFRM = 612
FIRST_LAYER_REGISTER = 4

CTL_ENABLE, CTL_DONE, CTL_MEXPRESS = 1 << 0, 1 << 12, 1 << 20
# BIST: start bit -> wait bit; bit 27 is set with each of them, the error bits stay 0.
BIST_WAIT = {0: 18, 2: 19, 4: 20, 6: 21}


class Region(Enum):
    """What an address belongs to."""

    FIFO_CONTROL = "FIFO control"
    FIFO_STATUS = "FIFO status"
    FIFO_DATA = "FIFO data"
    AON = "AON control"
    CONTROL = "control and layer registers"
    MLATOR = "mlator"
    BIAS = "bias memory"
    TRAM = "TRAM"
    KERNEL = "kernel memory"
    SRAM = "data SRAM"


@dataclass(frozen=True)
class Place:
    """A decoded address.

    Attributes:
        region: which memory or register file.
        unit: FIFO, quadrant (control, bias), processor (kernel, TRAM) or instance (SRAM).
        offset: byte offset inside the unit.
        end: number of bytes of the unit; addresses up to there are sequential.
    """

    region: Region
    unit: int
    offset: int
    end: int


def decode_address(address: int) -> Place:
    """Return what `address` (absolute, as firmware sees it) belongs to.

    Raises:
        EdgebedError: nothing of the accelerator is there.
    """
    offset = address - BASE
    place = None
    if 0 <= offset < 0x2000:
        place = _decode_global(offset)
    elif 0x100000 <= offset < 0x100000 + QUADRANTS * QUADRANT_STRIDE:
        place = _decode_quadrant(*divmod(offset - 0x100000, QUADRANT_STRIDE))
    if place is None:
        raise EdgebedError(
            f"no accelerator register or memory at {address:#010x}",
            where="accelerator",
            why="quadrant q: registers from 0x50100000, biases 0x50108000, kernels 0x50180000, "
            "data 0x50400000, each + q * 0x00400000",
            try_="check the address the firmware uses",
        )
    return place


def _decode_global(offset: int) -> Place | None:
    if offset < 4:
        return Place(Region.FIFO_CONTROL, 0, offset, 4)
    if offset < 8:
        return Place(Region.FIFO_STATUS, 0, offset - 4, 4)
    if offset < 8 + 4 * FIFOS:
        return Place(Region.FIFO_DATA, (offset - 8) // 4, offset % 4, 4)
    if 0x1000 <= offset < 0x1004:
        return Place(Region.AON, 0, offset - 0x1000, 4)
    return None


def _decode_quadrant(quadrant: int, offset: int) -> Place | None:
    if offset < 0x1000:
        return Place(Region.CONTROL, quadrant, offset, 0x1000)
    if offset < 0x1004:
        return Place(Region.MLATOR, quadrant, offset - 0x1000, 4)
    if 0x8000 <= offset < 0x8000 + 4 * BIASES:
        return Place(Region.BIAS, quadrant, offset - 0x8000, 4 * BIASES)
    if 0x10000 <= offset < 0x50000:
        processor, inside = divmod(offset - 0x10000, 0x4000)
        return Place(Region.TRAM, quadrant * 16 + processor, inside, 0x4000)
    if 0x80000 <= offset < 0xC0000:
        processor, inside = divmod(offset - 0x80000, 0x4000)
        return Place(Region.KERNEL, quadrant * 16 + processor, inside, 0x4000)
    if 0x300000 <= offset < 0x320000:
        instance, inside = divmod(offset - 0x300000, 4 * SRAM_WORDS)
        return Place(Region.SRAM, quadrant * 4 + instance, inside, 4 * SRAM_WORDS)
    return None


class KernelMemory:
    """Weights of 64 processors, and the two ways to write them.

    Attributes:
        data: uint8 [64, 768, 9]; byte j of a column is *linear* byte j, the least significant one
            first (specification 2.7).
        changes: grows whenever a stored byte changes.
    """

    def __init__(self) -> None:
        self.data = np.zeros((PROCESSORS, KERNEL_COLUMNS, KERNEL_BYTES), np.uint8)
        self.changes = 0
        self._partial: dict[tuple[int, int], list[int]] = {}
        self._stream = bytearray()
        self._processor, self._column, self._next = -1, 0, -1

    def store(self, processor: int, column: int, columns: npt.NDArray[np.uint8]) -> None:
        """Store consecutive kernel words, uint8 [n, 9], most significant byte first."""
        if column + len(columns) > KERNEL_COLUMNS:
            raise EdgebedError(
                f"kernel column {column + len(columns) - 1} is written",
                where=f"kernel memory of processor {processor}",
                why=f"a processor has {KERNEL_COLUMNS} columns",
            )
        here = self.data[processor, column : column + len(columns)]
        if not np.array_equal(here, columns[:, ::-1]):
            here[:] = columns[:, ::-1]
            self.changes += 1

    def start_stream(self, processor: int, offset: int) -> None:
        """Begin a compressed load at byte `offset` = column * 4 of the processor's window."""
        self._processor, self._column, self._next = processor, offset // 4, offset
        self._stream = bytearray()

    def stream(self, processor: int, offset: int, words: Words) -> None:
        """Take words of the compressed load; nine bytes make a kernel word.

        Raises:
            EdgebedError: no load was started, or the address does not follow the last one.
        """
        if processor != self._processor or offset != self._next:
            raise EdgebedError(
                f"compressed kernel word at offset {offset:#x} does not continue a load",
                where=f"kernel memory of processor {processor}",
                why="the load starts with byte 1 written to (address | 1), then ascending words",
                try_="write the start byte first, or clear CTL bit 20 for plain access",
            )
        self._next += 4 * len(words)
        self._stream += words.astype(">u4").tobytes()
        whole = len(self._stream) // KERNEL_BYTES
        if not whole:
            return
        columns = np.frombuffer(bytes(self._stream[: whole * 9]), np.uint8).reshape(whole, 9)
        del self._stream[: whole * 9]
        self.store(processor, self._column, columns)
        self._column += whole

    def write(self, processor: int, offset: int, value: int) -> None:
        """Write one of the four words of a kernel word; the fourth commits."""
        column, part = divmod(offset // 4, 4)
        words = self._partial.setdefault((processor, column), [0, 0, 0])
        if part < 3:
            words[part] = value
            return
        del self._partial[processor, column]
        data = bytes([words[0] & 255]) + words[1].to_bytes(4, "big") + words[2].to_bytes(4, "big")
        self.store(processor, column, np.frombuffer(data, np.uint8).reshape(1, 9))

    def read(self, processor: int, offset: int) -> int:
        """Read one of the four words of a kernel word; the fourth reads 0."""
        column, part = divmod(offset // 4, 4)
        if part == 3 or column >= KERNEL_COLUMNS:
            return 0
        data = self.data[processor, column, ::-1].tobytes()
        return int.from_bytes(data[(0, 1, 5)[part] : (1, 5, 9)[part]], "big")

    def clear(self, quadrant: int) -> None:
        """Zero the kernels of one quadrant."""
        self.data[16 * quadrant : 16 * quadrant + 16] = 0
        self.changes += 1


class Storage:
    """All state that firmware can write and read.

    Attributes:
        sram: uint32 [16, 8192], one row per data memory instance.
        control: uint32 [4, 1024], the register words of each quadrant.
        bias: int8 [4, 512].
        kernels: the kernel memories.
        fifo_control: the FIFO control register.
        aon: the AON control register.
    """

    def __init__(self, sram: Words | None = None) -> None:
        self.sram = np.zeros((INSTANCES, SRAM_WORDS), np.uint32) if sram is None else sram
        if self.sram.shape != (INSTANCES, SRAM_WORDS) or self.sram.dtype != np.uint32:
            raise EdgebedError(
                f"data memory is {self.sram.dtype} {self.sram.shape}",
                why="it must be uint32 (16, 8192)",
            )
        if not self.sram.flags.c_contiguous:
            raise EdgebedError("data memory is not contiguous", try_="one mapping for all of it")
        self.control = np.zeros((QUADRANTS, 1024), np.uint32)
        self.bias = np.zeros((QUADRANTS, BIASES), np.int8)
        self.tram = np.zeros((PROCESSORS, TRAM_WORDS), np.uint16)
        self.kernels = KernelMemory()
        self.fifo_control = self.aon = 0
        self._changes = 0

    @property
    def changes(self) -> int:
        """Grows whenever a layer register, kernel or bias changes its value."""
        return self._changes + self.kernels.changes

    def write_control(self, quadrant: int, word: int, value: int) -> None:
        """Write a register word; CTL bit 12 is hardware's and can only be cleared."""
        old = int(self.control[quadrant, word])
        if word == CTL:
            value &= ~CTL_DONE | (old & CTL_DONE)
        elif word == BIST:
            value |= self._zero(quadrant, value)
        elif word >= FIRST_LAYER_REGISTER and value != old:
            self._changes += 1
        self.control[quadrant, word] = value & 0xFFFFFFFF

    def _zero(self, quadrant: int, value: int) -> int:
        """Run the self tests that `value` starts, at once: zero the memories, set wait bits."""
        zero: dict[int, Callable[[], None]] = {
            0: lambda: self.sram[4 * quadrant : 4 * quadrant + 4].fill(0),
            2: lambda: self.kernels.clear(quadrant),
            4: lambda: self.tram[16 * quadrant : 16 * quadrant + 16].fill(0),
            6: lambda: self.write_bias(quadrant, 0, np.zeros(BIASES, np.uint32)),
        }
        waits = 0
        for start, wait in BIST_WAIT.items():
            if value >> start & 1:
                zero[start]()
                waits |= 1 << wait | 1 << 27
        return waits

    def write_bias(self, quadrant: int, first: int, words: Words) -> None:
        """Write consecutive biases, one byte in bits 7:0 of each word."""
        values = (words & 255).astype(np.uint8).view(np.int8)
        here = self.bias[quadrant, first : first + len(values)]
        if not np.array_equal(here, values):
            here[:] = values
            self._changes += 1
