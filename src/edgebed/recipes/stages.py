"""Stages that run once: a finished stage's result lies on disk under the key of what made it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgebed.errors import EdgebedError
from edgebed.events import Event, Listener, Note, to_json
from edgebed.recipes.folder import RunFolder, read_json

Result = dict[str, Any]


@dataclass
class Stages:
    """Runs the stages of a recipe in a run folder, in order, and skips those already done.

    A stage's key covers its own settings and the keys and results of all stages before it, so a
    changed setting redoes its stage and what follows, and so does a stage that was done again
    (a lost file) with another result.

    Attributes:
        folder: where results are kept.
        listener: hears about skipped stages.
        seconds: time of every stage, measured when it ran.
    """

    folder: RunFolder
    listener: Listener
    seconds: dict[str, float] = field(default_factory=dict)
    _key: str = ""

    def run(
        self,
        name: str,
        settings: Mapping[str, Any],
        work: Callable[[], Result],
        files: tuple[str, ...] = (),
    ) -> Result:
        """Return the stage's result, from disk where it is still valid.

        Args:
            name: the stage.
            settings: everything of the configuration that it depends on, plain JSON types.
            work: does the stage; its result must be plain JSON types.
            files: what it leaves in the folder; the stage is redone when one is missing.
        """
        self._key = _digest([self._key, name, dict(settings)])
        record = f"stages/{name}.json"
        known = _read(self.folder.path / record)
        if known is not None and known["key"] == self._key and self._there(files):
            self.seconds[name] = known["seconds"]
            self.listener(Note(name, f"done before ({known['seconds']:.0f} s), kept"))
            self._key = _digest([self._key, known["result"]])
            return dict(known["result"])
        started = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - started
        self.folder.write_json(
            record, {"key": self._key, "seconds": self.seconds[name], "result": result}
        )
        self._key = _digest([self._key, result])
        return result

    def _there(self, files: tuple[str, ...]) -> bool:
        return all((self.folder.path / name).exists() for name in files)


def recording(path: Path, listener: Listener) -> Listener:
    """Return a listener that passes events on and keeps each as a line of `path`.

    Raises:
        EdgebedError: (from the listener) the disk is full.
    """

    def record(event: Event) -> None:
        listener(event)
        line = json.dumps({"time": round(time.time(), 3), **json.loads(to_json(event))})
        try:
            with path.open("ab+") as file:
                file.write(_gap(file) + line.encode() + b"\n")
        except OSError as error:
            raise EdgebedError(
                f"cannot write: {error.strerror}", where=str(path), try_="free some space"
            ) from error

    return record


def _gap(file: IO[bytes]) -> bytes:
    """Return what ends a line that a full disk or a kill has cut short."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _read(path: Path) -> Result | None:
    if not path.is_file():
        return None
    try:
        record = read_json(path)
    except EdgebedError:  # half a record of a full disk is no record
        return None
    return record if {"key", "seconds", "result"} <= record.keys() else None


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
