"""What verbs print: tables, JSON that every parser reads, and output whose reader may leave."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgebed.errors import EdgebedError


def say(text: str) -> None:
    """Print to standard output, and see that it got there.

    A reader that left (`head`, `less`) has seen enough: the exit code stays what it would be.

    Raises:
        EdgebedError: standard output cannot be written, e.g. a disk is full.
    """
    if hasattr(sys.stdout, "reconfigure"):  # names may hold what the terminal's code page lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text)
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or Python would try once more when it leaves
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise EdgebedError(
                f"cannot be written: {error.strerror}", where="standard output"
            ) from error


def json_text(plain: object) -> str:
    """Return plain data as one JSON object; numbers that are not finite stand as words.

    NaN becomes "nan", the infinities "inf" and "-inf": JSON has no numbers for them.
    """
    return json.dumps(_finite(plain), indent=2, allow_nan=False)


def _finite(plain: Any) -> Any:
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else str(plain)
    if isinstance(plain, Mapping):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return plain


def table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Give the lines of a table whose rows have the same names; numbers stand on the right."""
    if not rows:
        return
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    right = {name: all(_is_number(row[name]) for row in rows) for name in names}
    for row in ({name: name for name in names}, *rows):
        cells = (
            row[name].rjust(widths[name]) if right[name] else row[name].ljust(widths[name])
            for name in names
        )
        yield "  " + "  ".join(cells).rstrip()


def _is_number(text: str) -> bool:
    return text == "-" or text.removesuffix(" %").replace(",", "").replace(".", "").isdecimal()
