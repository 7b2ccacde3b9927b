"""The core's own registers at 0xE000E000: SysTick, interrupt controller, system control block."""

from __future__ import annotations

from collections.abc import Callable

from edgebed.targets.max78000.board.clock import Clock, Due
from edgebed.targets.max78000.board.exceptions import Exceptions
from edgebed.targets.max78000.board.nvic import EXTERNAL, IRQS, NMI, PEND_SV, SYSTICK, Nvic
from edgebed.targets.max78000.board.state import TIME_UNITS, BusState

_CPUID = 0x410FC241  # Cortex-M4 r0p1
_RESET_KEY = 0x05FA
_SHPR1 = 0xD18  # priorities of exceptions 4 to 15, one byte each
_ICSR, _VTOR, _AIRCR, _SCR, _STIR = 0xD04, 0xD08, 0xD0C, 0xD10, 0xF00


class SystemControl:
    """0xE000E000 to 0xE000EFFF."""

    name, base, size = "system control space", 0xE000E000, 0x1000

    def __init__(
        self,
        state: BusState,
        clock: Clock,
        nvic: Nvic,
        exceptions: Exceptions,
        restart: Callable[[str], None],
    ) -> None:
        self._nvic, self._exceptions, self._restart = nvic, exceptions, restart
        self.tick = SysTick(state, clock, nvic)
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {}
        self.tick.reset()

    def load(self, offset: int) -> int:
        """Load a register."""
        if 0x010 <= offset <= 0x01C:
            return self.tick.load(offset - 0x010)
        if 0x100 <= offset < 0x340:
            return self._read_masks(offset)
        if 0x400 <= offset < 0x400 + IRQS or _SHPR1 <= offset < _SHPR1 + 12:
            return self._read_priorities(offset)
        if offset == _ICSR:
            return self._interrupt_state()
        fixed = {0xD00: _CPUID, _VTOR: self._exceptions.vectors, 0x004: (IRQS - 1) // 32}
        return fixed.get(offset, self._words.get(offset, 0))

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if 0x010 <= offset <= 0x01C:
            self.tick.store(offset - 0x010, value)
        elif 0x100 <= offset < 0x300:
            self._write_masks(offset, value)
        elif 0x400 <= offset < 0x400 + IRQS or _SHPR1 <= offset < _SHPR1 + 12:
            self._write_priorities(offset, value)
        elif offset == _ICSR:
            self._change_state(value)
        elif offset == _VTOR:
            self._exceptions.vectors = value & ~0x7F
        elif offset == _AIRCR:
            self._control_reset(value)
        elif offset == _STIR:
            self._nvic.pend(EXTERNAL + (value & 0x1FF))
        else:
            self._words[offset] = value

    def _read_masks(self, offset: int) -> int:
        nvic, index = self._nvic, (offset & 0x7F) // 4
        masks = (nvic.enabled, nvic.enabled, nvic.pending, nvic.pending, nvic.active)
        mask = masks[min((offset - 0x100) // 0x80, 4)]
        return mask >> EXTERNAL >> 32 * index & 0xFFFFFFFF

    def _write_masks(self, offset: int, value: int) -> None:
        mask = value << 32 * ((offset & 0x7F) // 4) + EXTERNAL
        mask &= (1 << EXTERNAL + IRQS) - 1
        kind = (offset - 0x100) // 0x80
        if kind < 2:
            self._nvic.enable(mask, kind == 0)
        elif kind == 2:
            self._nvic.pending |= mask
            self._nvic.clear(0)
        else:
            self._nvic.clear(mask)

    def _exception_of(self, offset: int) -> int:
        return offset - 0x400 + EXTERNAL if offset < _SHPR1 else offset - _SHPR1 + 4

    def _read_priorities(self, offset: int) -> int:
        first = self._exception_of(offset)
        return int.from_bytes(bytes(self._nvic.priority[first : first + 4]), "little")

    def _write_priorities(self, offset: int, value: int) -> None:
        first = self._exception_of(offset)
        for i, byte in enumerate(value.to_bytes(4, "little")):
            if first + i < EXTERNAL + IRQS:
                self._nvic.set_priority(first + i, byte)

    def _interrupt_state(self) -> int:
        nvic = self._nvic
        pending = nvic.next() or 0
        running = nvic.stack[-1] if nvic.stack else 0
        state = running | pending << 12 | int(nvic.pending >> EXTERNAL != 0) << 22
        state |= int(len(nvic.stack) <= 1) << 11
        return state | (nvic.pending >> SYSTICK & 1) << 26 | (nvic.pending >> PEND_SV & 1) << 28

    def _change_state(self, value: int) -> None:
        for bit, exception in ((31, NMI), (28, PEND_SV), (26, SYSTICK)):
            if value >> bit & 1:
                self._nvic.pend(exception)
        for bit, exception in ((27, PEND_SV), (25, SYSTICK)):
            if value >> bit & 1:
                self._nvic.clear(1 << exception)

    def _control_reset(self, value: int) -> None:
        if value >> 16 != _RESET_KEY:
            return
        self._nvic.set_grouping(value >> 8 & 7)
        self._words[_AIRCR] = 0xFA050000 | value & 0x700
        if value & 4:
            self._restart("AIRCR.SYSRESETREQ")


class SysTick:
    """The 24-bit down counter on the CPU clock."""

    def __init__(self, state: BusState, clock: Clock, nvic: Nvic) -> None:
        self._state, self._clock, self._nvic = state, clock, nvic
        self._due: Due | None = None

    def reset(self) -> None:
        """Stop."""
        state = self._state
        state.tick_on = state.tick_reload = state.tick_origin = state.tick_flag_time = 0
        self._plan()

    def load(self, offset: int) -> int:
        """Load CTRL (also done in bus.c), LOAD, VAL (in bus.c), CALIB."""
        return self._state.tick_reload if offset == 4 else 0

    def store(self, offset: int, value: int) -> None:
        """Store into CTRL, LOAD or VAL; any store to VAL restarts the period."""
        state = self._state
        if offset == 0:
            if value & 1 and not state.tick_on & 1:
                state.tick_origin = state.tick_flag_time = state.now
            state.tick_on = value & 7
        elif offset == 4:
            state.tick_reload = value & 0xFFFFFF
        elif offset == 8:
            state.tick_origin = state.tick_flag_time = state.now
        self._plan()

    def _plan(self) -> None:
        if self._due:
            self._due.cancel()
            self._due = None
        state = self._state
        if state.tick_on & 3 == 3 and state.tick_reload:
            period = (state.tick_reload + 1) * TIME_UNITS
            done = (state.now - state.tick_origin) // period
            self._due = self._clock.at(state.tick_origin + (done + 1) * period, self._fire)

    def _fire(self) -> None:
        self._nvic.pend(SYSTICK)
        self._plan()
