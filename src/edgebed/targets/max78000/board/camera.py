"""The parallel camera interface, and what the sensor sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgebed.data.preprocess import to_frame, to_rgb565
from edgebed.program.contract import ImageInput
from edgebed.targets.max78000.board.clock import Clock, Due
from edgebed.targets.max78000.board.dma import CAMERA
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.options import BoardOptions
from edgebed.targets.max78000.board.ov7692 import Ov7692
from edgebed.targets.max78000.board.state import Shared

UInt8 = npt.NDArray[np.uint8]

_IRQ = 91
_CTRL, _INT_EN, _INT_FL, _FIFO_DATA = 0x08, 0x0C, 0x10, 0x30
_IMG_DONE, _FIFO_FULL, _FIFO_THRESHOLD, _NOT_EMPTY = 1, 2, 4, 8
_RX_DMA, _ON = 1 << 16, 1 << 31
_SINGLE, _CONTINUOUS = 1, 2
_BARS = ((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0),
         (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0))  # fmt: skip


def colour_bars(width: int = 320, height: int = 240) -> UInt8:
    """Return the sensor's test pattern: white, yellow, cyan, green, magenta, red, blue, black."""
    bars = np.array(_BARS, np.uint8)[np.arange(width) * 8 // width]
    return np.ascontiguousarray(np.broadcast_to(bars, (height, width, 3)))


class Camera:
    """PCIF and the picture before the lens.

    A frame takes its pixels' time at the sensor clock; all its bytes arrive at the end (by DMA),
    or can be read from the FIFO at once. RGB565, high byte first, rows top to bottom.

    Attributes:
        contract: how the sensor scales; width and height follow the sensor's registers.
        frames: number of frames delivered.
    """

    name, base, size = "CAMERAIF", 0x4000E000, 0x1000

    def __init__(
        self,
        shared: Shared,
        clock: Clock,
        nvic: Nvic,
        sensor: Ov7692,
        sensor_hz: Callable[[], float],
        options: BoardOptions,
    ) -> None:
        self._shared, self._clock, self._nvic, self._sensor = shared, clock, nvic, sensor
        self._sensor_hz, self._options = sensor_hz, options
        self.contract = ImageInput(options.camera_width, options.camera_height)
        self.deliver: Callable[[int, UInt8], int] = lambda _request, _data: 0
        self._pictures: Iterator[UInt8] = iter(())
        self._picture = colour_bars()
        self.frames = 0
        self._due: Due | None = None
        self.reset()

    def put(self, picture: UInt8) -> None:
        """Hold a picture (uint8, H x W x 3, RGB) before the lens until the next one."""
        self._pictures, self._picture = iter(()), picture

    def play(self, pictures: Iterable[UInt8]) -> None:
        """Show one picture a frame; the last one stays."""
        self._pictures = iter(pictures)

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {0x00: 0x0100, 0x04: 8}
        self._flags = 0
        self._shared.state.camera_length = self._shared.state.camera_position = 0
        self._cancel()

    def load(self, offset: int) -> int:
        """Load a register; FIFO data is served by the bus while there is any."""
        state = self._shared.state
        if offset == _INT_FL:
            more = state.camera_position < state.camera_length
            return self._flags | (_NOT_EMPTY | _FIFO_THRESHOLD if more else 0)
        return 0 if offset == _FIFO_DATA else self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register; switching the interface on starts a frame."""
        if offset == _INT_FL:
            self._flags &= ~value
        else:
            self._words[offset] = value
            if offset == _CTRL:
                self._cancel()
                if value & _ON and value & 3:
                    self._begin()
        self._update()

    def _cancel(self) -> None:
        if self._due:
            self._due.cancel()
            self._due = None

    def _begin(self) -> None:
        self._picture = next(self._pictures, self._picture)
        data = self.frame()
        clocks = len(data) * (1 + self._options.camera_blanking)
        cycles = round(clocks * self._options.cpu_hz / self._sensor_hz())
        if not self._words[_CTRL] & _RX_DMA:
            self._fill_fifo(data)
        self._due = self._clock.after(cycles, lambda: self._end(data))

    def _end(self, data: UInt8) -> None:
        self._due = None
        control = self._words[_CTRL]
        if control & _RX_DMA and self.deliver(CAMERA, data) < len(data):
            self._flags |= _FIFO_FULL
        self._flags |= _IMG_DONE
        self.frames += 1
        if control & 3 == _CONTINUOUS:
            self._begin()
        self._update()

    def _fill_fifo(self, data: UInt8) -> None:
        self._shared.camera_words = words = data.copy().view("<u4")
        state = self._shared.state
        state.camera, state.camera_position = words.ctypes.data, 0
        state.camera_length = len(data) // 4

    def frame(self) -> UInt8:
        """Return the bytes of the picture before the lens as the sensor sends them."""
        width, height = self._sensor.output_size or (self.contract.width, self.contract.height)
        seen = to_frame(self._picture, replace(self.contract, width=width, height=height))
        if self._sensor.mirrored:
            seen = seen[:, ::-1]
        if self._sensor.flipped:
            seen = seen[::-1]
        if self._sensor.swaps_red_and_blue:
            seen = seen[..., ::-1]
        return to_rgb565(seen).astype(">u2").reshape(-1).view(np.uint8)

    def _update(self) -> None:
        self._nvic.line(_IRQ, bool(self._flags & self._words.get(_INT_EN, 0)))
