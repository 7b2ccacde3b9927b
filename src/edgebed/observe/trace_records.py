"""What the records of a trace say; `edgebed.observe.trace` describes the format.

Devices write traces too, so no head is taken on trust: whatever a record lacks, or has in another
form, is said in words, and names keep no character that would steer a terminal or break a line.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar, get_args

import numpy as np

from edgebed.figures import Figure, Kind
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import LEVELS, ROLES, Frame, Manifest, Tensor
from edgebed.program.types import Array

Choice = TypeVar("Choice", bound=str)
Made = TypeVar("Made")
HEAD: Final = 5
"""Bytes of a body in front of its head: the kind, and the head's length."""
SHORT: Final = 1024
"""Bytes of heads that are remembered."""
LARGEST: Final = 2**63
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class NonsenseError(ValueError):
    """A record whose checksum is right and whose content is none; the text says what."""


def parsed(body: bytes) -> tuple[str, dict[str, Any], bytes]:
    """Return a record's kind, head and raw values.

    Raises:
        NonsenseError: its head is none.
    """
    (size,) = struct.unpack_from("<I", body, 1)
    if HEAD + size > len(body):
        raise NonsenseError("its head is longer than the record")
    text = body[HEAD : HEAD + size]
    head = _known(text) if size <= SHORT else _head(text)
    return chr(body[0]), head, body[HEAD + size :]


class Head(dict[str, Any]):
    """A record's head, and what was made of it; nobody may change it."""

    made: Any = None


def _head(text: bytes) -> Head:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NonsenseError("its head is no JSON") from error
    if not isinstance(head, dict):
        raise NonsenseError("its head is no JSON object")
    return Head(head)


_known: Final = lru_cache(maxsize=4096)(_head)
"""A tensor's head is the same in every frame, and read once."""


def manifest(head: Mapping[str, Any]) -> Manifest:
    """Return what a manifest's head says.

    Raises:
        NonsenseError: something is missing or of another form.
    """
    contract = head.get("contract")
    return Manifest(
        _text(head, "source"),
        _choice(head, "level", LEVELS),
        _text(head, "network", ""),
        _text(head, "digest", ""),
        None if contract is None else _mapping(head, "contract"),
        tuple(_clean(_checked(name, str, "layers")) for name in _list(head, "layers", ())),
        _mapping(head, "notes"),
    )


def frame(head: Mapping[str, Any]) -> Frame:
    """Return the frame that a head begins, still without tensors.

    Raises:
        NonsenseError: something is missing or of another form.
    """
    number = _whole(head, "number")
    if number < 0:
        raise NonsenseError(f"its number is {number}")
    return Frame(number, sensors=_mapping(head, "sensors"), time_ns=_whole(head, "time_ns", 0))


def tensor(head: Mapping[str, Any], raw: bytes | Array, *, is_whole: bool) -> Tensor:
    """Return a tensor.

    Args:
        head: of its record.
        raw: its values, or its statistics; empty where those are in the head. An array of bytes
            is mapped from the file and stays there.
        is_whole: the values were kept.

    Raises:
        NonsenseError: something is missing or of another form, or the values do not fill the shape.
    """
    plain, kind = _once(head, _described)
    return Tensor(
        plain.name, plain.role, plain.shape, plain.dtype, plain.scale, plain.zero_point,
        plain.layout, plain.kind, _values(raw, kind, plain.shape) if is_whole else None,
        _statistics(head, raw if isinstance(raw, bytes) and not is_whole else b""),
    )  # fmt: skip


def _described(head: Mapping[str, Any]) -> tuple[Tensor, np.dtype[Any]]:
    """Return what a head says of a tensor, and its type."""
    shape = tuple(_count(one) for one in _list(head, "shape"))
    kind = _dtype(_text(head, "dtype"))
    scale = head.get("scale")
    found = Tensor(
        _text(head, "name"), _choice(head, "role", ROLES), shape, kind.name,
        None if scale is None else _finite(scale), _whole(head, "zero_point", 0),
        _text(head, "layout", ""), _text(head, "kind", ""),
    )  # fmt: skip
    return found, kind


def figure(head: Mapping[str, Any]) -> tuple[str, str, Figure]:
    """Return a figure's layer (empty for the whole frame), its name, and the figure.

    Raises:
        NonsenseError: something is missing or of another form.
    """
    return _once(head, _figure)


def _figure(head: Mapping[str, Any]) -> tuple[str, str, Figure]:
    plain = _mapping(head, "figure")
    ends = [None if plain.get(end) is None else _real(plain, end) for end in ("low", "high")]
    found = Figure(
        _real(plain, "value"), _text(plain, "unit"), _choice(plain, "kind", KINDS),
        _text(plain, "source"), *ends,
    )  # fmt: skip
    return _text(head, "layer", ""), _text(head, "name"), found


def _once(head: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Made]) -> Made:
    """Return what a head means, looked at once where the head is one that is remembered."""
    if not isinstance(head, Head):
        return make(head)
    if head.made is None:
        head.made = make(head)
    made: Made = head.made
    return made


def _values(raw: bytes | Array, kind: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    wanted = math.prod(shape) * kind.itemsize
    if len(raw) != wanted:
        size = "x".join(map(str, shape)) or "one value"
        raise NonsenseError(f"{len(raw):,} bytes are no {size} of {kind.name} ({wanted:,} bytes)")
    if not isinstance(raw, bytes):
        return raw.view(kind.newbyteorder("<")).reshape(shape)
    return np.frombuffer(raw, kind.newbyteorder("<")).astype(kind).reshape(shape)


@lru_cache(maxsize=64)
def _dtype(name: str) -> np.dtype[Any]:
    try:
        kind = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        raise NonsenseError(f"no type is called {name!r}") from error
    if kind.kind not in "fiub":
        raise NonsenseError(f"{name!r} is no type of numbers")
    return kind.newbyteorder("=")


def _statistics(head: Mapping[str, Any], raw: bytes) -> Statistics | None:
    if not raw and head.get("statistics") is None:
        return None
    plain = {} if raw else dict(_mapping(head, "statistics"))
    try:
        found = Statistics.from_bytes(raw) if raw else Statistics.from_json(plain)
    except (TypeError, ValueError) as error:
        raise NonsenseError("its statistics lack something or have too much") from error
    numbers = [
        found.count, found.bad, found.mean, found.deviation, found.low, found.high, found.zeros,
        found.at_low, found.at_high, *found.histogram, *(v for row in found.channels for v in row),
    ]  # fmt: skip
    if not all(isinstance(one, int | float) for one in numbers):
        raise NonsenseError("its statistics are no numbers")
    return found


_MISSING: Final = object()


def _checked(value: Any, form: type[Any], key: str) -> Any:
    """Return a value of a form; True is no number."""
    if not isinstance(value, form) or (isinstance(value, bool) and form is not bool):
        raise NonsenseError(f"{key!r} is {_shown(value)}")
    return value


def _of(head: Mapping[str, Any], key: str, other: object = _MISSING) -> Any:
    value = head.get(key, other)
    if value is _MISSING:
        raise NonsenseError(f"{key!r} is missing")
    return value


def _text(head: Mapping[str, Any], key: str, other: object = _MISSING) -> str:
    return _clean(_checked(_of(head, key, other), str, key))


def _clean(text: str) -> str:
    """Return a name in one printable piece: control characters and line breaks become a mark."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _choice(head: Mapping[str, Any], key: str, known: Sequence[Choice]) -> Choice:
    value = _of(head, key)
    for one in known:
        if one == value:
            return one
    raise NonsenseError(f"{key!r} is {_shown(value)}, not one of {', '.join(known)}")


def _whole(head: Mapping[str, Any], key: str, other: object = _MISSING) -> int:
    value = _of(head, key, other)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if abs(_checked(value, int, key)) >= LARGEST:
        raise NonsenseError(f"{key!r} is {_shown(value)}")
    return int(value)


def _count(value: Any) -> int:
    if _checked(value, int, "shape") < 0:
        raise NonsenseError(f"'shape' holds {value}")
    return int(value)


def _real(head: Mapping[str, Any], key: str) -> float:
    value = _of(head, key)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise NonsenseError(f"{key!r} is {_shown(value)}")
    return float(_checked(float(value) if type(value) is int else value, float, key))


def _finite(value: Any) -> float:
    real = _real({"scale": value}, "scale")
    if not math.isfinite(real):
        raise NonsenseError(f"'scale' is {real}")
    return real


def _mapping(head: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _checked(head.get(key, {}), dict, key)
    return found


def _list(head: Mapping[str, Any], key: str, other: object = _MISSING) -> Sequence[Any]:
    value = _of(head, key, other)
    return value if isinstance(value, tuple) else list(_checked(value, list, key))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
