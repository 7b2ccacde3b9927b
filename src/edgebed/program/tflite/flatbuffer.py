"""Bounded reading of a flatbuffer that may be damaged or malicious.

The schema package computes offsets from bytes of the file without looking where they lead. Python
keeps that within the file, so what is left to bound is work: vectors that claim more values than
the file has bytes, and tables that many entries share.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError

DAMAGE: Final = (struct.error, ValueError, TypeError, IndexError, OverflowError, AssertionError)
"""What the schema package raises on bytes that are no flatbuffer."""

MAX_ENTRIES: Final = 20_000
"""So many tensors, operators or buffers a file may have; large networks have some thousands."""

_OVERLAP: Final = 8
_FLOOR_BYTES: Final = 1 << 16


class Reader:
    """Reads vectors and strings of one file and stops when they claim more than it can hold."""

    def __init__(self, where: str, size: int) -> None:
        """Prepare to read a file of `size` bytes named `where` in messages."""
        self.where, self.size = where, size
        self._left = _OVERLAP * size + _FLOOR_BYTES

    def damaged(self, what: str, why: str) -> EdgebedError:
        """Return the error for a file that contradicts itself."""
        return EdgebedError(
            f"the file is damaged: {what}",
            where=self.where,
            why=why,
            try_="copy, download or export it again",
        )

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turn what the schema package raises inside into one sentence about `what`."""
        try:
            yield
        except DAMAGE as error:
            raise self.damaged(f"{what} cannot be read", self._cause(error)) from error

    def _cause(self, error: Exception) -> str:
        if isinstance(error, struct.error):
            return f"it would lie behind the file's {self.size} bytes"
        return str(error).split("\n")[0][:120] or type(error).__name__

    def entries(self, table: Any, field: str) -> Iterator[Any]:
        """Yield the tables of a vector of tables."""
        with self.reading(field):
            count: int = getattr(table, f"{field}Length")()
        if count > min(MAX_ENTRIES, self.size // 4):
            raise self.damaged(f"{field} has {count} entries", f"{MAX_ENTRIES} are possible")
        get: Callable[[int], Any] = getattr(table, field)
        for index in range(count):
            with self.reading(f"entry {index} of {field}"):
                entry = get(index)
            yield entry

    def vector(self, table: Any, field: str, owner: str) -> npt.NDArray[Any]:
        """Return a vector of numbers, without a copy; `owner` is what messages name."""
        what = f"{field} of {owner}"
        with self.reading(what):
            count: int = getattr(table, f"{field}Length")()
            if count > self.size:
                raise self.damaged(f"{what} has {count} values", f"the file has {self.size} bytes")
            values = getattr(table, f"{field}AsNumpy")()
        return values if count else np.zeros(0, np.uint8)

    def numbers(self, table: Any, field: str, owner: str) -> list[Any]:
        """Return a short vector as Python numbers."""
        values = self.vector(table, field, owner)
        self._spend(values.nbytes, f"{field} of {owner}")
        result: list[Any] = values.tolist()
        return result

    def text(self, table: Any, field: str, owner: str) -> str:
        """Return a string; what is not UTF-8 is replaced."""
        with self.reading(f"{field} of {owner}"):
            raw: bytes = getattr(table, field)() or b""
        self._spend(len(raw), f"{field} of {owner}")
        return raw.decode("utf-8", errors="replace")

    def _spend(self, count: int, field: str) -> None:
        self._left -= count
        if self._left < 0:
            raise self.damaged(f"{field} overlaps other parts", "its parts exceed the file's size")
