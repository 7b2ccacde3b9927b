"""A compiled network whose runs are recorded into a trace, by the library itself."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.targets.host.watch import Observed

_BUSY: Final = errno.EWOULDBLOCK
MAGIC: Final = b"EBTRACE"
PROGRAM: Final = "program.onnx"
LEVELS: Final = ("off", "io", "statistics", "full")


@dataclass(frozen=True)
class Recording:
    """How a recording goes.

    Attributes:
        path: of the trace.
        level: what of each frame is kept.
        frames: recorded so far.
        waits: frames that had to wait until the file had taken earlier ones.
        room: frames that wait in memory at most.
    """

    path: Path
    level: str
    frames: int
    waits: int
    room: int


class _State(ctypes.Structure):
    """What the library's trace_get fills."""

    _fields_ = (
        ("frames", ctypes.c_int64),
        ("waits", ctypes.c_int64),
        ("room", ctypes.c_int32),
        ("error", ctypes.c_int32),
    )


class Recorded(Observed):
    """A session each of whose runs becomes a frame of a trace; see `edgebed.load`.

    The thread that computes copies what is kept, or sums it up; a thread of the library writes it,
    ten milliseconds later at most. Nothing is lost: where that thread cannot follow, runs wait.
    What was recorded is in the file after `close`, which the end of the program does too.
    """

    def __init__(
        self,
        folder: Path,
        trace: Path,
        level: str,
        *,
        threads: int = 1,
        isa: str | None = None,
        notes: Mapping[str, Any] | None = None,
        frames: int = 0,
    ) -> None:
        """Open a folder and a trace; see `edgebed.load`.

        Args:
            folder: written by `edgebed compile --target host`.
            trace: file to write; what was there is replaced.
            level: io, statistics or full.
            threads: that share the long layers.
            isa: instruction set instead of the best one.
            notes: further facts for the manifest, plain data.
            frames: that wait in memory at most until the file has them; 0 for a mebibyte of them.

        Raises:
            EdgebedError: as `Session`; the trace cannot be written, or another recording writes
                to it.
        """
        super().__init__(folder, threads=threads, isa=isa)
        self._path, self._level = trace, level
        known = {"processor": self.isa, **_model(folder), **(notes or {})}
        self._trace = self._open_trace(known, frames)
        end = self._function("trace_close", ctypes.c_int, ctypes.c_void_p)
        self._end = weakref.finalize(self, end, self._trace)
        # one of its own without declared types: ctypes converts nothing then
        self._call = self._traced(self._library[f"{self.manifest.name}_run_traced"])

    @property
    def recording(self) -> Recording:
        """How the recording goes.

        Raises:
            EdgebedError: the session is closed.
        """
        if not self._end.alive:
            raise EdgebedError("the session is closed")
        state = _State()
        get = self._function("trace_get", None, ctypes.c_void_p, ctypes.c_void_p)
        get(self._trace, ctypes.byref(state))
        return Recording(self._path, self._level, state.frames, state.waits, state.room)

    def close(self) -> None:
        """Write what waits, end the trace and stop the threads. Closing twice does nothing.

        Raises:
            EdgebedError: frames could not be written.
        """
        error = self._end() if hasattr(self, "_end") else None  # None: it was closed before
        super().close()
        if error:
            raise _unwritable(self._path, error)

    def _open_trace(self, notes: Mapping[str, Any], frames: int) -> int:
        _check_place(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        opened, text = ctypes.c_void_p(), json.dumps(dict(notes))[1:-1].encode()
        open_trace = self._function(
            "trace_open", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int,
            ctypes.c_char_p, ctypes.c_int,
        )  # fmt: skip
        level, path = LEVELS.index(self._level), os.fsencode(self._path)
        error = open_trace(ctypes.byref(opened), path, level, text, frames)
        if error or opened.value is None:
            raise _unwritable(self._path, error)
        return opened.value

    def _traced(self, run: Callable[[Any, Any], int]) -> Callable[[], int]:
        bound, trace = ctypes.byref(self._bound), ctypes.c_void_p(self._trace)
        path = self._path

        def call() -> int:
            if error := run(bound, trace):
                raise _unwritable(path, error)
            return 0

        return call


def _check_place(path: Path) -> None:
    """Refuse a file that no recorder wrote; an empty one may be written to, and a device."""
    start = b""
    with contextlib.suppress(OSError):  # opening it will say why
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(MAGIC))
    if start != MAGIC[: len(start)]:
        raise EdgebedError(
            "exists and is no trace", where=str(path), why="nothing of yours is ever overwritten",
            try_="another file",
        )  # fmt: skip


def _model(folder: Path) -> dict[str, str]:
    """Return where the program lies, so that layers can be computed again from a trace."""
    program = folder / PROGRAM
    return {"model": str(program.resolve())} if program.is_file() else {}


def check_level(level: str) -> None:
    """Refuse a level that does not exist.

    Raises:
        EdgebedError: it does not.
    """
    if level not in LEVELS:
        raise EdgebedError(f"no level is called {level!r}", try_=did_you_mean(level, LEVELS))


def _unwritable(path: Path, error: int) -> EdgebedError:
    if error == _BUSY:
        return EdgebedError(
            "is being written by another recording", where=str(path), try_="another file"
        )
    return EdgebedError(f"cannot write the trace: {os.strerror(error)}", where=str(path))
