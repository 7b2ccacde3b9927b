"""The DMA controller: four channels between memory and the camera, display, UART or memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgebed.targets.max78000.board.clock import Clock
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import TIME_UNITS, Shared

if TYPE_CHECKING:
    from edgebed.targets.max78000.board.camera import Camera
    from edgebed.targets.max78000.board.spi import Spi
    from edgebed.targets.max78000.board.uart import Uart

_IRQ = 28
_INTEN, _INTFL, _CHANNELS, _STRIDE = 0x00, 0x04, 0x100, 0x20
_CTRL, _STATUS, _SRC, _DST, _CNT, _SRCRLD, _DSTRLD, _CNTRLD = range(0, 0x20, 4)
_ENABLE, _RELOAD, _SRC_INC, _DST_INC, _CTZ_IE, _DIS_IE = 1, 2, 1 << 18, 1 << 22, 1 << 31, 1 << 30
_IPEND, _CTZ, _RELOADED, _BUS_ERROR = 2, 4, 8, 16
MEMORY, UART0_RX, CAMERA, SPI0_RX, UART0_TX, SPI0_TX = 0x00, 0x04, 0x0D, 0x0F, 0x24, 0x2F
_COUNT_MASK = 0xFFFFFF

Bytes = npt.NDArray[np.uint8]


@dataclass
class _Channel:
    """Registers of one channel; `busy` while a transfer is under way."""

    words: dict[int, int] = field(default_factory=dict)
    busy: bool = False

    def __getitem__(self, offset: int) -> int:
        return self.words.get(offset, 0)

    @property
    def request(self) -> int:
        """What asks for data, -1 while off."""
        return self[_CTRL] >> 4 & 63 if self[_CTRL] & _ENABLE and not self.busy else -1


class Dma:
    """Transfers are done in one piece when both sides are ready; they end when time says so."""

    name, base, size = "DMA", 0x40028000, 0x1000

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        nvic: Nvic,
        cnn_sram: npt.NDArray[np.uint32],
        note: Callable[[str], None],
    ) -> None:
        self._clock, self._nvic, self._note = clock, nvic, note
        self._state = shared.state
        self._memories: list[tuple[int, Bytes]] = [
            (shared.FLASH, shared.flash),
            (shared.SRAM, shared.sram),
            *((0x50400000 + q * 0x400000, cnn_sram[4 * q : 4 * q + 4].view(np.uint8).reshape(-1))
              for q in range(4)),
        ]  # fmt: skip
        self.reset()

    def connect(self, camera: Camera, spi: Spi, uart: Uart) -> None:
        """Wire the request lines."""
        self._spi, self._uart = spi, uart
        camera.deliver, spi.kick = self.deliver, self.kick

    def reset(self) -> None:
        """Return to the state after reset."""
        self._enabled = 0
        self._channels = [_Channel() for _ in range(4)]

    def load(self, offset: int) -> int:
        """Load a register."""
        if offset == _INTEN:
            return self._enabled
        if offset == _INTFL:
            return sum(self._requests(i) << i for i in range(4))
        channel, register = self._at(offset)
        if register == _STATUS:
            pending = self._requests(self._channels.index(channel))
            return channel[_STATUS] | channel[_CTRL] & 1 | (_IPEND if pending else 0)
        return channel[register]

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == _INTEN:
            self._enabled = value & 15
        elif offset >= _CHANNELS:
            channel, register = self._at(offset)
            if register == _STATUS:
                value = channel[_STATUS] & ~value
            elif register == _CTRL and not value & _ENABLE:
                channel.busy = False
            channel.words[register] = value
            self.kick()
        self._update()

    def deliver(self, request: int, data: Bytes) -> int:
        """Store data that a peripheral has received; return how many bytes found a channel."""
        taken = 0
        for channel in self._channels:
            while channel.request == request and taken < len(data):
                count = min(channel[_CNT] & _COUNT_MASK, len(data) - taken)
                self._put(channel, data[taken : taken + count])
                taken += count
                if not channel[_CNT] & _COUNT_MASK:
                    self._complete(channel)
        self._update()
        return taken

    def kick(self) -> None:
        """Start what can start."""
        for channel in self._channels:
            request = channel.request
            if request == MEMORY:
                self._put(channel, self._take(channel), counted=False)
                self._finish(channel, self._clock.cycles + channel[_CNT] // 4 + 4)
            elif request == SPI0_TX and self._spi.wants_dma:
                self._spi.send(self._take(channel))
                self._finish(channel, self._state.spi_free // TIME_UNITS)
            elif request == UART0_TX:
                self._uart.dma_send(self._take(channel).tobytes())
                self._finish(channel, self._clock.cycles + 4)
            elif request == UART0_RX and self._uart.unread:
                data = self._uart.dma_take(channel[_CNT] & _COUNT_MASK)
                self.deliver(UART0_RX, np.frombuffer(data, np.uint8))

    def _at(self, offset: int) -> tuple[_Channel, int]:
        index, register = divmod(offset - _CHANNELS, _STRIDE)
        return self._channels[index & 3], register

    def _take(self, channel: _Channel) -> Bytes:
        count = channel[_CNT] & _COUNT_MASK
        if channel[_CTRL] & _SRC_INC:
            return self._memory(channel, channel[_SRC], count)
        width = 1 << (channel[_CTRL] >> 16 & 3)
        return np.resize(self._memory(channel, channel[_SRC], width), count)

    def _put(self, channel: _Channel, data: Bytes, *, counted: bool = True) -> None:
        target = self._memory(channel, channel[_DST], len(data))
        target[: len(data)] = data[: len(target)]
        if counted:
            channel.words[_CNT] = channel[_CNT] - len(data)
            if channel[_CTRL] & _DST_INC:
                channel.words[_DST] = channel[_DST] + len(data)

    def _memory(self, channel: _Channel, address: int, count: int) -> Bytes:
        for base, memory in self._memories:
            if base <= address and address + count <= base + memory.size:
                return memory[address - base : address - base + count]
        channel.words[_STATUS] = channel[_STATUS] | _BUS_ERROR
        self._note(f"DMA moves {count} bytes at {address:#010x}, where the board has no memory")
        return np.zeros(count, np.uint8)

    def _finish(self, channel: _Channel, cycles: int) -> None:
        """Let the transfer be complete at `cycles`."""
        channel.busy = True

        def done() -> None:
            if channel.busy:
                channel.busy = False
                count = channel[_CNT] & _COUNT_MASK
                if channel[_CTRL] & _SRC_INC:
                    channel.words[_SRC] = channel[_SRC] + count
                channel.words[_CNT] = 0
                self._complete(channel)
                self.kick()
                self._update()

        self._clock.at(cycles * TIME_UNITS, done)

    def _complete(self, channel: _Channel) -> None:
        """The count reached zero: reload or switch off."""
        channel.words[_STATUS] = channel[_STATUS] | _CTZ
        if channel[_CTRL] & _RELOAD and channel[_CNTRLD] >> 31:
            channel.words[_STATUS] |= _RELOADED
            channel.words[_SRC], channel.words[_DST] = channel[_SRCRLD], channel[_DSTRLD]
            channel.words[_CNT] = channel[_CNTRLD] & _COUNT_MASK
            channel.words[_CNTRLD] = channel[_CNTRLD] & _COUNT_MASK
        else:
            channel.words[_CTRL] = channel[_CTRL] & ~_ENABLE

    def _requests(self, index: int) -> int:
        channel = self._channels[index]
        status, control = channel[_STATUS], channel[_CTRL]
        wanted = status & _CTZ and control & _CTZ_IE
        off = control & _DIS_IE and not control & _ENABLE and status & (_CTZ | _BUS_ERROR)
        return int(bool(wanted or off or status & _BUS_ERROR))

    def _update(self) -> None:
        for i in range(4):
            self._nvic.line(_IRQ + i, bool(self._requests(i) and self._enabled >> i & 1))
