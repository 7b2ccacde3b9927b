"""SPI0, the display's bus: bytes go out with the level of the data/command pin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.board.clock import Clock
from edgebed.targets.max78000.board.lcd import Lcd
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import TIME_UNITS, Shared

_IRQ = 56
_CTRL0, _CTRL1, _CLKCTRL, _DMA, _INTFL, _INTEN = 0x04, 0x08, 0x14, 0x1C, 0x20, 0x24
_ENABLE, _START = 1, 1 << 5
_TX_EMPTY, _TX_THRESHOLD, _DONE = 1 << 1, 1 << 0, 1 << 11
_TX_FLUSH, _RX_FLUSH, _DMA_TX = 1 << 7, 1 << 23, 1 << 15
_DEPTH = 32
_CPU_PER_CLOCK = 1  # SPI0 hangs on the system bus, not on the peripheral bus


class Spi:
    """FIFO stores and the busy flag are served by the bus itself; nothing is ever received."""

    name, base, size = "SPI0", 0x400BE000, 0x400

    def __init__(self, shared: Shared, clock: Clock, nvic: Nvic, lcd: Lcd) -> None:
        self._shared, self._clock, self._nvic, self._lcd = shared, clock, nvic, lcd
        self.kick: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        state = self._shared.state
        self._words: dict[int, int] = {}
        self._flags, self._sent, self._goal = 0, 0, 0
        state.spi_length, state.spi_free = 0, state.now
        self._running = False
        self._set_speed(0)

    @property
    def wants_dma(self) -> bool:
        """Whether a transfer is running that DMA feeds."""
        return bool(self._running and self._words.get(_DMA, 0) & _DMA_TX)

    def load(self, offset: int) -> int:
        """Load a register; waiting for the FIFO or the end skips ahead in virtual time."""
        if offset == _DMA:
            return self._words.get(_DMA, 0) | self._level() << 8
        if offset == _INTFL:
            self._poll()
            return self._flags
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == _INTFL:
            self._flags &= ~value
        elif offset == _DMA:
            self._words[_DMA] = value & ~(_TX_FLUSH | _RX_FLUSH | 0x3F << 8 | 0x3F << 24)
            self.kick()
        elif offset == _CTRL0:
            self._words[_CTRL0] = value & ~_START
            if value & _START and value & _ENABLE:
                self._start()
        else:
            self._words[offset] = value
            if offset == _CLKCTRL:
                self._set_speed(value)
        self._update()

    def send(self, data: npt.NDArray[np.uint8]) -> None:
        """Send bytes that DMA brings, at the pin's present level."""
        state = self._shared.state
        self.flush()
        self._lcd.take(data, data=bool(state.gpio_out[state.dc_port] & state.dc_mask))
        self._sent += len(data)
        state.spi_free = max(state.spi_free, state.now) + len(data) * state.spi_byte_time
        self._check_done()

    def flush(self) -> None:
        """Hand stored bytes to the display and note the end of the transfer."""
        state = self._shared.state
        count = state.spi_length
        if count:
            state.spi_length = 0
            self._lcd.receive(self._shared.spi[:count].copy())
            self._sent += count
        if self._running:
            self._check_done()

    def _start(self) -> None:
        # Bytes stored before the start belong to this transfer.
        length = self._words.get(_CTRL1, 0) & 0xFFFF
        self._goal = max(self._goal, self._sent_before) + length
        self._running = True
        self._flags &= ~_DONE
        self.kick()
        self.flush()

    @property
    def _sent_before(self) -> int:
        return self._goal if self._sent + self._shared.state.spi_length > self._goal else self._sent

    def _check_done(self) -> None:
        if not self._running or self._sent < self._goal:
            return
        self._running = False
        self._clock.at(max(self._shared.state.spi_free, self._shared.state.now), self._done)

    def _done(self) -> None:
        self._flags |= _DONE
        self._update()

    def _poll(self) -> None:
        """A poll of the flags: let the transfer end first, as waiting would."""
        self.flush()
        state = self._shared.state
        if state.spi_free > state.now:
            state.now = min(state.spi_free, state.limit)
        self._clock.fire()

    def _level(self) -> int:
        state = self._shared.state
        if state.spi_byte_time and state.spi_free > state.now:
            room = _DEPTH // 2 * state.spi_byte_time
            if state.spi_free - state.now > room:
                state.now = max(state.now, min(state.spi_free - room, state.limit))
            return min(-(-(state.spi_free - state.now) // state.spi_byte_time), _DEPTH)
        return 0

    def _set_speed(self, value: int) -> None:
        low, high, divider = value & 255, value >> 8 & 255, value >> 16 & 15
        clocks = ((low or 1) + (high or 1)) << divider
        self._shared.state.spi_byte_time = 8 * clocks * _CPU_PER_CLOCK * TIME_UNITS

    def _update(self) -> None:
        flags = self._flags | _TX_EMPTY | _TX_THRESHOLD
        self._nvic.line(_IRQ, bool(flags & self._words.get(_INTEN, 0)))
