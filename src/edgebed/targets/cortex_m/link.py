"""The host's end of the serial line: packets to the firmware and back, over any byte stream.

0xEB 0xED, type, number, length (16 bits), payload, CRC-32 of all before it, little-endian. The
firmware's end is `firmware/packet.c` and `firmware/main.c`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edgebed.errors import EdgebedError

START: Final = b"\xeb\xed"
PAYLOAD_BYTES: Final = 520
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<2sBBH")
_PART: Final = 512
_WHERE: Final = "serial line"
REASONS: Final = {
    1: "it got something else than a packet",
    2: "a packet was cut off",
    3: "a packet arrived damaged: its CRC is wrong",
    4: f"a packet has more than {PAYLOAD_BYTES} bytes",
    5: "it does not know this command, or not now",
    6: "input does not follow on what it has, as after a loss of power",
    7: "not all inputs are there, or nothing was computed",
    8: "there is no such tensor, or it is not so long",
    9: "its processor stopped at a fault",
}
"""What the firmware's refusals mean, by number."""

Rows = Callable[[int, int], bytes]
"""(input, row) -> the row's bytes."""
Poke = Callable[[int, bytes], None]
"""(address, data): writes to the board's memory, as a debugger does."""


Seen = Callable[[int, int, int, bytes], None]
"""(stage, step, offset, data): a part of what a step of an observed network wrote."""


class Stream(Protocol):
    """Bytes both ways."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def read(self) -> bytes:
        """Return what arrived; empty when nothing will come."""


class RefusedError(EdgebedError):
    """The firmware refused a packet; `reason` is one of `REASONS`."""

    def __init__(self, reason: int) -> None:
        self.reason = reason
        super().__init__(
            "the firmware refused",
            where=_WHERE,
            why=REASONS.get(reason, f"reason {reason}"),
            try_="send the inputs again from the start",
        )


@dataclass(frozen=True)
class Packet:
    """One packet: its type (a letter), number and payload."""

    type: str
    number: int
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """Return it as it travels."""
        head = _HEAD.pack(START, ord(self.type), self.number, len(self.payload))
        return head + self.payload + struct.pack("<I", zlib.crc32(head + self.payload))


def parse(data: bytes) -> tuple[Packet, int] | None:
    """Return the packet that `data` begins with and its length, or None while it is incomplete.

    Raises:
        EdgebedError: it is damaged.
    """
    if len(data) < _HEAD.size:
        return None
    start, kind, number, length = _HEAD.unpack_from(data)
    end = _HEAD.size + length
    if start != START:
        raise EdgebedError("the firmware sent no packet", where=_WHERE, why=data[:8].hex(" "))
    if len(data) < end + 4:
        return None
    if zlib.crc32(data[:end]) != struct.unpack_from("<I", data, end)[0]:
        raise EdgebedError("a packet of the firmware arrived damaged", where=_WHERE)
    return Packet(chr(kind), number, data[_HEAD.size : end]), end + 4


@dataclass(frozen=True)
class Hello:
    """What the firmware says about itself; sizes in bytes."""

    name: str
    digest: str
    arena_bytes: int
    input_bytes: tuple[int, ...]
    input_rows: tuple[int, ...]
    output_bytes: tuple[int, ...]


class Link:
    """Commands to the firmware."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._number, self._received = stream, 0, b""

    def hello(self) -> Hello:
        """Ask what runs there.

        Raises:
            EdgebedError: nothing answers, or a firmware of another version.
        """
        payload = self._exchange("H", b"", "H")
        version, inputs, outputs, arena = struct.unpack_from("<4I", payload)
        if version != _VERSION:
            raise EdgebedError(
                f"the firmware speaks version {version} of the protocol", where=_WHERE
            )
        digest = payload[16:80].decode("ascii", "replace")
        words = struct.unpack_from(f"<{2 * inputs + outputs}I", payload, 80)
        name = payload[80 + 4 * len(words) :].decode("ascii", "replace")
        sizes, rows = words[:inputs], words[inputs : 2 * inputs]
        return Hello(name, digest, arena, sizes, rows, words[2 * inputs :])

    def send_input(
        self, index: int, data: bytes, sent: Callable[[int], None] = lambda _count: None
    ) -> None:
        """Send one input in parts.

        Args:
            index: which.
            data: all of it.
            sent: called with the bytes sent so far.

        Raises:
            RefusedError: the firmware does not take it.
        """
        for at in range(0, len(data), _PART):
            part = data[at : at + _PART]
            self._exchange("I", struct.pack("<2I", index, at) + part, "A")
            sent(at + len(part))

    def place_input(self, index: int, data: bytes, poke: Poke) -> None:
        """Put one input into the board's memory instead of sending it.

        Args:
            index: which.
            data: all of it.
            poke: writes it.

        Raises:
            RefusedError: it is not what is in memory now.
        """
        (address,) = struct.unpack("<I", self._exchange("P", struct.pack("<I", index), "A"))
        poke(address, data)
        self._exchange("L", struct.pack("<2I", index, zlib.crc32(data)), "A")

    def run(
        self, rows: Rows | None = None, poke: Poke | None = None, seen: Seen | None = None
    ) -> int:
        """Let it compute; return the bytes of stack that the network used.

        Args:
            rows: gives the rows of inputs that come row by row.
            poke: writes them to the board's memory; None to send them.
            seen: gets what an observed network's steps wrote.

        Raises:
            RefusedError: inputs are missing, or what came was cut or damaged.
        """
        self._send("R", b"")
        while (packet := self._receive()).type in "WT":
            if packet.type == "W" and rows is not None:
                part = _row_part(packet.payload, rows, poke)
            elif packet.type == "T" and seen is not None:
                stage, step, at = struct.unpack_from("<3I", packet.payload)
                seen(stage, step, at, packet.payload[12:])
                part = b""
            else:
                break
            self._stream.write(Packet("D", self._number, part).to_bytes())
        (stack,) = struct.unpack("<I", _checked(packet, "A"))
        return int(stack)

    def output(self, index: int, nbytes: int) -> bytes:
        """Return an output.

        Raises:
            RefusedError: nothing was computed since the last input.
        """
        parts = [
            self._exchange("O", struct.pack("<3I", index, at, min(_PART, nbytes - at)), "O")
            for at in range(0, nbytes, _PART)
        ]
        return b"".join(parts)

    def self_test(self) -> int:
        """Run the network's own known answers; return 0, or the first that is wrong, from 1."""
        (wrong,) = struct.unpack("<i", self._exchange("S", b"", "A"))
        return int(wrong)

    def _exchange(self, kind: str, payload: bytes, expected: str) -> bytes:
        self._send(kind, payload)
        return _checked(self._receive(), expected)

    def _send(self, kind: str, payload: bytes) -> None:
        self._number = (self._number + 1) % 256
        self._stream.write(Packet(kind, self._number, payload).to_bytes())

    def _receive(self) -> Packet:
        while True:
            if found := parse(self._received):
                packet, length = found
                self._received = self._received[length:]
                return packet
            data = self._stream.read()
            if not data:
                self._received = b""
                raise EdgebedError("the firmware does not answer", where=_WHERE)
            self._received += data


def _row_part(wish: bytes, rows: Rows, poke: Poke | None) -> bytes:
    """Return the part of a row that the firmware asks for; nothing where it was put there."""
    which, row, at, count, address = struct.unpack("<5I", wish)
    part = rows(which, row)[at : at + count]
    if poke is None:
        return part
    poke(address, part)
    return b""


def _checked(packet: Packet, expected: str) -> bytes:
    if packet.type == "N":
        raise RefusedError(*struct.unpack("<I", packet.payload))
    if packet.type != expected:
        raise EdgebedError(
            f"the firmware answered {packet.type!r} instead of {expected!r}", where=_WHERE
        )
    return packet.payload
