"""The host's end of the serial line: commands to the firmware, over any byte stream.

The virtual board's UART, a TCP connection and a real serial port are all streams; the protocol is
in docs/max78000-uart.md, its bytes in `wire`.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.serial_port import SerialStream
from edgebed.targets._shared.serial_port import lost as _lost
from edgebed.targets.max78000.ports import Ports
from edgebed.targets.max78000.wire import (
    ERROR,
    REPLY,
    DetectionReport,
    Frame,
    Wire,
    decode,
    encode,
    read_detections,
)

__all__ = ["Link", "SerialStream", "Stream", "TcpStream"]
Array = npt.NDArray[Any]

_WHERE = "serial line"
_READY = "ready"


class Stream(Protocol):
    """Bytes both ways."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def read(self, seconds: float) -> bytes:
        """Return what arrived, at least one byte; empty when nothing comes within `seconds`."""

    def close(self) -> None:
        """End the connection."""


class TcpStream:
    """A board behind a TCP port, for example a virtual one with `serve_uart`.

    Raises:
        EdgebedError: nobody listens there.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout=5)
        except OSError as error:
            raise EdgebedError(
                f"cannot connect to {host}:{port}", why=str(error), try_="start the board first"
            ) from error

    def write(self, data: bytes) -> None:
        """See `Stream.write`."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _lost(str(error)) from error

    def read(self, seconds: float) -> bytes:
        """See `Stream.read`."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise _lost(str(error)) from error
        if not data:
            raise _lost("the board's side closed it")
        return data

    def close(self) -> None:
        """See `Stream.close`."""
        self._socket.close()


@dataclass(frozen=True)
class Information:
    """What the firmware says about itself.

    Attributes:
        name: the program's name.
        plan: digest of the plan it was built from.
        stack_bytes: stack used so far.
        classes: class names of a detector.
        wire: how its tensors travel.
    """

    name: str
    plan: str
    stack_bytes: int
    classes: tuple[str, ...]
    wire: Wire


@dataclass(frozen=True)
class SelfTest:
    """Result of the self-test; cycles are of the 50 MHz timer."""

    run: int
    passed: int
    timeouts: int
    cycles: int


class Link:
    """Commands and answers.

    Args:
        stream: where the bytes go.
        timeout_s: how long an answer may take; on a virtual board, in virtual time.

    Attributes:
        text: everything the firmware printed, taken by `take_text`.
    """

    def __init__(self, stream: Stream, timeout_s: float = 30.0) -> None:
        self.stream, self._timeout = stream, timeout_s
        self._sequence, self._rest, self._text, self._damaged = 0, b"", "", 0

    def wait_ready(self) -> None:
        """Wait for the end of the start-up text.

        Raises:
            EdgebedError: it does not come.
        """
        while _READY not in self._text.split():
            self._receive("its start-up text")

    def take_text(self) -> str:
        """Return what was printed since the last call."""
        text, self._text = self._text, ""
        return text

    def request(self, command: str, payload: bytes = b"") -> bytes:
        """Send a command and return the answer's payload.

        Raises:
            EdgebedError: no answer comes in time, one is damaged, or the firmware refuses; its
                words are quoted.
        """
        before = self._damaged
        self._sequence = self._sequence + 1 & 255
        self.stream.write(encode(Frame(ord(command), self._sequence, payload)))
        while True:
            for frame in self._receive(f"the answer to command {command}"):
                if frame.sequence != self._sequence:
                    continue
                if frame.type == ERROR:
                    raise _refused(command, frame.payload)
                if frame.type == ord(command) | REPLY:
                    return frame.payload
            if self._damaged > before:  # it may have been the answer, which comes once only
                raise EdgebedError(
                    f"a frame arrived damaged during command {command}", where=_WHERE,
                    why="its check sum is wrong", try_="the command again, or a better cable",
                )  # fmt: skip

    def information(self) -> Information:
        """Ask what is running."""
        payload = self.request("I")
        return read_information(payload)

    def self_test(self) -> SelfTest:
        """Let the firmware replay its test vectors."""
        payload = self.request("T")
        _check_length("T", payload, 16)
        return SelfTest(*struct.unpack("<4I", payload))

    def run(self, wire: Wire, tensor: Array) -> tuple[int, dict[str, Array]]:
        """Run one input (int8, C x H x W); return cycles at 50 MHz and the outputs by name."""
        payload = self.request("R", wire.pack_input(tensor))
        _check_length("R", payload, 4 + wire.output_bytes)
        return struct.unpack_from("<I", payload)[0], wire.unpack_outputs(payload[4:])

    def detect(self) -> DetectionReport:
        """Take one camera picture."""
        return read_detections(self.request("D"))

    def stop_streaming(self) -> None:
        """Let the firmware wait for commands only."""
        self.request("X")

    def read_memory(self, address: int, count: int) -> bytes:
        """Read memory of the device; both multiples of 4."""
        return self.request("M", struct.pack("<2I", address, count))

    def close(self) -> None:
        """End the connection."""
        self.stream.close()

    def _receive(self, wanted: str) -> tuple[Frame, ...]:
        data = self.stream.read(self._timeout)
        if not data:
            raise EdgebedError(
                f"the board does not send {wanted}",
                where=_WHERE,
                why=f"nothing came for {self._timeout:g} s; it last said {self._text[-200:]!r}",
                try_="check the port and its speed (921600 baud), and reset the board",
            )
        received = decode(self._rest + data)
        self._rest = received.rest
        self._damaged += received.damaged
        self._text += received.text
        return received.frames


def _check_length(command: str, payload: bytes, count: int) -> None:
    if len(payload) != count:
        raise EdgebedError(
            f"the answer to command {command} has {len(payload)} bytes", where=_WHERE,
            why=f"{count} are expected", try_="flash the firmware that belongs to this program",
        )  # fmt: skip


def _refused(command: str, payload: bytes) -> EdgebedError:
    code = payload[0] if payload else 0
    reason = payload[1:].decode("ascii", "replace")
    return EdgebedError(f"the firmware refuses command {command}: {reason}", where=_WHERE,
                        why=f"error code {code}")  # fmt: skip


def read_information(payload: bytes) -> Information:
    """Read the answer to `I`.

    Raises:
        EdgebedError: a line is missing or cannot be read.
    """
    lines = [line.split() for line in payload[4:].decode("ascii", "replace").splitlines()]
    single = {words[0]: words[1:] for words in lines if words}
    try:
        shape = _shape(single["input"])
        fold, group = int(single["fold"][0]), int(single["group"][0])
        outputs = [words[1:] for words in lines if words[:1] == ["output"]]
        parts = [words[1:] for words in lines if words[:1] == ["part"]]
        kinds = {words[0]: words[1] for words in outputs}
        shapes = {words[0]: _shape(words[2:]) for words in outputs}
        return Information(
            name=" ".join(single["name"]),
            plan=" ".join(single["plan"]),
            stack_bytes=struct.unpack_from("<I", payload)[0],
            classes=tuple(" ".join(words[1:]) for words in lines if words[:1] == ["class"]),
            wire=Wire(
                shape,
                fold,
                _input_ports(shape, fold, group),
                tuple(_output_ports(words, shapes, kinds) for words in parts),
                shapes,
            ),
        )
    except (KeyError, ValueError, IndexError, ZeroDivisionError, struct.error) as error:
        raise EdgebedError(
            "the firmware's information cannot be read", where=_WHERE, why=repr(error),
            try_="build the firmware with this version of edgebed",
        ) from error  # fmt: skip


def _shape(words: list[str]) -> tuple[int, int, int]:
    channels, height, width = (int(word) for word in words)
    return channels, height, width


def _input_ports(shape: tuple[int, int, int], fold: int, group: int) -> Ports:
    channels, height, width = shape
    folded = (channels * fold**2, height // fold, width // fold)
    return Ports("input", folded, 0, (), group, False)


def _output_ports(
    words: list[str], shapes: dict[str, tuple[int, int, int]], kinds: dict[str, str]
) -> Ports:
    name, first, count = words[0], int(words[1]), int(words[2])
    return Ports(name, (count, *shapes[name][1:]), first, (), 1, kinds[name] == "int32")


def detection_rows(report: DetectionReport, width: int, height: int) -> npt.NDArray[np.float64]:
    """Return n x 6: class, score (0 to 1), x1, y1, x2, y2 in pixels of the network's input."""
    size = (width, height, width, height)
    rows = [
        (
            one.label,
            one.score_q15 / 32768,
            *(v * s / 65536 for v, s in zip(one.box_q16, size, strict=True)),
        )
        for one in report.detections
    ]
    return np.array(rows, np.float64).reshape(-1, 6)
