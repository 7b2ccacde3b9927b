"""The busy registers in plain Python, for machines without a C compiler: bus.c, line for line.

Slow (some ten times), but the same values, instruction counts and virtual times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from edgebed.targets._shared.cpu import Cpu, Read, Write
from edgebed.targets.max78000.board.state import TIME_UNITS, Shared

_UART0, _SPI0, _CAMERA, _TMR0 = 0x40042000, 0x400BE000, 0x4000E000, 0x40010000
_GPIO = {0x40008000: 0, 0x40009000: 1, 0x40080400: 2}
_SYSTICK, _CYCCNT, _CNN = 0xE000E010, 0xE0001004, 0x50000000
_UART_DEPTH = 8


class PythonBus:
    """See `Bus`; every method is one function of bus.c."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._state = shared, shared.state
        self._lengths: dict[tuple[int, int], int] = {}
        self._reads: dict[int, Callable[[], int | None]] = {
            _UART0 + 0x04: self._uart_status,
            _UART0 + 0x20: self._uart_receive,
            _SPI0 + 0x30: self._spi_busy,
            _CAMERA + 0x30: self._camera_word,
            _SYSTICK: self._tick_control,
            _SYSTICK + 8: self._tick_value,
            _CYCCNT: self._cycle_count,
            _CNN + 4: self._fifo_status,
            **{_TMR0 + 0x1000 * i: partial(self._timer_count, i) for i in range(4)},
        }

    def connect(
        self, cpu: Cpu, regions: list[tuple[int, int]], slow_read: Read, slow_write: Write
    ) -> None:
        """See `Bus.connect`."""
        self._cpu, self._slow_read, self._slow_write = cpu, slow_read, slow_write
        for address, size in regions:
            cpu.map_bus(address, size, self._read, self._write)
        cpu.on_block(self._block)

    def _read(self, address: int, size: int) -> int:
        fast = self._reads.get(address)
        value = fast() if fast else None
        return self._slow_read(address, size) if value is None else value

    def _write(self, address: int, size: int, value: int) -> None:
        if _CNN <= address < 0x52000000:
            done = self._cnn_write(address, size, value)
        elif address == _UART0 + 0x20:
            done = self._uart_send(value)
        elif _SPI0 <= address < _SPI0 + 4:
            done = self._spi_send(value, size)
        else:
            done = self._gpio_write(address, value)
        if not done:
            self._slow_write(address, size, value)

    def _skip_to(self, time: int) -> None:
        state = self._state
        state.now = max(state.now, min(time, state.limit))

    # ---- UART0 ----

    def _uart_status(self) -> int:
        state = self._state
        level = min(state.rx_head - state.rx_tail, _UART_DEPTH)
        if level:
            state.uart_polls = 0
            return 0x40 | (0x20 if level == _UART_DEPTH else 0) | level << 8
        state.uart_polls += 1
        if state.uart_polls >= state.uart_waits:
            state.attention |= 1
        return 0x50

    def _uart_receive(self) -> int:
        state = self._state
        if state.rx_head == state.rx_tail:
            return 0
        value = int(self._shared.rx[state.rx_tail & state.rx_mask])
        state.rx_tail += 1
        return value

    def _uart_send(self, value: int) -> bool:
        state = self._state
        state.uart_polls = 0
        self._shared.tx[state.tx_length] = value & 255
        state.tx_length += 1
        if state.tx_length == state.tx_size:
            state.attention |= 1
        return True

    # ---- SPI0 ----

    def _spi_busy(self) -> int:
        self._skip_to(self._state.spi_free)
        return int(self._state.spi_free > self._state.now)

    def _spi_send(self, value: int, size: int) -> bool:
        state = self._state
        level = 0x100 if state.gpio_out[state.dc_port] & state.dc_mask else 0
        state.spi_free = max(state.spi_free, state.now) + size * state.spi_byte_time
        for i in range(size):
            self._shared.spi[state.spi_length] = level | value >> 8 * i & 255
            state.spi_length += 1
        if state.spi_length + 8 > state.spi_size:
            state.attention |= 1
        return True

    # ---- accelerator ----

    def _fifo_taken(self) -> int:
        state = self._state
        if not state.fifo_started or state.now <= state.fifo_start or not state.fifo_period:
            return 0
        return (state.now - state.fifo_start) // state.fifo_period

    def _fifo_status(self) -> int | None:
        state = self._state
        if not state.cnn_on:
            return None
        status = 0
        for i in range(4 if state.fifo_depth else 0):
            if state.fifo_length[i] < self._fifo_taken() + state.fifo_depth:
                continue
            if state.fifo_started:
                free = state.fifo_length[i] - state.fifo_depth + 1
                self._skip_to(state.fifo_start + free * state.fifo_period)
            if state.fifo_length[i] >= self._fifo_taken() + state.fifo_depth:
                status |= 1 << i
        return status

    def _fifo_push(self, i: int, value: int) -> None:
        state = self._state
        depth = state.fifo_depth
        if depth and state.fifo_length[i] >= self._fifo_taken() + depth:
            state.fifo_lost += 1
        self._shared.fifo[i, state.fifo_length[i]] = value
        state.fifo_length[i] += 1
        if state.fifo_length[i] == state.fifo_size:
            state.attention |= 1

    def _cnn_write(self, address: int, size: int, value: int) -> bool:
        state = self._state
        if not state.cnn_on:
            return False
        if _CNN + 8 <= address < _CNN + 24 and size == 4:
            self._fifo_push((address - _CNN - 8) // 4, value)
            return True
        offset = address & 0x3FFFFF
        stores = offset >= 0x100010 and offset != 0x101000
        if not stores or state.log_length == state.log_size:
            return False
        self._shared.log[state.log_length] = (address, value & 0xFFFFFFFF, size)
        state.log_length += 1
        return True

    # ---- SysTick, cycle counter, timers, camera, pins ----

    def _tick_count(self, time: int) -> int:
        state = self._state
        return (time - state.tick_origin) // ((state.tick_reload + 1) * TIME_UNITS)

    def _tick_control(self) -> int:
        state, flag = self._state, False
        if state.tick_on & 1:
            flag = self._tick_count(state.now) != self._tick_count(state.tick_flag_time)
            state.tick_flag_time = state.now
        return state.tick_on | flag << 16

    def _tick_value(self) -> int:
        state = self._state
        if not state.tick_on & 1:
            return 0
        period = (state.tick_reload + 1) * TIME_UNITS
        return state.tick_reload - (state.now - state.tick_origin) % period // TIME_UNITS

    def _cycle_count(self) -> int | None:
        state = self._state
        if not state.cycles_on:
            return None
        return (state.now // TIME_UNITS - state.cycles_origin) & 0xFFFFFFFF

    def _timer_count(self, i: int) -> int:
        state = self._state
        base, period = int(state.timer_base[i]), int(state.timer_period[i])
        if not state.timer_on[i]:
            return base
        count = base + int((state.now - state.timer_origin[i]) // state.timer_step[i])
        return 1 + (count - 1) % period if period and count > period else count

    def _camera_word(self) -> int | None:
        state = self._state
        if state.camera_position >= state.camera_length:
            return None
        value = int(self._shared.camera_words[state.camera_position])
        state.camera_position += 1
        return value

    def _gpio_write(self, address: int, value: int) -> bool:
        base = 0x40080400 if address & ~0x3FF == 0x40080400 else address & ~0xFFF
        port, offset = _GPIO.get(base), address - base
        if port is None or offset not in (0x1C, 0x20):
            return False
        levels = self._state.gpio_out[port]
        self._state.gpio_out[port] = levels | value if offset == 0x1C else levels & ~value
        return True

    # ---- counting ----

    def _count_block(self, address: int, size: int) -> int:
        shared = self._shared
        memories = ((shared.FLASH, shared.flash), (shared.SRAM, shared.sram))
        for m, (base, memory) in enumerate(memories):
            offset = address - base
            if not 0 <= offset <= memory.size - size:
                continue
            count = self._lengths.get((address, size))
            if count is None or m:
                count = _count_thumb(memory[offset : offset + size].view("<u2").tolist())
                self._lengths[address, size] = count
            shared.counts[m][offset // 2] += count
            return count
        return 0

    def _block(self, address: int, size: int) -> None:
        state = self._state
        count = self._count_block(address, size)
        state.last_block, state.last_size, state.last_count = address, size, count
        state.instructions += count
        state.now += count * state.cycle_factor
        if state.now >= state.limit or state.attention & 1 or self._interrupted():
            state.paused = 1
            self._cpu.stop()

    def _interrupted(self) -> bool:
        if not self._state.attention & 2:
            return False
        cpu, base = self._cpu, self._cpu["basepri"]
        held = base and self._state.pending_priority >= base
        return not held and not (cpu["primask"] | cpu["faultmask"]) & 1


def _count_thumb(halfwords: list[int]) -> int:
    count = i = 0
    while i < len(halfwords):
        i += 2 if halfwords[i] >= 0xE800 else 1
        count += 1
    return count
