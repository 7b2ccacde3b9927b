"""What a device can afford to report of a tensor: counts that add up.

A sketch of a tensor of 8-bit integers is 32 counters of 32 bits, one for each group of 8
neighbouring integers, the number of frames, and the number of values at either end of the type:
BYTES bytes, however many frames it has seen. Sketches of two devices, or of two hours, merge by
adding. A counter of 32 bits holds at least 155,000 pictures of 96 x 96 x 3.
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
_ENTRY: Final = struct.Struct("<IIII32I")  # frames, at the low end, at the high end, unused, bins
BYTES: Final = _ENTRY.size
"""Of one tensor."""
MOST: Final = 2**32 - 1
"""Where a counter stays: a full one must not start again from zero."""

C_SOURCE: Final = """\
/* Counts of a tensor of 8-bit integers; add up over frames, report at leisure, then clear. */
#include <stdint.h>

typedef struct {
    uint32_t frames, at_low, at_high, unused;
    uint32_t bins[32];
} eb_sketch;

static void eb_sketch_add(eb_sketch *s, const int8_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        s->bins[(uint8_t)(values[i] + 128) >> 3]++;
        s->at_low += values[i] == -128;
        s->at_high += values[i] == 127;
    }
    s->frames++;
}
"""
"""For firmware; the structure in little-endian order is what `Sketch.to_bytes` gives."""


@dataclass(frozen=True)
class Sketch:
    """Counts of one tensor over frames.

    Attributes:
        frames: that were added.
        bins: values by group of neighbouring integers, or between the edges of a profile.
        at_low: values at the least integer of the type; 0 for real numbers.
        at_high: at the largest.
    """

    frames: int
    bins: tuple[int, ...]
    at_low: int = 0
    at_high: int = 0

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
            self.at_low + other.at_low, self.at_high + other.at_high,
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
            EdgebedError: it has another number of bins than devices have.
        """
        if len(self.bins) != BINS:
            raise EdgebedError(f"a sketch of {len(self.bins)} bins", why=f"devices have {BINS}")
        plain = (self.frames, self.at_low, self.at_high, 0, *self.bins)
        return _ENTRY.pack(*(min(n, MOST) for n in plain))

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """Return what `to_bytes` or a device gave.

        Raises:
            EdgebedError: the length is another one.
        """
        if len(data) != BYTES:
            raise EdgebedError(f"{len(data)} bytes are no sketch", why=f"one has {BYTES}")
        frames, low, high, _, *bins = _ENTRY.unpack(data)
        return cls(frames, tuple(bins), low, high)


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
    _, version, tensors, crc = _HEAD.unpack_from(data)
    body, size = data[_HEAD.size :], 4 + BYTES
    if version != VERSION:
        raise EdgebedError(f"has format {version} of sketches", why=f"known is {VERSION}")
    if len(body) != tensors * size or zlib.crc32(body) != crc:
        raise EdgebedError("is a damaged report of sketches", try_="ask the device again")
    known = {zlib.crc32(name.encode()): name for name in names}
    found = {}
    for at in range(0, len(body), size):
        (key,) = struct.unpack_from("<I", body, at)
        if key not in known:
            raise EdgebedError("reports a tensor that the profile lacks", why=f"CRC {key:08x}")
        found[known[key]] = Sketch.from_bytes(body[at + 4 : at + size])
    return found
