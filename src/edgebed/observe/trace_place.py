"""Where a trace may be written: over an older trace, and over no other file."""

from __future__ import annotations

from pathlib import Path

from edgebed.errors import EdgebedError
from edgebed.observe.trace import MAGIC


def check_place(path: Path) -> None:
    """Refuse to write a trace over a file that no recorder wrote.

    An empty file and the start of a trace count as traces; devices and pipes may be written to.

    Raises:
        EdgebedError: such a file is there.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError:
        return  # writing will say why
    if start != MAGIC[: len(start)]:
        raise EdgebedError(
            "exists and is no trace", where=str(path), why="nothing of yours is ever overwritten",
            try_="another file",
        )  # fmt: skip
