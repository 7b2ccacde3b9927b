"""All peripherals of the chip and what is wired to its pins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.board.camera import Camera
from edgebed.targets.max78000.board.clock import Clock
from edgebed.targets.max78000.board.cnn import BASE, END, Cnn
from edgebed.targets.max78000.board.cycle_counter import CycleCounter
from edgebed.targets.max78000.board.dma import Dma
from edgebed.targets.max78000.board.exceptions import Exceptions
from edgebed.targets.max78000.board.flash import FlashController
from edgebed.targets.max78000.board.gcr import Gcr, PowerSwitches
from edgebed.targets.max78000.board.gpio import Gpio
from edgebed.targets.max78000.board.i2c import I2c
from edgebed.targets.max78000.board.icc import InstructionCache
from edgebed.targets.max78000.board.lcd import Lcd
from edgebed.targets.max78000.board.nvic import EXTERNAL, Nvic
from edgebed.targets.max78000.board.options import BoardOptions
from edgebed.targets.max78000.board.ov7692 import Ov7692
from edgebed.targets.max78000.board.peripheral import Peripheral, Storage
from edgebed.targets.max78000.board.pulse_train import PulseTrains
from edgebed.targets.max78000.board.rtc import Rtc
from edgebed.targets.max78000.board.spi import Spi
from edgebed.targets.max78000.board.state import Shared
from edgebed.targets.max78000.board.system_control import SystemControl
from edgebed.targets.max78000.board.terminal import Terminal
from edgebed.targets.max78000.board.timers import Timer
from edgebed.targets.max78000.board.uart import Uart

_BLOCK = 0x400  # every peripheral starts at a multiple of this


class Chip:
    """The peripherals by name; `load` and `store` find them by address."""

    def __init__(
        self,
        shared: Shared,
        options: BoardOptions,
        restart: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        state = self._state = shared.state
        self._restart = restart
        state.uart_waits = options.uart_polls
        state.fifo_depth = options.fifo_depth
        state.dc_port, state.dc_mask = options.lcd_dc[0], 1 << options.lcd_dc[1]
        self.clock, self.nvic = Clock(state), Nvic(state)
        self.gcr = Gcr(self._clocks_changed, self._resets())
        self.power = PowerSwitches(self._clocks_changed)
        self.cnn = Cnn(shared, self.clock, self.nvic, self.gcr, self.power, note)
        self.uart = Uart("UART0", 0x40042000, 14, shared, self.nvic)
        self.gpio = [
            Gpio(i, base, 24 + i, state, self.nvic)
            for i, base in enumerate((0x40008000, 0x40009000, 0x40080400))
        ]
        self.timers = [
            Timer(i, 0x40010000 + 0x1000 * i, 5 + i, state, self.clock, self.nvic) for i in range(4)
        ]
        self.lcd = Lcd()
        self.spi = Spi(shared, self.clock, self.nvic, self.lcd)
        self.sensor = Ov7692()
        self.i2c = [
            I2c(i, 0x4001D000 + 0x1000 * i, irq, self.nvic, {Ov7692.ADDRESS: self.sensor})
            for i, irq in enumerate((13, 36, 62))
        ]
        self.pulse_trains = PulseTrains()
        self.camera = Camera(shared, self.clock, self.nvic, self.sensor, self._camera_hz, options)
        self.dma = Dma(shared, self.clock, self.nvic, self.cnn.sram, note)
        self.dma.connect(self.camera, self.spi, self.uart)
        self.cycle_counter = CycleCounter(state)
        self.rtc = Rtc(self.clock, options)
        self.terminal: Terminal | None = None
        self._options, self._shared, self._note = options, shared, note

    def attach(self, exceptions: Exceptions) -> None:
        """Finish with what needs the core."""
        self.system = SystemControl(self._state, self.clock, self.nvic, exceptions, self._restart)
        flash = FlashController(self._shared, self.clock, self.nvic)
        self._peripherals: list[Peripheral] = [
            self.gcr,
            self.power,
            self.uart,
            *self.gpio,
            *self.timers,
            self.spi,
            *self.i2c,
            self.pulse_trains,
            self.camera,
            self.dma,
            self.rtc,
            InstructionCache(),
            flash,
            self.cycle_counter,
            self.system,
            *_plain(),
        ]
        self._blocks = {
            (p.base + offset) // _BLOCK: p
            for p in self._peripherals
            for offset in range(0, p.size, _BLOCK)
        }

    def load(self, address: int, size: int) -> int:
        """Load `size` bytes at `address`."""
        if BASE <= address < END:
            return self.cnn.load(address, size)
        peripheral = self._find(address)
        word = peripheral.load((address - peripheral.base) & ~3)
        return word >> 8 * (address & 3) & (1 << 8 * size) - 1

    def store(self, address: int, size: int, value: int) -> None:
        """Store `size` bytes at `address`; parts of a word leave the rest as it is."""
        if BASE <= address < END:
            self.cnn.store(address, size, value)
            return
        peripheral = self._find(address)
        offset = address - peripheral.base
        if size < 4:
            shift, mask = 8 * (offset & 3), (1 << 8 * size) - 1
            word = peripheral.load(offset & ~3) & ~(mask << shift)
            value = word | (value & mask) << shift
        peripheral.store(offset & ~3, value & 0xFFFFFFFF)

    def service(self) -> None:
        """Move data between the bus's buffers and the outside."""
        if self._state.rx_head != self._state.rx_tail or self.uart.unread:
            self.uart.refill()
        self.uart.collect()
        if self.terminal:
            self.terminal.exchange(self.uart)
        self.spi.flush()
        self.cnn.service()

    def reset(self) -> None:
        """Reset all peripherals, as a system reset does."""
        self.nvic.reset()
        for peripheral in self._peripherals:
            peripheral.reset()
        self.cnn.reset()

    @property
    def uart_can_wake(self) -> bool:
        """Whether a byte on the UART would end WFI."""
        enabled = self.nvic.enabled >> EXTERNAL + self.uart.irq & 1
        return bool(enabled and self.uart.interrupts_on_receive)

    def serve_uart(self, port: int = 0) -> int:
        """Offer UART0 on 127.0.0.1; return the port (a free one for 0)."""
        self.terminal = Terminal(port)
        return self.terminal.port

    def close(self) -> None:
        """Close the terminal."""
        if self.terminal:
            self.terminal.close()

    def _find(self, address: int) -> Peripheral:
        peripheral = self._blocks.get(address // _BLOCK)
        if peripheral is None or address - peripheral.base >= peripheral.size:
            raise EdgebedError(
                f"no peripheral at {address:#010x}",
                why="the real chip answers such an access with a bus fault",
            )
        return peripheral

    def _camera_hz(self) -> float:
        return self.pulse_trains.frequency(0, self.gcr.cpu_hz / 2) or self._options.camera_clock_hz

    def _clocks_changed(self) -> None:
        if hasattr(self, "cnn"):
            self.cnn.power_changed()

    def _reset_timer(self, index: int) -> None:
        self.timers[index].reset()

    def _resets(self) -> dict[int, Callable[[], None]]:
        """What the bits of RST0 (0 to 31) and RST1 (32 to 63) reset."""
        system = lambda: self._restart("GCR RST0")  # noqa: E731
        return {
            0: lambda: self.dma.reset(),
            2: lambda: self.gpio[0].reset(),
            3: lambda: self.gpio[1].reset(),
            **{5 + i: partial(self._reset_timer, i) for i in range(4)},
            11: lambda: self.uart.reset(),
            16: lambda: self.i2c[0].reset(),
            25: lambda: self.cnn.reset(),
            29: system,
            31: system,
            32: lambda: self.i2c[1].reset(),
            43: lambda: self.spi.reset(),
            52: lambda: self.i2c[2].reset(),
        }


def _plain() -> list[Storage]:
    """Peripherals that only have to keep their settings."""
    return [
        Storage("SIR", 0x40000400, fixed={0x000: 1, 0x100: 1}),
        Storage("FCR", 0x40000800),
        Storage("WDT0", 0x40003000, fixed={0x00C: 0}),
        Storage("DVS", 0x40003C00),
        Storage("SIMO", 0x40004400, {0x04: 0x43}, fixed={0x40: 0xF}),
        Storage("TRIMSIR", 0x40005400),
        Storage("WUT", 0x40006400, {0x00: 1, 0x04: 0xFFFF}),
        Storage("PWRSEQ", 0x40006800),
        Storage("MCR", 0x40006C00),
        Storage("AES", 0x40007400),
        Storage("AESKEYS", 0x40007800),
        Storage("CRC", 0x4000F000),
        Storage("ADC", 0x40034000),
        Storage("OWM", 0x4003D000),
        Storage("SEMA", 0x4003E000),
        Storage("UART1", 0x40043000, fixed={0x04: 0x50}),
        Storage("UART2", 0x40044000, fixed={0x04: 0x50}),
        Storage("SPI1", 0x40046000),
        Storage("TRNG", 0x4004D000),
        Storage("I2S", 0x40060000),
        Storage("LPGCR", 0x40080000),
        Storage("WDT1", 0x40080800),
        Storage("TMR4", 0x40080C00),
        Storage("TMR5", 0x40081000),
        Storage("UART3", 0x40081400, fixed={0x04: 0x50}),
        Storage("LPCMP", 0x40088000),
        Storage("FPB", 0xE0002000, size=0x1000),
        Storage("ITM", 0xE0000000, size=0x1000),
        Storage("TPIU", 0xE0040000, size=0x1000),
    ]
