"""What the records of a frame say about the tensors of a compiled network."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.log_frames import LoggedFrame
from edgebed.targets._shared.rows.log_records import Record
from edgebed.targets._shared.rows.manifest import Manifest, TensorFacts
from edgebed.targets._shared.rows.network import array_of
from edgebed.targets._shared.rows.seen import Memory
from edgebed.targets.contract import Inner

Array = npt.NDArray[Any]
INPUT: Final = 0x8000
MOST_RAW: Final = 1 << 26
"""Bytes of raw data of a frame; more is damage."""
_SUMS: Final = struct.Struct("<HBB4I")
_TYPE: Final = re.compile(r"(u?int(?:8|16|32)|float32)((?: *[ x,] *\d+)*)")
_UNSIGNED, _REAL = 2, 4
"""Kinds of sums: of bytes without sign, which come less 128, and of real numbers."""


@dataclass(frozen=True)
class Sums:
    """Of a tensor's values as they are stored; of bytes without sign inside less 128.

    Attributes:
        count: values.
        bad: of them NaN or infinite; not in the others.
        zeros: at the zero point.
        at_low, at_high: at either end of the type; 0 for real numbers.
        low, high: least and largest.
        sum: of all.
        squares: of all.
    """

    count: int
    bad: int
    zeros: int
    at_low: int
    at_high: int
    low: float
    high: float
    sum: float
    squares: float


@dataclass
class Content:
    """A frame's content.

    Attributes:
        inputs: by name, in the imported file's shape; empty where only sums were kept.
        outputs: likewise.
        inner: tensors of the layers, at the level full.
        input_sums: by name.
        stage_sums: by number of the stage.
        stage_ticks: of every stage, where there is a clock.
        raw: what the application gave, by name.
        sensors: readings and notes by name.
    """

    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)
    inner: tuple[Inner, ...] = ()
    input_sums: dict[str, Sums] = field(default_factory=dict)
    stage_sums: dict[int, Sums] = field(default_factory=dict)
    stage_ticks: dict[int, int] = field(default_factory=dict)
    raw: dict[str, Array] = field(default_factory=dict)
    sensors: dict[str, Any] = field(default_factory=dict)


def content(frame: LoggedFrame, manifest: Manifest) -> Content:
    """Return what a frame holds.

    Raises:
        EdgebedError: its records do not fit the network.
    """
    try:
        return _Reading(manifest).of(frame)
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise EdgebedError("its records make no sense", why=str(error)) from error


class _Reading:
    """Takes the records of a frame one after the other."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self._found = manifest, Content()
        self._memory = Memory(manifest) if manifest.inner else None
        self._sides: dict[tuple[str, int], bytearray] = {}
        self._raw: list[tuple[str, str, bytearray]] = []

    def of(self, frame: LoggedFrame) -> Content:
        """Read all records."""
        takers = {
            "R": self._begin_raw, "Q": self._add_raw, "U": self._sensor, "N": self._note,
            "I": self._part, "O": self._part, "L": self._layer, "S": self._sums, "C": self._ticks,
        }  # fmt: skip
        for record in frame.records:
            takers[record.type](record)
        found, manifest = self._found, self._manifest
        found.inputs |= self._tensors("I", manifest.inputs)
        found.outputs |= self._tensors("O", manifest.outputs)
        found.raw |= {name: _raw(text, data) for name, text, data in self._raw}
        if self._memory is not None:
            found.inner = self._memory.inner()
        return found

    def _tensors(self, side: str, facts: tuple[TensorFacts, ...]) -> Mapping[str, Array]:
        return {
            one.name: array_of(bytes(self._sides[side, number]), one)
            for number, one in enumerate(facts)
            if (side, number) in self._sides
        }

    def _part(self, record: Record) -> None:
        number, offset = struct.unpack_from("<HxxI", record.payload)
        facts = (self._manifest.inputs if record.type == "I" else self._manifest.outputs)[number]
        place = self._sides.setdefault((record.type, number), bytearray(facts.nbytes))
        _put(place, offset, record.payload[8:], facts.name)

    def _layer(self, record: Record) -> None:
        stage, step, offset = struct.unpack_from("<HHI", record.payload)
        if self._memory is None:
            raise ValueError("the folder names no inner tensors: compile it again")
        self._memory.take(stage, step, offset, record.payload[8:])

    def _sums(self, record: Record) -> None:
        place, found = sums_of(record.payload)
        if place & INPUT:
            self._found.input_sums[self._manifest.inputs[place - INPUT].name] = found
        else:
            self._found.stage_sums[place] = found

    def _ticks(self, record: Record) -> None:
        first, count = struct.unpack_from("<HH", record.payload)
        found = struct.unpack_from(f"<{count}I", record.payload, 4)
        if first + count > len(self._manifest.stages):
            raise ValueError(f"it has a stage {first + count - 1}")
        self._found.stage_ticks |= dict(enumerate(found, first))

    def _sensor(self, record: Record) -> None:
        (value,) = struct.unpack_from("<i", record.payload)
        self._found.sensors[_text(record.payload[4:])] = value

    def _note(self, record: Record) -> None:
        name, _, text = record.payload.partition(b"\0")
        self._found.sensors[_text(name)] = _text(text)

    def _begin_raw(self, record: Record) -> None:
        (count,) = struct.unpack_from("<I", record.payload)
        if count > MOST_RAW:
            raise ValueError(f"raw data of {count:,} bytes")
        name, _, kind = record.payload[4:].partition(b"\0")
        self._raw.append((_text(name), _text(kind), bytearray(count)))

    def _add_raw(self, record: Record) -> None:
        (offset,) = struct.unpack_from("<I", record.payload)
        name, _, place = self._raw[-1]
        _put(place, offset, record.payload[4:], name)


def sums_of(payload: bytes) -> tuple[int, Sums]:
    """Return the sums of a record, and what they are of: a stage, or INPUT and an input's number.

    Raises:
        struct.error: it is too short.
    """
    place, kind, _, count, zeros, at_low, at_high = _SUMS.unpack_from(payload)
    real = kind == _REAL
    values = struct.unpack_from("<ffdd" if real else "<iiqQ", payload, _SUMS.size)
    ends = (at_low, zeros, 0, 0) if real else (0, zeros, at_low, at_high)
    found = Sums(count, *ends, *values)
    return place, _raised(found, 128) if kind == _UNSIGNED else found


def _raised(sums: Sums, by: int) -> Sums:
    """Return the sums of the same values plus a number."""
    squares = sums.squares + 2 * by * sums.sum + by * by * sums.count
    low, high = sums.low + by, sums.high + by
    return replace(sums, low=low, high=high, sum=sums.sum + by * sums.count, squares=squares)


def _put(place: bytearray, offset: int, data: bytes, name: str) -> None:
    if offset + len(data) > len(place):
        raise ValueError(f"{name!r} has {len(place):,} bytes, and byte {offset + len(data):,} came")
    place[offset : offset + len(data)] = data


def _raw(text: str, data: bytearray) -> Array:
    """Return raw data in the shape that the application named, or as bytes."""
    found = _TYPE.fullmatch(text.strip())
    if found is None:
        return np.frombuffer(data, np.uint8)
    kind = np.dtype(found[1])
    shape = tuple(int(n) for n in re.findall(r"\d+", found[2])) or (-1,)
    if -1 not in shape and int(np.prod(shape)) * kind.itemsize != len(data):
        return np.frombuffer(data, np.uint8)
    return np.frombuffer(data, kind.newbyteorder("<")).astype(kind).reshape(shape)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
