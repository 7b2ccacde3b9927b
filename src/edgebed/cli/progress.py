"""Draws events: bars with time left on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from edgebed.events import Event, Finished, Listener, Note, Progress, Started, ignore

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES: Final = 10.0


@contextmanager
def listening(*, quiet: bool = False, json: bool = False) -> Iterator[Listener]:
    """Give a listener for the time of a command.

    Args:
        quiet: draw nothing.
        json: standard output belongs to the result, so draw on standard error.
    """
    stream = sys.stderr if json else sys.stdout
    if quiet:
        yield ignore
    elif stream.isatty():
        from rich.console import Console

        with _bars(Console(file=stream)) as bars:
            yield _Drawing(bars)
    else:
        yield _Lines(stream)


class _Lines:
    """One line an event; progress at most every ten seconds, and at the end of its stage."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            print(line, file=self.stream, flush=True)

    def _line(self, event: Event) -> str | None:
        if isinstance(event, Started | Finished | Note):
            return _said(event)
        if not isinstance(event, Progress):
            return None
        now = time.monotonic()
        last = event.done == event.total
        if not last and now - self.last < SECONDS_BETWEEN_LINES:
            return None
        self.last = now
        return f"{event.stage:>8}  {amount(event)}"


class _Drawing:
    """Bars that stay below the lines already said."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._move(event)
            return
        if isinstance(event, Finished) and event.stage in self.tasks:
            self.bars.remove_task(self.tasks.pop(event.stage))
        if isinstance(event, Started | Finished | Note):
            self.bars.console.print(_said(event), markup=False, highlight=False)

    def _move(self, event: Progress) -> None:
        if event.stage not in self.tasks:
            self.tasks[event.stage] = self.bars.add_task(event.stage, total=event.total, said="")
        self.bars.update(
            self.tasks[event.stage], completed=event.done, total=event.total, said=amount(event)
        )


@contextmanager
def _bars(console: object) -> Iterator[Bars]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    assert isinstance(console, Console)
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        yield bars


def _said(event: Started | Finished | Note) -> str:
    mark = {"Started": "...", "Finished": "ok ", "Note": " - "}[type(event).__name__]
    return f"{event.stage:>8}  {mark} {event.text}"


def amount(event: Progress) -> str:
    """Return `12/60 epochs, 41 s left, loss 0.53`; a total of 0 is unknown."""
    parts = [f"{event.done}/{event.total or '?'} {event.unit}"]
    if event.seconds_left is not None and event.done < event.total:
        parts.append(f"{duration(event.seconds_left)} left")
    parts += [f"{name} {value:.4g}" for name, value in event.metrics.items()]
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return `41 s`, `3 min 20 s` or `1 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
