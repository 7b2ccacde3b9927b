"""UART0: the registers behind the byte stream, and the stream's Python end."""

from __future__ import annotations

import numpy as np

from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import Shared

_RX_THRESHOLD, _TX_HALF_EMPTY, _TX_ONE_LEFT = 1 << 4, 1 << 6, 1 << 5
_DEPTH = 8


class Uart:
    """A UART of the chip; data and status of UART0 are served by the bus itself.

    Bytes take no time: the sender never waits and received bytes are all there at once, at most
    eight of them visible in the level field as in the real FIFO.
    """

    size = 0x400

    def __init__(self, name: str, base: int, irq: int, shared: Shared, nvic: Nvic) -> None:
        self.name, self.base, self.irq = name, base, irq
        self._shared, self._nvic = shared, nvic
        self._waiting = bytearray()  # fed, not yet in the ring
        self._sent = bytearray()
        self._copy, self.copying = bytearray(), False
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset; bytes on the wire are lost."""
        self._words: dict[int, int] = {}
        self._flags = 0

    # ---- Python end ----

    def feed(self, data: bytes) -> None:
        """Send bytes to the board."""
        self._waiting += data
        self.refill()

    def read(self, count: int | None = None) -> bytes:
        """Take up to `count` bytes (all without it) that the board has sent."""
        self.collect()
        count = len(self._sent) if count is None else count
        taken = bytes(self._sent[:count])
        del self._sent[:count]
        return taken

    @property
    def available(self) -> int:
        """Number of bytes `read` would return."""
        return len(self._sent) + int(self._shared.state.tx_length)

    @property
    def unread(self) -> int:
        """Number of fed bytes that the board has not read."""
        state = self._shared.state
        return len(self._waiting) + state.rx_head - state.rx_tail

    def collect(self) -> None:
        """Move sent bytes out of the bus."""
        state = self._shared.state
        if state.tx_length:
            data = self._shared.tx[: state.tx_length].tobytes()
            state.tx_length = 0
            self._note(data)

    def take_copy(self) -> bytes:
        """Take what was sent since the last call, for a terminal; `read` still returns it too."""
        self.copying = True
        copy = bytes(self._copy)
        self._copy.clear()
        return copy

    def _note(self, data: bytes) -> None:
        self._sent += data
        if self.copying:
            self._copy += data

    def refill(self) -> None:
        """Move fed bytes into the ring, as many as fit, and raise the interrupt."""
        state, ring = self._shared.state, self._shared.rx
        room = ring.size - (state.rx_head - state.rx_tail)
        part = self._waiting[:room]
        if part:
            index = (state.rx_head + np.arange(len(part))) & state.rx_mask
            ring[index] = np.frombuffer(bytes(part), np.uint8)
            state.rx_head += len(part)
            del self._waiting[: len(part)]
        self.update()

    # ---- registers ----

    def load(self, offset: int) -> int:
        """Load a register that the bus does not serve itself."""
        if offset == 0x00:
            word = self._words.get(0, 0)
            return word | (1 << 19 if word >> 15 & 1 else 0)
        if offset == 0x0C:
            self.update()
            return self._flags
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == 0x0C:
            self._flags &= ~value
        elif offset == 0x00:
            self._control(value)
        else:
            self._words[offset] = value
        self.update()

    def update(self) -> None:
        """Derive flags from the FIFO levels and drive the interrupt line."""
        state = self._shared.state
        threshold = self._words.get(0, 0) & 15
        if min(state.rx_head - state.rx_tail, _DEPTH) >= max(threshold, 1):
            self._flags |= _RX_THRESHOLD
        self._flags |= _TX_HALF_EMPTY
        self._nvic.line(self.irq, bool(self._flags & self._words.get(0x08, 0)))

    @property
    def interrupts_on_receive(self) -> bool:
        """Whether a received byte would wake the core."""
        return bool(self._words.get(0x08, 0) & _RX_THRESHOLD)

    def _control(self, value: int) -> None:
        state = self._shared.state
        if value >> 9 & 1:
            state.rx_tail = state.rx_head
        self._words[0] = value & ~0x300  # the flush bits clear themselves

    def dma_take(self, count: int) -> bytes:
        """Take received bytes for DMA."""
        state = self._shared.state
        count = min(count, state.rx_head - state.rx_tail)
        index = (state.rx_tail + np.arange(count)) & state.rx_mask
        state.rx_tail += count
        return bytes(self._shared.rx[index])

    def dma_send(self, data: bytes) -> None:
        """Send bytes that DMA brings."""
        self.collect()
        self._note(data)
