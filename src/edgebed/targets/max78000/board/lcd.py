"""The display: an ILI9341 controller with 240 x 320 pixels, fed by commands over SPI."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgebed.data.preprocess import from_rgb565

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

WIDTH, HEIGHT = 240, 320
_SWRESET, _SLPIN, _SLPOUT, _INVOFF, _INVON = 0x01, 0x10, 0x11, 0x20, 0x21
_DISPOFF, _DISPON, _CASET, _PASET, _RAMWR = 0x28, 0x29, 0x2A, 0x2B, 0x2C
_MADCTL, _COLMOD, _RAMWR_CONTINUE = 0x36, 0x3A, 0x3C
_MY, _MX, _MV, _BGR = 0x80, 0x40, 0x20, 0x08


def _colour_words() -> UInt32:
    """Return 0x00BBGGRR of every RGB565 word."""
    table = np.zeros((65536, 4), np.uint8)
    table[:, :3] = from_rgb565(np.arange(65536, dtype=np.uint16))
    return table.view("<u4").reshape(-1)


_COLOURS = _colour_words()


class Lcd:
    """Understands the commands that drawing needs, and stores the rest.

    The panel is mounted as on the common modules: MADCTL 0x48 (portrait) or 0x28 (landscape) show
    an upright picture, the subpixels are in blue-green-red order, so bit 3 must be set for true
    colours. A wrong setting shows as it would on the module: mirrored, or red and blue swapped.

    Attributes:
        on: the display is awake and switched on.
        commands: number of commands received.
    """

    def __init__(self) -> None:
        self._memory = np.zeros((HEIGHT, WIDTH), np.uint32)
        self.commands = 0
        self._reset()

    def _reset(self) -> None:
        self._asleep, self._lit, self._inverted = True, False, False
        self._orientation, self._pixel_bytes = 0, 3
        self._command, self._parameters = 0, bytearray()
        self._columns, self._rows = (0, WIDTH - 1), (0, HEIGHT - 1)
        self._position, self._rest = 0, np.zeros(0, np.uint8)

    @property
    def on(self) -> bool:
        """Whether anything can be seen."""
        return self._lit and not self._asleep

    def picture(self) -> UInt8:
        """Return what a viewer sees, uint8, 320 x 240 x 3 or (landscape) 240 x 320 x 3, RGB."""
        words = self._logical()
        seen = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 4)[..., :3]
        if not self.on:
            return np.zeros_like(seen)
        turns = bin(self._orientation & (_MX | _MY | _MV)).count("1")
        if turns % 2 == 0:
            seen = seen[:, ::-1]
        if not self._orientation & _BGR:
            seen = seen[..., ::-1]
        if self._inverted:
            seen = ~seen
        return np.ascontiguousarray(seen)

    def receive(self, entries: npt.NDArray[np.uint16]) -> None:
        """Take bytes in order; bit 8 set = the data/command pin was high (data)."""
        levels = entries >> 8
        edges = np.flatnonzero(np.diff(levels)) + 1
        bounds = [0, *edges.tolist(), len(entries)]
        for first, last in pairwise(bounds):
            self.take(entries[first:last].astype(np.uint8), data=bool(levels[first]))

    def take(self, part: UInt8, *, data: bool) -> None:
        """Take bytes in order, all with the data/command pin at the same level."""
        if data:
            self._data(part)
            return
        for command in part.tolist():
            self._begin(command)

    def _begin(self, command: int) -> None:
        self.commands += 1
        self._command, self._parameters = command, bytearray()
        if command == _SWRESET:
            self._reset()
        elif command in (_SLPIN, _SLPOUT):
            self._asleep = command == _SLPIN
        elif command in (_DISPOFF, _DISPON):
            self._lit = command == _DISPON
        elif command in (_INVOFF, _INVON):
            self._inverted = command == _INVON
        elif command == _RAMWR:
            self._position, self._rest = 0, np.zeros(0, np.uint8)

    def _data(self, data: UInt8) -> None:
        if self._command in (_RAMWR, _RAMWR_CONTINUE):
            self._write(data)
            return
        self._parameters += data.tobytes()
        given = self._parameters
        if self._command in (_CASET, _PASET) and len(given) >= 4:
            window = (given[0] << 8 | given[1], given[2] << 8 | given[3])
            if self._command == _CASET:
                self._columns = window
            else:
                self._rows = window
        elif self._command == _MADCTL and given:
            self._orientation = given[0]
        elif self._command == _COLMOD and given:
            self._pixel_bytes = 2 if given[0] & 7 == 5 else 3

    def _write(self, data: UInt8) -> None:
        """Store pixels along the window, row by row, starting over at its end."""
        data = np.concatenate([self._rest, data]) if len(self._rest) else data
        count = len(data) // self._pixel_bytes
        used, rest = data[: count * self._pixel_bytes], data[count * self._pixel_bytes :]
        self._rest = rest.copy()  # `data` may be memory that the core goes on writing
        pixels = self._colours(used)
        width = self._columns[1] - self._columns[0] + 1
        height = self._rows[1] - self._rows[0] + 1
        if width <= 0 or height <= 0 or not count:
            return
        at, self._position = self._position, (self._position + count) % (width * height)
        head = min(-at % width, count)
        end = count - (at + count) % width
        if at + count > width * height or end <= head:
            self._scatter(at, pixels, width, height)
            return
        # Whole rows in one go; what is left of the first and last row, pixel by pixel.
        self._scatter(at, pixels[:head], width, height)
        row, column = self._rows[0] + (at + head) // width, self._columns[0]
        block = pixels[head:end].reshape(-1, width)
        target = self._logical()[row : row + len(block), column : column + width]
        target[:] = block[: target.shape[0], : target.shape[1]]
        self._scatter(at + end, pixels[end:], width, height)

    def _scatter(self, at: int, pixels: UInt32, width: int, height: int) -> None:
        """Store pixels one by one: parts of rows, or around the window's end."""
        index = (at + np.arange(len(pixels))) % (width * height)
        rows, columns = index // width + self._rows[0], index % width + self._columns[0]
        target = self._logical()
        inside = (rows < target.shape[0]) & (columns < target.shape[1])
        target[rows[inside], columns[inside]] = pixels[inside]

    def _colours(self, data: UInt8) -> UInt32:
        if self._pixel_bytes == 2:
            return np.asarray(_COLOURS[data.view(">u2")], np.uint32)
        six = np.zeros((len(data) // 3, 4), np.uint8)
        six[:, :3] = data.reshape(-1, 3) & 0xFC
        six[:, :3] |= six[:, :3] >> 6
        return six.view("<u4").reshape(-1)

    def _logical(self) -> UInt32:
        """Return the memory as the address counters see it (a view)."""
        view = self._memory
        if self._orientation & _MY:
            view = view[::-1]
        if self._orientation & _MX:
            view = view[:, ::-1]
        return view.T if self._orientation & _MV else view
