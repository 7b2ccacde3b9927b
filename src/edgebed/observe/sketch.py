"""What a device can afford to report of a tensor: counts that add up.

A sketch of a tensor of 8-bit integers is 32 counters of 32 bits, one for each group of 8
neighbouring integers, the number of frames, and the number of values at either end of the type:
BYTES bytes, however many frames it has seen; of 16 bits, groups of 2048. Sketches of two devices,
or of two hours, merge by adding. A counter of 32 bits holds at least 155,000 pictures of
96 x 96 x 3; where it could not hold one frame more, the device ends counting and says so.

The C that counts comes with each library for Cortex-M and Arm Linux, as NAME_sketch.h.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.types import Array

BINS: Final = 32
MAGIC: Final = b"EBSK"
VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sHHI")  # magic, version, tensors, CRC of what follows
_ENTRY: Final = struct.Struct("<IIII32I")  # frames, at the low end, at the high end, full, bins
BYTES: Final = _ENTRY.size
"""Of one tensor."""
MOST: Final = 2**32 - 1
"""What a counter holds."""


@dataclass(frozen=True)
class Sketch:
    """Counts of one tensor over frames.

    Attributes:
        frames: that were added.
        bins: values by group of neighbouring integers, or between the edges of a profile.
        at_low: values at the least integer of the type; 0 for real numbers.
        at_high: at the largest.
        full: counting ended early, because a counter could not hold one frame more.
    """

    frames: int
    bins: tuple[int, ...]
    at_low: int = 0
    at_high: int = 0
    full: bool = False

    @property
    def count(self) -> int:
        """Values."""
        return sum(self.bins)

    @property
    def shares(self) -> Array:
        """Of the values in each bin; zeros where there is none."""
        return np.asarray(self.bins, np.float64) / max(self.count, 1)

    def __add__(self, other: Sketch) -> Sketch:
        if len(self.bins) != len(other.bins):
            raise EdgebedError(f"sketches of {len(self.bins)} and {len(other.bins)} bins differ")
        bins = tuple(a + b for a, b in zip(self.bins, other.bins, strict=True))
        return Sketch(
            self.frames + other.frames, bins,
            self.at_low + other.at_low, self.at_high + other.at_high, self.full or other.full,
        )  # fmt: skip

    @classmethod
    def of(cls, values: Array, edges: Array | None = None) -> Sketch:
        """Return the sketch of one frame.

        Args:
            values: stored integers of 8 or 16 bits, or real numbers.
            edges: BINS - 1 increasing real numbers between the bins; for real numbers only.
        """
        return cls(1, tuple(int(n) for n in counts(values, edges)), *_ends(values))

    def to_bytes(self) -> bytes:
        """Return the form that devices report, BYTES bytes.

        Raises:
            EdgebedError: it has another number of bins than devices have, or larger counts.
        """
        if len(self.bins) != BINS:
            raise EdgebedError(f"a sketch of {len(self.bins)} bins", why=f"devices have {BINS}")
        plain = (self.frames, self.at_low, self.at_high, int(self.full), *self.bins)
        if max(plain) > MOST:
            raise EdgebedError("a sketch is beyond what 32 bits count", try_="report more often")
        return _ENTRY.pack(*plain)

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """Return what `to_bytes` or a device gave.

        Raises:
            EdgebedError: the length is another one.
        """
        if len(data) != BYTES:
            raise EdgebedError(f"{len(data)} bytes are no sketch", why=f"one has {BYTES}")
        frames, low, high, full, *bins = _ENTRY.unpack(data)
        return cls(frames, tuple(bins), low, high, bool(full))


def counts(values: Array, edges: Array | None = None) -> Array:
    """Return BINS counts of one tensor; NaN and infinities are left out."""
    flat = values.ravel()
    if edges is None and flat.dtype.kind in "iu":
        return np.bincount(_groups(flat), minlength=BINS)
    flat = flat[np.isfinite(flat)]
    if edges is None:
        raise EdgebedError("a sketch of real numbers needs the edges of its bins")
    return np.bincount(np.searchsorted(edges, flat, side="right"), minlength=BINS)


def _groups(flat: Array) -> Array:
    info = np.iinfo(flat.dtype)
    width = (int(info.max) - int(info.min) + 1) // BINS
    result: Array = (flat.astype(np.int64) - int(info.min)) // width
    return result


def _ends(values: Array) -> tuple[int, int]:
    if values.dtype.kind not in "iu":
        return 0, 0
    info = np.iinfo(values.dtype)
    return int((values == info.min).sum()), int((values == info.max).sum())


def pack(sketches: Mapping[str, Sketch]) -> bytes:
    """Return a report: a head, then names' CRC-32 and counts of each tensor in order."""
    body = b"".join(
        struct.pack("<I", zlib.crc32(name.encode())) + one.to_bytes()
        for name, one in sketches.items()
    )
    return _HEAD.pack(MAGIC, VERSION, len(sketches), zlib.crc32(body)) + body


@dataclass(frozen=True)
class Report:
    """One packet of a device.

    Attributes:
        sketches: by tensor.
        unknown: CRC-32 of names that nobody knows.
    """

    sketches: Mapping[str, Sketch]
    unknown: tuple[int, ...] = ()


def unpack(data: bytes, names: Iterable[str]) -> dict[str, Sketch]:
    """Return a report's sketches by name.

    Args:
        data: from `pack` or a device.
        names: of the tensors that may occur.

    Raises:
        EdgebedError: it is no report, damaged, or of tensors that nobody knows.
    """
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise EdgebedError("is no report of sketches", why=f"it does not begin with {MAGIC!r}")
    if _length(data, 0) != len(data):
        raise EdgebedError("is a damaged report of sketches", try_="ask the device again")
    report = _report(data, _named(names))
    if report.unknown:
        why = f"CRC {report.unknown[0]:08x}"
        raise EdgebedError("reports a tensor that the profile lacks", why=why)
    return dict(report.sketches)


def captured(data: bytes, names: Iterable[str]) -> tuple[list[Report], int]:
    """Find the reports in what a serial line carried, text and anything else between them.

    Args:
        data: all of it.
        names: of the tensors that may occur.

    Returns:
        The reports in order, and how many were damaged or cut.

    Raises:
        EdgebedError: a report has a format of another version.
    """
    known, found, damaged, at = _named(names), [], 0, data.find(MAGIC)
    while at >= 0:
        size = _length(data, at)
        if size:
            found.append(_report(data[at : at + size], known))
        damaged += not size
        at = data.find(MAGIC, at + (size or len(MAGIC)))
    return found, damaged


def _named(names: Iterable[str]) -> dict[int, str]:
    return {zlib.crc32(name.encode()): name for name in names}


def _length(data: bytes, at: int) -> int:
    """Return the bytes of the whole report that begins there; 0 for a damaged or cut one.

    Raises:
        EdgebedError: it has a format of another version.
    """
    if len(data) - at < _HEAD.size:
        return 0
    _, version, tensors, crc = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + tensors * (4 + BYTES)
    if version == VERSION:
        whole = end <= len(data) and zlib.crc32(data[at + _HEAD.size : end]) == crc
        return end - at if whole else 0
    # Any two bytes are a version: only a report whose checksum fits is one of another version.
    if end <= len(data) and zlib.crc32(data[at + _HEAD.size : end]) == crc:
        raise EdgebedError(f"has format {version} of sketches", why=f"known is {VERSION}")
    return 0


def _report(data: bytes, known: Mapping[int, str]) -> Report:
    found, unknown = {}, []
    for at in range(_HEAD.size, len(data), 4 + BYTES):
        (key,) = struct.unpack_from("<I", data, at)
        if key in known:
            found[known[key]] = Sketch.from_bytes(data[at + 4 : at + 4 + BYTES])
        else:
            unknown.append(key)
    return Report(found, tuple(unknown))
