"""I2C masters: transfers happen when the master starts, byte by byte from its FIFO."""

from __future__ import annotations

from typing import Protocol

from edgebed.targets.max78000.board.nvic import Nvic

_CTRL, _STATUS, _INTFL0, _INTEN0 = 0x00, 0x04, 0x08, 0x0C
_RXCTRL0, _RXCTRL1, _TXCTRL0, _FIFO, _MSTCTRL = 0x1C, 0x20, 0x24, 0x2C, 0x30
_START, _RESTART, _STOP = 1, 2, 4
_DONE, _RX_THRESHOLD, _TX_THRESHOLD, _STOPPED = 1 << 0, 1 << 4, 1 << 5, 1 << 6
_ADDRESS_ACK, _ADDRESS_NACK = 1 << 7, 1 << 10
_FLUSH = 1 << 7


class Device(Protocol):
    """Something on the two wires."""

    def begin(self) -> None:
        """A write transfer starts."""

    def put(self, value: int) -> None:
        """Receive a byte."""

    def get(self) -> int:
        """Send a byte."""


class I2c:
    """One master.

    Args:
        index: 0 to 2.
        base: address.
        irq: interrupt number.
        nvic: interrupt controller.
        devices: what answers, by 7-bit address.
    """

    size = 0x400

    def __init__(
        self, index: int, base: int, irq: int, nvic: Nvic, devices: dict[int, Device]
    ) -> None:
        self.name, self.base, self.irq = f"I2C{index}", base, irq
        self._nvic, self._devices = nvic, devices
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {}
        self._flags = 0
        self._tx: list[int] = []
        self._rx: list[int] = []
        self._device: Device | None = None
        self._fresh = self._active = False

    def load(self, offset: int) -> int:
        """Load a register."""
        if offset == _STATUS:
            return (0 if self._rx else 2) | (0 if self._tx else 8)
        if offset == _INTFL0:
            return self._flags | (0 if self._tx else _TX_THRESHOLD)
        if offset == _FIFO:
            return self._rx.pop(0) if self._rx else 0
        if offset == _CTRL:
            return self._words.get(_CTRL, 0) | 0x300  # both lines are high
        if offset == 0x18:
            return 0x0808
        if offset == _RXCTRL1:
            return self._words.get(_RXCTRL1, 0) & 0xFF | min(len(self._rx), 8) << 8
        return self._words.get(offset, 0)

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == _FIFO:
            self._tx.append(value & 255)
            self._advance()
        elif offset == _INTFL0:
            self._flags &= ~value
        elif offset == _MSTCTRL:
            self._command(value)
        elif offset in (_TXCTRL0, _RXCTRL0):
            self._words[offset] = value & ~_FLUSH
            if value & _FLUSH:
                (self._tx if offset == _TXCTRL0 else self._rx).clear()
        else:
            self._words[offset] = value
        self._nvic.line(self.irq, bool(self._flags & self._words.get(_INTEN0, 0)))

    def _command(self, value: int) -> None:
        if value & (_START | _RESTART):
            self._active = self._fresh = True
        self._advance()
        if value & _STOP and self._active:
            self._active = False
            self._flags |= _STOPPED | _DONE

    def _advance(self) -> None:
        """Move what is in the FIFO over the wires."""
        while self._active and self._tx:
            byte = self._tx.pop(0)
            if self._fresh:
                self._address(byte)
            elif self._device:
                self._device.put(byte)
                self._flags |= _DONE

    def _address(self, byte: int) -> None:
        self._fresh = False
        self._device = self._devices.get(byte >> 1)
        if self._device is None:
            self._flags |= _ADDRESS_NACK | _DONE
            self._active = False
            self._tx.clear()
            return
        self._flags |= _ADDRESS_ACK
        if not byte & 1:
            self._device.begin()
            return
        count = self._words.get(_RXCTRL1, 0) & 0xFF or 256
        self._rx += [self._device.get() for _ in range(count)]
        self._flags |= _RX_THRESHOLD | _DONE
