"""Values of a network description: each reader takes one YAML value and its place in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgebed.errors import EdgebedError, did_you_mean

PROCESSORS = 64


@dataclass(frozen=True)
class Place:
    """Where a value stands: file, line (from 1) and the key it belongs to."""

    file: str
    line: int
    key: str = ""

    def fail(self, what: str, *, why: str | None = None, try_: str | None = None) -> EdgebedError:
        """Return an error that names file, line and key."""
        subject = f"`{self.key}`: {what}" if self.key else what
        return EdgebedError(subject, where=f"{self.file}:{self.line}", why=why, try_=try_)


Reader = Callable[[Any, Place], Any]


def integer(low: int | None = None, high: int | None = None) -> Reader:
    """Return a reader of whole numbers from `low` to `high` (both included)."""

    def read(value: Any, place: Place) -> int:
        number = _whole(value)
        if number is None:
            raise place.fail(f"{value!r} is not a whole number")
        if (low is not None and number < low) or (high is not None and number > high):
            raise place.fail(f"{number} is out of range", why=_range(low, high))
        return number

    return read


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            return int(value.replace("_", ""), 0)
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"


def boolean(value: Any, place: Place) -> bool:
    """Read true or false; 1 and 0 count."""
    if value in (True, False):
        return bool(value)
    raise place.fail(f"{value!r} is neither true nor false", try_="true or false")


def text(value: Any, place: Place) -> str:
    """Read a word."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise place.fail(f"{value!r} is not a word")


def choice(known: Mapping[str, Any]) -> Reader:
    """Return a reader of one of several words, in any case; an empty value reads as `none`."""

    def read(value: Any, place: Place) -> Any:
        word = "none" if value is None else str(value).lower()
        if word not in known:
            raise place.fail(f"unknown value {value!r}", try_=did_you_mean(word, known))
        return known[word]

    return read


def pair(low: int, high: int) -> Reader:
    """Return a reader of one number for both axes, or of [rows, columns]."""
    one = integer(low, high)

    def read(value: Any, place: Place) -> tuple[int, int]:
        if not isinstance(value, list):
            number = one(value, place)
            return number, number
        if len(value) not in (1, 2):
            raise place.fail(f"{value} has {len(value)} values", try_="[rows, columns]")
        return one(value[0], place), one(value[-1], place)

    return read


def same_pair(low: int, high: int) -> Reader:
    """Return a reader of one number that holds for both axes."""
    both = pair(low, high)

    def read(value: Any, place: Place) -> int:
        rows, columns = both(value, place)
        if rows != columns:
            raise place.fail(f"{value} differs between rows and columns", why="it has to be equal")
        return int(rows)

    return read


def dimensions(value: Any, place: Place) -> tuple[int, int]:
    """Read rows and columns; one number is a length with one column."""
    if not isinstance(value, list):
        return integer(1, 1023)(value, place), 1
    rows = [integer(1, 1023)(item, place) for item in value]
    if len(rows) not in (1, 2):
        raise place.fail(f"{value} has {len(rows)} values", try_="[rows, columns]")
    return (rows[0], rows[1]) if len(rows) == 2 else (rows[0], 1)


def crop(value: Any, place: Place) -> tuple[int, int]:
    """Read how many rows to leave out at the beginning and at the end."""
    rows: tuple[int, int] = pair(0, 1023)(value, place)
    return rows


def processors(value: Any, place: Place) -> int:
    """Read a processor map; dots and underscores group digits, a word is hexadecimal."""
    mask: Any = value
    if isinstance(value, str):
        try:
            mask = int(value.replace(".", "").replace("_", ""), 16)
        except ValueError:
            mask = None
    if not isinstance(mask, int) or isinstance(mask, bool) or not 0 < mask < 1 << PROCESSORS:
        raise place.fail(
            f"{value!r} is not a processor map",
            why=f"a map has one bit for each of {PROCESSORS} processors and at least one set",
            try_="a hexadecimal number such as 0x000000000000000f",
        )
    return mask


def kernel(value: Any, place: Place) -> tuple[int, int]:
    """Read `RxC`, one number or [rows, columns]; one number k is (k, k)."""
    if isinstance(value, str) and "x" in value.lower() and not value.lower().startswith("0x"):
        value = value.lower().split("x")
    size: tuple[int, int] = pair(1, 9)(value, place)
    return size


def sequences(value: Any, place: Place) -> tuple[int | str, ...]:
    """Read layer numbers or names: one, or a list of them."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(i, int | str) and not isinstance(i, bool) for i in items):
        raise place.fail(f"{value!r} is not a layer or a list of layers")
    return tuple(item.lower() if isinstance(item, str) else item for item in items)


def sequence(value: Any, place: Place) -> int | str:
    """Read one layer number or name."""
    return sequences([value], place)[0]


def anything(value: Any, place: Place) -> Any:
    """Read a value that has no effect here."""
    return value
