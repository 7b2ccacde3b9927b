"""JSON sections whose entries know their line, found only when a message needs it."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebed.data.readers.defects import DefectError

BLANK = re.compile(r"[\s,:]*")


@dataclass(frozen=True)
class Entry:
    """One object of a section; as a string it is file, line, section, index and id."""

    data: dict[str, Any]
    section: Entries
    index: int

    def __str__(self) -> str:
        name = f"{self.section.name}[{self.index}]"
        identity = f", id {self.data['id']}" if isinstance(self.data.get("id"), int) else ""
        return f"{self.section.path}:{self.section.line(self.index)} ({name}{identity})"

    def integer(self, key: str) -> int:
        """Return the whole number under `key`; DefectError otherwise."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise DefectError(self, f"{key} is {value!r}, not a whole number")
        return value

    def number(self, key: str) -> float:
        """Return the number under `key`; DefectError otherwise."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DefectError(self, f"{key} is {value!r}, not a number")
        return _real(value)

    def numbers(self, key: str, count: int) -> list[float]:
        """Return the list of `count` numbers under `key`; DefectError otherwise."""
        value = self._value(key)
        right = isinstance(value, list) and len(value) == count
        if not right or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
            raise DefectError(self, f"{key} is {value!r}, not {count} numbers")
        return [_real(v) for v in value]

    def text(self, key: str) -> str:
        """Return the string under `key`; DefectError otherwise."""
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise DefectError(self, f"{key} is {value!r}, not a text")
        return value

    def _value(self, key: str) -> Any:
        if key not in self.data:
            raise DefectError(self, f"{key} is missing")
        return self.data[key]


class Entries:
    """A section, which is a list of objects, of a JSON file."""

    def __init__(self, path: Path, name: str, entries: list[dict[str, Any]]) -> None:
        self.path, self.name, self._entries = path, name, entries

    def __iter__(self) -> Iterator[Entry]:
        return (Entry(data, self, index) for index, data in enumerate(self._entries))

    def line(self, index: int) -> int:
        """Return the line on which entry `index` starts; reads the file again the first time."""
        return self._lines[index]

    @functools.cached_property
    def _lines(self) -> list[int]:
        text = self.path.read_text(encoding="utf-8")
        lines, line, place = [], 1, 0
        for start in _starts(text, self.name):
            line += text.count("\n", place, start)
            place = start
            lines.append(line)
        return lines


def parse(path: Path, sections: Sequence[str]) -> dict[str, Entries]:
    """Read a JSON file that holds lists of objects.

    Raises:
        DefectError: not JSON (with the line), or a section is missing or of another kind.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DefectError(f"{path}:{error.lineno}", f"broken JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise DefectError(path, "not a UTF-8 text file") from None
    except ValueError:  # whole numbers of thousands of digits
        raise DefectError(path, "a number is too long to be read") from None
    except OSError as error:
        raise DefectError(path, f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise DefectError(path, "nested too deeply") from None
    if not isinstance(data, dict):
        raise DefectError(path, f"an object with {', '.join(sections)} is expected")
    for name in sections:
        entries = data.get(name)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            what = "is missing" if entries is None else "is not a list of objects"
            raise DefectError(path, f"section {name!r} {what}")
    return {name: Entries(path, name, data[name]) for name in sections}


def _real(value: float) -> float:
    """Return a JSON number as float; a whole number beyond its range becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _starts(text: str, section: str) -> Iterator[int]:
    """Yield the offset of each entry of a top-level list in valid JSON."""
    decoder = json.JSONDecoder()
    place = _skip(text, text.index("{") + 1)
    while text[place] != "}":
        key, place = decoder.raw_decode(text, place)
        place = _skip(text, place)
        if key != section:
            _, place = decoder.raw_decode(text, place)
            place = _skip(text, place)
            continue
        place = _skip(text, place + 1)
        while text[place] != "]":
            yield place
            _, place = decoder.raw_decode(text, place)
            place = _skip(text, place)
        return


def _skip(text: str, place: int) -> int:
    match = BLANK.match(text, place)
    return match.end() if match else place
