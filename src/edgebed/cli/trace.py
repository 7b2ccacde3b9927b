"""`edgebed trace`: what a device sent over its serial line, or wrote to a file, as a trace."""

from __future__ import annotations

import json as json_format
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from edgebed.errors import EdgebedError
from edgebed.events import Listener, Progress, Started

if TYPE_CHECKING:
    from edgebed.observe.recorders.device_log import DeviceLog
    from edgebed.targets._shared.rows.log_frames import Losses

BAUD: Final = 921600
LISTED: Final = 10
_CHUNK: Final = 1 << 16
_PORT: Final = re.compile(r"COM\d+", re.IGNORECASE)


def trace(
    log: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    program: Path,
    out: Path,
    text: Path | None = None,
    frames: int = 0,
    baud: int = BAUD,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Turn what a device sent over its serial line, or wrote to a file, into a trace.

    edgebed trace uart.log --program DIR --out device.trace

    edgebed trace /dev/ttyACM0 --program DIR --out device.trace --frames 100

    The firmware was generated into DIR and built with -DEB_TRACE=1 (inputs and outputs), 2
    (statistics of every layer) or 3 (every layer); DIR/library/NAME_trace.h says what to call.
    Names, scales, layouts and the contract come from DIR. Text on the line is passed over. A frame
    of which something was lost or damaged is left out, and that is said.

    Args:
        log: a file of raw bytes, a serial port (until --frames or Ctrl-C), or - for the input of
            this command.
        program: the compiled folder from which the firmware was built.
        out: the trace to write.
        text: write everything on the line that is no record to this file.
        frames: stop after so many; 0 for all.
        baud: speed of a serial port.
        json: print one JSON object.
        quiet: no progress.
    """
    from edgebed.cli.progress import listening
    from edgebed.deploy.bundle import find
    from edgebed.observe.recorders.device_log import DeviceLog
    from edgebed.observe.trace_writer import TraceWriter

    _check(log, out, text)
    with ExitStack() as stack:
        listener = stack.enter_context(listening(quiet=quiet or not _is_port(log), json=json))
        end = f"{frames} frames" if frames else "Ctrl-C"
        listener(Started("trace", f"listening to {log} until {end}"))
        beside = stack.enter_context(text.open("wb")).write if text is not None else None
        source = DeviceLog(find(program) or program, _chunks(log, baud, stack), beside)
        writer = stack.enter_context(TraceWriter(out, source.manifest()))
        _copy(source, writer.write, frames, listener)
        count = writer.frames
    print(_said(log, out, count, writer.manifest.level, source.losses, json))
    return 0


def _copy(source: DeviceLog, write: Callable[[Any], None], frames: int, listener: Listener) -> None:
    """Write frame by frame; Ctrl-C ends a serial port's log as its end would."""
    try:
        for done, frame in enumerate(islice(source.frames(), frames or None), 1):
            write(frame)
            listener(Progress("trace", done, frames or done + 1, "frames"))
    except KeyboardInterrupt:
        source.losses.say("ended by Ctrl-C")


def _check(log: Path, out: Path, text: Path | None) -> None:
    for option, path in (("--out", out), ("--text", text)):
        if path is None:
            continue
        if path.is_dir():
            raise EdgebedError("is a folder", where=f"{option} {path}", try_=f"{path}/device.trace")
        if path.exists() and log.exists() and path.samefile(log):
            raise EdgebedError(
                f"{option} is the log", where=str(path), why="nothing of yours is ever overwritten",
                try_=f"another {option}",
            )  # fmt: skip


def _chunks(log: Path, baud: int, stack: ExitStack) -> Iterator[bytes]:
    """Return what comes from a file, the standard input or a serial port."""
    if _is_port(log):
        from edgebed.targets._shared.serial_port import SerialStream

        port = SerialStream(str(log), baud)
        stack.callback(port.close)
        return iter(lambda: port.read(3600.0), None)
    if str(log) == "-":
        return iter(lambda: os.read(sys.stdin.fileno(), _CHUNK), b"")
    try:
        file = stack.enter_context(log.open("rb"))
    except OSError as error:
        raise EdgebedError(
            f"cannot be read: {error.strerror}", where=str(log), try_="a file or a serial port"
        ) from error
    return iter(lambda: file.read(_CHUNK), b"")


def _is_port(log: Path) -> bool:
    return bool(_PORT.fullmatch(str(log))) or log.is_char_device()


def _said(log: Path, out: Path, count: int, level: str, losses: Losses, json: bool) -> str:
    if json:
        plain = {
            "trace": str(out), "frames": count, "level": level, "lost_frames": losses.frames,
            "notes": losses.notes, "other_bytes": losses.passed,
            "records_of_others": losses.strangers,
        }  # fmt: skip
        return json_format.dumps(plain, indent=2)
    lines = [f"{out}: {count} frame{'' if count == 1 else 's'} from {log}, level {level}"]
    lines += [f"note: {note}" for note in losses.notes[:LISTED]]
    if (more := len(losses.notes) + losses.more - LISTED) > 0:
        lines.append(f"note: and {more} more of this kind; {losses.frames} frames are left out")
    if losses.strangers:
        lines.append(f"note: {losses.strangers} records are of other networks")
    if losses.passed:
        lines.append(f"note: {losses.passed:,} bytes are no records, as text is; --text keeps them")
    return "\n".join(lines)
