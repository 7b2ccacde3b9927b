"""Records in what a device sent or wrote to a file; `runtime/eb_trace.h` says what they hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"\xeb\x7c"
MOST_BYTES: Final = 1024 + 8
"""Of a payload; more is no record."""
TYPES: Final = frozenset(b"RQUNFILOSCE")
_HEAD: Final = struct.Struct("<2sBBHH")
_TAIL: Final = 4
_PIECE: Final = 1 << 14
"""Bytes that are looked at together: what is behind a record is copied once for each."""


@dataclass(frozen=True)
class Record:
    """A record that arrived whole.

    Attributes:
        type: a letter.
        network: byte that tells networks apart.
        frame: its number, modulo 65,536.
        payload: its content.
    """

    type: str
    network: int
    frame: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Return it as it travels."""
        head = (MAGIC, ord(self.type), self.network, self.frame & 0xFFFF, len(self.payload))
        body = _HEAD.pack(*head) + self.payload
        return body + struct.pack("<I", zlib.crc32(body[2:]))


def split(chunks: Iterable[bytes]) -> Iterator[Record | bytes]:
    """Tell records from whatever else is on the line.

    Args:
        chunks: what arrives, cut anywhere.

    Returns:
        Records, and bytes that belong to none, in order; these are cut anywhere.
    """
    held = b""
    for piece in (one[at : at + _PIECE] for one in chunks for at in range(0, len(one), _PIECE)):
        held += piece
        while held:
            found, used = _first(held)
            if found is None and not used:
                break
            yield held[:used] if found is None else found
            held = held[used:]
    while held:  # nothing more comes: what began as a record is none
        found, used = _first(held)
        used = used or 1
        yield held[:used] if found is None else found
        held = held[used:]


def _first(data: bytes) -> tuple[Record | None, int]:
    """Return the record that data begins with and its bytes, or how many bytes belong to none.

    None and 0: more must come before one can say.
    """
    start = data.find(MAGIC)
    if start != 0:
        end = start if start > 0 else len(data) - (data[-1:] == MAGIC[:1])
        return None, end
    if len(data) < _HEAD.size:
        return None, 0
    _, kind, network, frame, length = _HEAD.unpack_from(data)
    if kind not in TYPES or length > MOST_BYTES:
        return None, len(MAGIC)
    end = _HEAD.size + length
    if len(data) < end + _TAIL:
        return None, 0
    (crc,) = struct.unpack_from("<I", data, end)
    if zlib.crc32(memoryview(data)[2:end]) != crc:
        return None, len(MAGIC)
    return Record(chr(kind), network, frame, data[_HEAD.size : end]), end + _TAIL
