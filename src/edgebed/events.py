"""Typed events: stages emit them, the command line draws them, the run folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Event:
    """Something that happened in a stage (`data`, `train`, `compile`, `run`, ...)."""

    stage: str


@dataclass(frozen=True)
class Started(Event):
    """A stage begins; `text` says what will be done and where."""

    text: str


@dataclass(frozen=True)
class Progress(Event):
    """`done` of `total` units of work are behind us.

    `metrics` holds the latest numbers (loss, accuracy); `seconds_left` is None until known.
    """

    done: int
    total: int
    unit: str
    seconds_left: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Note(Event):
    """A fact worth a line: something left out, a choice made, a limit that is near."""

    text: str


@dataclass(frozen=True)
class Finished(Event):
    """A stage ended; `text` is its result in one line."""

    text: str


Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing; the default of every stage."""


def to_json(event: Event) -> str:
    """Return the event as one line of `events.jsonl`."""
    return json.dumps({"event": type(event).__name__.lower(), **asdict(event)})
