"""The interrupt controller: what is enabled, pending, active, and which exception comes next."""

from __future__ import annotations

from edgebed.targets.max78000.board.state import BusState

NMI, HARD_FAULT, SUPERVISOR_CALL, PEND_SV, SYSTICK, EXTERNAL = 2, 3, 11, 14, 15, 16
IRQS = 120
_IDLE = 256  # priority of thread mode: everything preempts it
_IMPLEMENTED = 0xE0  # three priority bits


def bits(mask: int) -> list[int]:
    """Return the numbers of the set bits, lowest first."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


class Nvic:
    """Exceptions by number: 11 SVCall, 14 PendSV, 15 SysTick, 16 + n external interrupt n."""

    def __init__(self, state: BusState) -> None:
        self._state = state
        self.reset()

    def reset(self) -> None:
        """Return to the state after reset."""
        internal = 1 << NMI | 1 << SUPERVISOR_CALL | 1 << PEND_SV | 1 << SYSTICK
        self.enabled, self.pending, self.active, self.lines = internal, 0, 0, 0
        self.priority = [0] * (EXTERNAL + IRQS)
        self.group_shift = 0
        self.stack: list[int] = []
        self.refresh()

    def pend(self, exception: int) -> None:
        """Make an exception pending."""
        self.pending |= 1 << exception
        self.refresh()

    def clear(self, mask: int) -> None:
        """Make the exceptions of a bit mask not pending; a line that is still high pends again."""
        self.pending &= ~mask
        self.pending |= mask & self.lines & ~self.active
        self.refresh()

    def line(self, irq: int, high: bool) -> None:
        """Drive the request line of external interrupt `irq`; a rising edge makes it pending."""
        bit = 1 << (EXTERNAL + irq)
        if bool(self.lines & bit) == high:
            return
        if high and not self.lines & bit:
            self.pending |= bit
        self.lines = self.lines | bit if high else self.lines & ~bit
        self.refresh()

    def enable(self, mask: int, on: bool) -> None:
        """Enable or disable the exceptions of a bit mask."""
        self.enabled = self.enabled | mask if on else self.enabled & ~mask
        self.refresh()

    def set_priority(self, exception: int, value: int) -> None:
        """Set the 8-bit priority; the lower five bits do not exist."""
        self.priority[exception] = value & _IMPLEMENTED
        self.refresh()

    def set_grouping(self, prigroup: int) -> None:
        """Set which priority bits preempt (AIRCR.PRIGROUP)."""
        self.group_shift = prigroup + 1 if prigroup > 4 else 0
        self.refresh()

    def next(self, *, masked: bool = False, basepri: int = 0) -> int | None:
        """Return the exception to take now, or None.

        Args:
            masked: PRIMASK or FAULTMASK is set.
            basepri: BASEPRI, 0 for none.
        """
        best = self._best()
        if best is None:
            return None
        priority = self._group(best)
        limit = min(self._running(), _IDLE if not basepri else basepri >> self.group_shift)
        if masked:
            limit = min(limit, 0)
        return best if priority < limit else None

    def enter(self, exception: int) -> None:
        """Note that the handler of `exception` runs."""
        self.pending &= ~(1 << exception)
        self.active |= 1 << exception
        self.stack.append(exception)
        self.refresh()

    def leave(self, exception: int) -> None:
        """Note that the handler returned; a line that is still high pends again."""
        self.active &= ~(1 << exception)
        if exception in self.stack:
            self.stack.remove(exception)
        self.pending |= self.lines & 1 << exception
        self.refresh()

    def can_wake(self) -> bool:
        """Return whether a pending, enabled exception ends WFI; PRIMASK does not count."""
        return self.next() is not None

    def _best(self) -> int | None:
        ready = bits(self.pending & self.enabled)
        return min(ready, key=lambda e: (self._priority(e), e)) if ready else None

    def _priority(self, exception: int) -> int:
        return -2 if exception == NMI else self.priority[exception]

    def _group(self, exception: int) -> int:
        return self._priority(exception) >> self.group_shift

    def _running(self) -> int:
        return min((self._group(e) for e in self.stack), default=_IDLE)

    def refresh(self) -> None:
        """Ask the core to pause when something could be taken (it checks the masks itself)."""
        best = self.next() if self.pending else None
        if best is None:
            self._state.attention &= ~2
            return
        self._state.attention |= 2
        self._state.pending_priority = max(self._priority(best), 0)
