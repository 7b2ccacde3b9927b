"""The board: memories, peripherals and core on one bus, and the loop that runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.targets._shared.cpu import Cpu, Stop
from edgebed.targets._shared.cpu_unicorn import UnicornCpu
from edgebed.targets._shared.elf import Firmware
from edgebed.targets._shared.interrupts import held_back
from edgebed.targets.max78000.board.bus import Bus, best_bus
from edgebed.targets.max78000.board.chip import Chip
from edgebed.targets.max78000.board.cnn import CONTROL_PARTS, SRAM_PARTS
from edgebed.targets.max78000.board.diagnosis import Diagnosis
from edgebed.targets.max78000.board.exceptions import Exceptions
from edgebed.targets.max78000.board.nvic import SUPERVISOR_CALL
from edgebed.targets.max78000.board.options import BoardOptions
from edgebed.targets.max78000.board.profile import Counter
from edgebed.targets.max78000.board.state import TIME_UNITS, Shared

Pause = Literal["until", "time", "input"]
_FOREVER = 1 << 62
_SLICE_CYCLES = 5_000_000  # look at the outside world at least this often
_HELD_CYCLES = 200
_STORM = 1000  # entries into one handler without an instruction of the interrupted code


class Board:
    """A virtual MAX78000 board with flashed firmware.

    Everything is deterministic: the same firmware, pictures and bytes give the same outputs,
    instruction counts and virtual times. Only a terminal attached over TCP brings in real time.

    Args:
        firmware: the program.
        options: assumptions about speed, and the wiring.
        cpu: the core; a new one on unicorn when left out.
        bus: the busy registers; compiled when possible.
        shared: the memories that `bus` was made for.

    Attributes:
        chip: the peripherals (`chip.uart`, `chip.lcd`, `chip.camera`, `chip.cnn`, ...).
        notes: diagnostics that are not errors, oldest first.
    """

    def __init__(
        self,
        firmware: Firmware,
        options: BoardOptions | None = None,
        *,
        cpu: Cpu | None = None,
        bus: Bus | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.firmware, self.options = firmware, options or BoardOptions()
        self.notes: list[str] = []
        self.shared = shared or Shared()
        self._state = self.shared.state
        self._state.cycle_factor = round(self.options.cycles_per_instruction * TIME_UNITS)
        self._cpu: Cpu = cpu or UnicornCpu()
        self.chip = Chip(self.shared, self.options, self._restart, self.notes.append)
        self._exceptions = Exceptions(self._cpu, self.chip.nvic, self.shared)
        self.chip.attach(self._exceptions)
        self._diagnosis = Diagnosis(self._cpu, firmware, self.shared)
        self._failure: tuple[Exception, int] | None = None
        self._restart_reason: str | None = None
        self._sram_mapped = False
        self._map(bus or best_bus(self.shared))
        self._flash()
        self.counter = Counter(self.shared, firmware)
        self._boot()

    @property
    def seconds(self) -> float:
        """Virtual time since the board was made."""
        return self.chip.clock.cycles / self.options.cpu_hz

    @property
    def instructions(self) -> int:
        """Instructions executed since the board was made."""
        return int(self._state.instructions)

    @property
    def cpu(self) -> Cpu:
        """The core, for inspection."""
        return self._cpu

    def run(self, seconds: float | None = None, until: Callable[[], bool] | None = None) -> Pause:
        """Run until `until()` holds, for `seconds` of virtual time, or until input is wanted.

        Returns:
            `until`, `time`, or `input`: the firmware waits for bytes on the UART and nothing else
            can happen.

        Raises:
            EdgebedError: the firmware faulted, waits for something that cannot come, or did what
                the chip would not survive.
            KeyboardInterrupt: Ctrl-C was pressed; the board can go on.
        """
        cycles = _FOREVER if seconds is None else round(seconds * self.options.cpu_hz)
        deadline = min(self._state.now + cycles * TIME_UNITS, _FOREVER)
        self._state.uart_polls = 0
        self._pressed = False
        with held_back(self._on_ctrl_c):  # once here is cheaper than at every stretch of the core
            return self._run_to(deadline, until)

    def _run_to(self, deadline: int, until: Callable[[], bool] | None) -> Pause:
        while True:
            self._service()
            if self._pressed or (until and until()):
                return "until"
            if self._state.now >= deadline:
                return "time"
            if self._waiting:
                if not self._sleep(deadline):
                    return "input"
                continue
            if self._state.uart_polls >= self._state.uart_waits:
                self._state.uart_polls = 0
                if self.chip.clock.next_time() is None:
                    return "input"
            self._step(deadline)

    def _on_ctrl_c(self) -> None:
        self._pressed = True
        self._state.attention |= 1

    def close(self) -> None:
        """Release the core and the terminal socket."""
        self.chip.close()
        self._cpu.close()

    # ---- set-up ----

    def _map(self, bus: Bus) -> None:
        shared = self.shared
        self._cpu.map_memory(shared.FLASH, shared.flash, writable=False)
        self._cpu.map_memory(shared.SRAM, shared.sram)
        regions = [(0x40000000, 0x100000), (0xE0000000, 0x100000), *CONTROL_PARTS]
        self._bus = bus
        bus.connect(self._cpu, regions, self._load, self._store)

    def _flash(self) -> None:
        for address, data in self.firmware.segments:
            offset = address - self.shared.FLASH
            if not 0 <= offset <= self.shared.FLASH_SIZE - len(data):
                raise EdgebedError(
                    f"a segment of {len(data)} bytes at {address:#010x} is not in flash",
                    where=str(self.firmware.path),
                    why="flash is 0x10000000 to 0x1007ffff, 524288 bytes",
                )
            self.shared.flash[offset : offset + len(data)] = np.frombuffer(data, np.uint8)

    def _boot(self) -> None:
        """Load sp and pc from the vector table, as after power-up."""
        self._exceptions.vectors = self.shared.FLASH
        sp, entry = self._exceptions.vector(0), self._exceptions.vector(1)
        if not entry & 1 or not 0x20000000 < sp <= 0x20020000:
            raise EdgebedError(
                f"no vector table at 0x10000000: sp {sp:#010x}, reset {entry:#010x}",
                where=str(self.firmware.path),
                why="sp must be in SRAM, the reset vector an address with bit 0 set",
            )
        cpu = self._cpu
        for name in ("ipsr", "control", "primask", "basepri", "faultmask"):
            cpu[name] = 0
        cpu["sp"], cpu["lr"] = sp, 0xFFFFFFFF
        self._pc, self._waiting = entry & ~1, False
        self._left, self._storm = (0, 0, 0), 0

    def _restart(self, reason: str) -> None:
        self._restart_reason = reason
        self._state.attention |= 1

    # ---- bus ----

    def _load(self, address: int, size: int) -> int:
        try:
            return self.chip.load(address, size)
        except Exception as error:  # raised again outside of the emulator's callback
            self._fail(error)
            return 0

    def _store(self, address: int, size: int, value: int) -> None:
        try:
            self.chip.store(address, size, value)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = (error, int(self._state.last_block))
        self._state.attention |= 1

    # ---- loop ----

    def _service(self) -> None:
        """Do everything that is due between two stretches of instructions."""
        self._state.attention &= ~1
        if self._failure:
            (failure, pc), self._failure = self._failure, None
            raise self._diagnosis.locate(failure, pc)
        if self._restart_reason:
            self._reset()
        if self.chip.cnn.on != self._sram_mapped:
            self._map_cnn()
        self.chip.service()
        self.chip.clock.fire()

    def _reset(self) -> None:
        self.notes.append(f"the board restarts: {self._restart_reason}")
        self._restart_reason = None
        self.chip.reset()
        self._boot()

    def _map_cnn(self) -> None:
        """Let the core see the accelerator's data memory while that is on, and only then."""
        self._sram_mapped = self.chip.cnn.on
        parts = np.split(self.chip.cnn.sram, len(SRAM_PARTS))
        for part, (address, size) in zip(parts, SRAM_PARTS, strict=True):
            if self._sram_mapped:
                self._cpu.map_memory(address, part)
            else:
                self._cpu.unmap(address, size)

    def _step(self, deadline: int) -> None:
        """Take an interrupt if one is due, then run to the next event."""
        exception = self._next_exception()
        if exception is not None:
            self._check_storm(exception)
            self._pc = self._exceptions.enter(exception, self._pc)
        state = self._state
        slice_ = _SLICE_CYCLES
        if exception is None and state.attention & 2 and self._cpu["basepri"]:
            # Held back by BASEPRI with grouped priorities: the block hook sees it otherwise.
            state.attention &= ~2
            slice_ = _HELD_CYCLES
        limit = min(deadline, state.now + slice_ * TIME_UNITS)
        state.limit = min(limit, self.chip.clock.next_time() or _FOREVER)
        state.paused = 0
        stop = self._cpu.run(self._pc)
        self._pc = stop.pc
        self.chip.nvic.refresh()
        _STOPS["paused" if state.paused and stop.reason == "wait" else stop.reason](self, stop)

    def _next_exception(self) -> int | None:
        if not self._state.attention & 2:
            return None
        cpu = self._cpu
        masked = bool((cpu["primask"] | cpu["faultmask"]) & 1)
        return self.chip.nvic.next(masked=masked, basepri=cpu["basepri"])

    def _check_storm(self, exception: int) -> None:
        """Diagnose a handler that is entered again and again without anything in between."""
        key = (exception, int(self._state.instructions), int(self._state.rx_tail))
        again = key == self._left
        self._storm = self._storm + 1 if again else 0
        if self._storm >= _STORM:
            raise self._diagnosis.storm(exception, self._exceptions.vector(exception), self._pc)

    def _sleep(self, deadline: int) -> bool:
        """Advance to the next event while the core waits; False when only input can wake it."""
        chip = self.chip
        if chip.nvic.can_wake():
            self._waiting = False
            return True
        time = chip.clock.next_time()
        if time is None:
            if chip.uart_can_wake:
                return False
            raise self._diagnosis.deadlock(self._pc, chip)
        chip.clock.sleep_until(min(time, deadline))
        return True

    def _on_pause(self, stop: Stop) -> None:
        """Take back the count of the block that was about to run."""
        state = self._state
        if stop.pc != state.last_block:
            return
        count = int(state.last_count)
        state.instructions -= count
        state.now -= count * state.cycle_factor
        self.shared.uncount(stop.pc, count)
        if state.now + count * state.cycle_factor >= state.limit:
            state.now = max(state.now, state.limit)

    def _on_wait(self, stop: Stop) -> None:
        # WFE may end at any time, and the model has no event register: it ends at once.
        self._waiting = stop.access != "wfe"

    def _on_supervisor_call(self, stop: Stop) -> None:
        self._pc = self._exceptions.enter(SUPERVISOR_CALL, stop.pc)

    def _on_exception_return(self, stop: Stop) -> None:
        exception = self._cpu["ipsr"]
        self._pc = self._exceptions.leave(stop.address)
        self._left = (exception, int(self._state.instructions), int(self._state.rx_tail))

    def _on_bus_fault(self, stop: Stop) -> None:
        in_sram = any(a <= stop.address < a + size for a, size in SRAM_PARTS)
        if in_sram and self.chip.cnn.on and not self._sram_mapped:
            self._map_cnn()
            return
        if in_sram and stop.access != "fetch":
            try:
                self.chip.cnn.check_on(stop.address)
            except EdgebedError as error:
                raise self._diagnosis.locate(error, stop.pc) from error
        raise self._diagnosis.bus_fault(stop)

    def _on_fault(self, stop: Stop) -> None:
        raise self._diagnosis.fault(stop)


_STOPS: dict[str, Callable[[Board, Stop], None]] = {
    "paused": Board._on_pause,
    "wait": Board._on_wait,
    "supervisor_call": Board._on_supervisor_call,
    "exception_return": Board._on_exception_return,
    "bus_fault": Board._on_bus_fault,
    "breakpoint": Board._on_fault,
    "undefined": Board._on_fault,
}
