"""Timers 0 to 3: free-running, compare and one-shot; counts are computed, not stepped."""

from __future__ import annotations

from edgebed.targets.max78000.board.clock import Clock, Due
from edgebed.targets.max78000.board.nvic import Nvic
from edgebed.targets.max78000.board.state import TIME_UNITS, BusState

_CNT, _CMP, _INTFL, _CTRL0, _CTRL1 = 0x00, 0x04, 0x0C, 0x10, 0x18
_WRITE_DONE = 1 << 8 | 1 << 24
_CLOCK_ENABLE, _ENABLE, _RESET = 1 << 14, 1 << 15, 1 << 13
_ONE_SHOT, _CONTINUOUS, _COMPARE = 0, 1, 5
_CPU_PER_PCLK = 2


class Timer:
    """One timer, both halves as one 32-bit counter or half A alone; half B is not modelled.

    The counter starts at 1 after a match in one-shot and continuous mode, as on the chip, and
    counts the peripheral clock (half the CPU clock) divided by 2^CLKDIV.
    """

    size = 0x400

    def __init__(
        self, index: int, base: int, irq: int, state: BusState, clock: Clock, nvic: Nvic
    ) -> None:
        self.name, self.base, self.irq, self._i = f"TMR{index}", base, irq, index
        self._state, self._clock, self._nvic = state, clock, nvic
        self._due: Due | None = None
        self._match_time: int | None = None
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        self._words: dict[int, int] = {}
        self._flags = 0
        self._state.timer_on[self._i] = self._state.timer_base[self._i] = 0
        self._state.timer_step[self._i] = _CPU_PER_PCLK * TIME_UNITS
        self._plan()

    @property
    def count(self) -> int:
        """The counter now; the same arithmetic as `timer_count` in bus.c."""
        state, i = self._state, self._i
        if not state.timer_on[i]:
            return int(state.timer_base[i])
        passed = (state.now - state.timer_origin[i]) // state.timer_step[i]
        count, period = int(state.timer_base[i] + passed), int(state.timer_period[i])
        return 1 + (count - 1) % period if period and count > period else count

    def load(self, offset: int) -> int:
        """Load a register."""
        if offset == _CNT:
            return self.count
        if offset == _INTFL:
            if self._due is None and self._match_time and self._state.now >= self._match_time:
                self._match()
            return self._flags | _WRITE_DONE
        word = self._words.get(offset, 0)
        if offset == _CTRL1:
            control = self._words.get(_CTRL0, 0)
            for enable, ready in ((14, 3), (15, 2), (30, 19), (31, 18)):
                word |= (control >> enable & 1) << ready
        return word

    def store(self, offset: int, value: int) -> None:
        """Store into a register."""
        if offset == _INTFL:
            self._flags &= ~value
            self._update()
            return
        count = self.count
        if offset == _CNT:
            count = value
        elif offset == _CTRL0 and value & _RESET:
            count, value = 0, value & ~_RESET
        if offset != _CNT:
            self._words[offset] = value
        self._restart(count)

    def _restart(self, count: int) -> None:
        state, i, control = self._state, self._i, self._words.get(_CTRL0, 0)
        state.timer_base[i], state.timer_origin[i] = count, state.now
        state.timer_on[i] = int(control & (_ENABLE | _CLOCK_ENABLE) == _ENABLE | _CLOCK_ENABLE)
        state.timer_step[i] = (_CPU_PER_PCLK << (control >> 4 & 15)) * TIME_UNITS
        repeats = control & 15 == _CONTINUOUS
        state.timer_period[i] = self._words.get(_CMP, 0) if repeats else 0
        self._plan()
        self._update()

    def _plan(self) -> None:
        """Find the next match; without an interrupt or a stop it need not wake anybody."""
        if self._due:
            self._due.cancel()
        self._due, self._match_time = None, None
        state, i, compare = self._state, self._i, self._words.get(_CMP, 0)
        mode = self._words.get(_CTRL0, 0) & 15
        if not state.timer_on[i] or not compare or mode not in (_ONE_SHOT, _CONTINUOUS, _COMPARE):
            return
        left = compare - self.count
        if left <= 0:
            left += compare if mode == _CONTINUOUS else 1 << 32
        self._match_time = state.now + left * state.timer_step[i]
        if mode == _ONE_SHOT or self._words.get(_CTRL1, 0) >> 8 & 1:
            self._due = self._clock.at(self._match_time, self._match)

    def _match(self) -> None:
        self._flags |= 1
        if self._words.get(_CTRL0, 0) & 15 == _ONE_SHOT:
            self._words[_CTRL0] &= ~_ENABLE
            self._restart(1)
        else:
            self._plan()
        self._update()

    def _update(self) -> None:
        wanted = self._words.get(_CTRL1, 0) >> 8 & 1
        self._nvic.line(self.irq, bool(self._flags & 1 and wanted))
