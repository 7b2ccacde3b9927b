"""Virtual time and what is due when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from edgebed.targets.max78000.board.state import TIME_UNITS, BusState


@dataclass(order=True)
class Due:
    """Something that happens at a time; cancelled by clearing `action`."""

    time: int
    order: int
    action: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        """Let it not happen."""
        self.action = None


class Clock:
    """Virtual time in CPU cycles, and the events ahead; equal times happen in order of request."""

    def __init__(self, state: BusState) -> None:
        self._state = state
        self._heap: list[Due] = []
        self._order = itertools.count()
        self.slept = 0  # time units spent in WFI

    @property
    def cycles(self) -> int:
        """CPU cycles since reset, waiting included."""
        return self._state.now // TIME_UNITS

    def after(self, cycles: int, action: Callable[[], None]) -> Due:
        """Let `action` happen `cycles` CPU cycles from now."""
        return self.at(self._state.now + max(cycles, 0) * TIME_UNITS, action)

    def at(self, time: int, action: Callable[[], None]) -> Due:
        """Let `action` happen at `time`, in time units."""
        due = Due(time, next(self._order), action)
        heapq.heappush(self._heap, due)
        # The core may be running right now: it must pause in time for this.
        self._state.limit = min(self._state.limit, time)
        return due

    def next_time(self) -> int | None:
        """Return the time of the next event, or None."""
        while self._heap and self._heap[0].action is None:
            heapq.heappop(self._heap)
        return self._heap[0].time if self._heap else None

    def fire(self) -> None:
        """Do what is due."""
        while (time := self.next_time()) is not None and time <= self._state.now:
            action = heapq.heappop(self._heap).action
            if action:
                action()

    def sleep_until(self, time: int) -> None:
        """Advance to `time` while the core waits."""
        if time > self._state.now:
            self.slept += time - self._state.now
            self._state.now = time
