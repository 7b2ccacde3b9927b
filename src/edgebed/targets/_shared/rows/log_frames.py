"""Frames from records: those of which everything arrived, and in words what did not."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from edgebed.targets._shared.rows.log_records import Record

FORMAT: Final = 1
_BEGIN: Final = struct.Struct("<4B16sI")
_END: Final = struct.Struct("<IQ")
_NUMBERS: Final = 1 << 16
MOST_NOTES: Final = 100


@dataclass(frozen=True)
class LoggedFrame:
    """Records of one run of a network, all of them.

    Attributes:
        number: from 0; a device that starts again goes on counting behind the last.
        level: 1 inputs and outputs, 2 statistics, 3 full.
        clock: 0 none, 1 cycles, 2 nanoseconds, 3 ticks of the user's own.
        hz: rate of the clock; 0 where nobody knows.
        plan: first 16 digits of the network's digest.
        ticks: of the run, without what recording took.
        records: but the first and the last.
    """

    number: int
    level: int
    clock: int
    hz: int
    plan: str
    ticks: int
    records: tuple[Record, ...]


@dataclass
class Losses:
    """What a log lacks.

    Attributes:
        notes: a sentence each, at most `MOST_NOTES`.
        more: sentences beyond these.
        frames: that were left out.
        strangers: whole records of other networks.
        passed: bytes that are no records.
    """

    notes: list[str] = field(default_factory=list)
    more: int = 0
    frames: int = 0
    strangers: int = 0
    passed: int = 0

    def say(self, note: str, frames: int = 0) -> None:
        """Keep a sentence, and how many frames are lost."""
        self.frames += frames
        if len(self.notes) < MOST_NOTES:
            self.notes.append(note)
        else:
            self.more += 1


def frames(items: Iterable[Record | bytes], network: int, losses: Losses) -> Iterator[LoggedFrame]:
    """Give every frame of which all records arrived.

    Args:
        items: of `log_records.split`.
        network: byte of the network that is wanted.
        losses: told of what is missing.
    """
    count = _Count(losses)
    held: list[Record] = []
    for item in items:
        if isinstance(item, bytes):
            losses.passed += len(item)
            continue
        if item.network != network:
            losses.strangers += 1
            continue
        if held and (item.frame != held[0].frame or _begins_again(held, item)):
            _end_missing(held, count)
            held = []
        if not held:
            count.reach(item.frame)
        held.append(item)
        if item.type == "E":
            if found := _whole(held, count):
                yield found
            held = []
    if held:
        note = f"frame {count.number} is cut: the log ends behind {_records(len(held))} of it"
        losses.say(note, 1)


@dataclass
class _Count:
    """Numbers of frames beyond 65,536 and over new starts of the device."""

    losses: Losses
    number: int = -1
    last: int = 0
    """The device's own number, modulo 65,536."""

    def reach(self, frame: int) -> None:
        """Go on to a frame's number, and say which ones are missing before it."""
        step = (frame - self.last) % _NUMBERS
        before, self.last = self.number, frame
        if before < 0:
            self.number = frame
            if frame:
                self.losses.say(f"the log begins with frame {frame}")
        elif 0 < step < _NUMBERS // 2:
            self.number += step
            self._miss(before + 1, self.number - 1)
        else:
            self.number += 1
            also = f"; its frame {frame} is frame {self.number} here"
            self.losses.say(f"the device started again behind frame {before}{also}")

    def _miss(self, first: int, last: int) -> None:
        if last >= first:
            many = f"frames {first} to {last} are" if last > first else f"frame {first} is"
            self.losses.say(f"{many} missing altogether", last - first + 1)


def _begins_again(held: list[Record], item: Record) -> bool:
    """Say whether a record begins another frame of the same number: after a new start."""
    return item.type == "F" and any(one.type == "F" for one in held)


def _whole(held: list[Record], count: _Count) -> LoggedFrame | None:
    *others, last = held
    wanted, ticks = _END.unpack(last.payload) if len(last.payload) == _END.size else (0, 0)
    begins = [one for one in others if one.type == "F"]
    if len(others) != wanted or len(begins) != 1 or len(begins[0].payload) != _BEGIN.size:
        missing = f"{max(wanted - len(others), 1)} of its {_records(wanted)} did not arrive whole"
        count.losses.say(f"frame {count.number} is left out: {missing}", 1)
        return None
    kind, level, clock, _, plan, hz = _BEGIN.unpack(begins[0].payload)
    if kind != FORMAT:
        why = f"the device writes format {kind}, this version reads {FORMAT}"
        count.losses.say(f"frame {count.number} is left out: {why}", 1)
        return None
    rest = tuple(one for one in others if one.type != "F")
    text = plan.decode("ascii", "replace")
    return LoggedFrame(count.number, level, clock, hz, text, ticks, rest)


def _end_missing(held: list[Record], count: _Count) -> None:
    note = f"frame {count.number} is left out: its end did not arrive"
    count.losses.say(f"{note}, {_records(len(held))} did", 1)


def _records(count: int) -> str:
    return f"{count} record{'' if count == 1 else 's'}"
