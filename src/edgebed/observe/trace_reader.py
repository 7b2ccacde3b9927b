"""Reading traces; `edgebed.observe.trace` describes the format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe import trace_records as records
from edgebed.observe.parts import LARGE
from edgebed.observe.trace import MAGIC, MOST_BYTES, READABLE, VERSION, Frame, Manifest, Tensor
from edgebed.program.types import Array


class TraceReader:
    """Reads a trace frame by frame.

    Args:
        path: of the file.

    Attributes:
        manifest: of the trace.
        cut: why the trace ends before its end; empty while it does not. Known after the last
            frame.

    Raises:
        EdgebedError: it is no trace, of another version, or its manifest is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.cut = path, ""
        self._at = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise EdgebedError(
                f"cannot be read: {error.strerror}", where=str(path), try_="a .trace file"
            ) from error
        try:
            self.manifest = self._manifest()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TraceReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def frames(self) -> Iterator[Frame]:
        """Give every whole frame; `cut` says afterwards whether something is missing."""
        done = 0
        made: _Making | None = None
        for kind, head, values in self._records():
            if kind == "Z":
                return
            if kind != "F" and made is None:
                self.cut = f"a record of kind {kind!r} outside of a frame, behind frame {done - 1}"
                return
            try:
                made = _Making(records.frame(head)) if made is None or kind == "F" else made
                made.add(kind, head, values)
            except records.NonsenseError as error:
                self.cut = f"the record at byte {self._at:,} makes no sense: {error}"
                return
            if kind == "E":
                done += 1
                yield made.whole()
                made = None
        if not self.cut:
            self.cut = f"the file ends behind {done} whole frame{'' if done == 1 else 's'}"

    def _manifest(self) -> Manifest:
        start = self._file.read(len(MAGIC) + 1)
        if not start:
            raise EdgebedError("is empty", where=str(self.path), try_="record it again")
        if start[: len(MAGIC)] != MAGIC[: len(start)]:
            raise EdgebedError("is no trace", where=str(self.path), try_="a file from run --trace")
        if len(start) <= len(MAGIC):
            raise self._damaged(f"it is cut behind {len(start)} bytes, before its first record")
        if start[-1] not in READABLE:
            raise EdgebedError(
                f"has trace format {start[-1]}",
                where=str(self.path),
                why=f"this version of edgebed reads formats {READABLE[0]} to {VERSION}",
                try_="record it again, or read it with the version that wrote it",
            )
        for kind, head, _ in self._records():
            if kind == "M":
                try:
                    return records.manifest(head)
                except records.NonsenseError as error:
                    raise self._damaged(f"its manifest makes no sense: {error}") from error
            break
        raise self._damaged(self.cut or "it does not begin with a manifest")

    def _damaged(self, why: str) -> EdgebedError:
        return EdgebedError("is damaged", where=str(self.path), why=why, try_="record it again")

    def _body(self, length: int) -> tuple[bytes, Array | None, int]:
        """Return a record's body, or its head and its values where they are large, and its CRC.

        Large values are read for their checksum and then left in the file. The body is empty where
        the file ends before it does.
        """
        start = self._file.read(min(length, LARGE))
        (size,) = struct.unpack_from("<I", start.ljust(records.HEAD, b"\0"), 1)
        crc, left = zlib.crc32(start), length - len(start)
        if not left or start[:1] != b"T" or records.HEAD + size > len(start):
            body = start + self._file.read(left)
            return body if len(body) == length else b"", None, zlib.crc32(body[len(start) :], crc)
        head = start[: records.HEAD + size]
        at = self._file.tell() - len(start) + len(head)
        while left:
            part = self._file.read(min(left, LARGE))
            if not part:
                return b"", None, 0
            crc, left = zlib.crc32(part, crc), left - len(part)
        values = np.memmap(self.path, np.uint8, "r", at, (length - len(head),))
        return head, values, crc

    def _records(self) -> Iterator[tuple[str, dict[str, Any], bytes | Array]]:
        while True:
            self._at = self._file.tell()
            start = self._file.read(8)
            if not start:
                return
            length, crc = struct.unpack("<II", start) if len(start) == 8 else (0, 0)
            sound = records.HEAD <= length <= MOST_BYTES
            body, values, found_crc = self._body(length) if sound else (b"", None, 0)
            if not body:
                self.cut = f"cut inside a record at byte {self._at:,}"
                return
            if found_crc != crc:
                self.cut = f"the record at byte {self._at:,} is damaged"
                return
            try:
                kind, head, rest = records.parsed(body)
            except records.NonsenseError as error:
                self.cut = f"the record at byte {self._at:,} makes no sense: {error}"
                return
            found = kind, head, rest if values is None else values
            yield found


@dataclass
class _Making:
    """A frame in the making; records of kinds of later versions are passed over."""

    frame: Frame
    tensors: list[Tensor] = field(default_factory=list)
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)

    def add(self, kind: str, head: dict[str, Any], values: bytes | Array) -> None:
        """Take a record in.

        Raises:
            NonsenseError: it says nothing.
        """
        if kind in ("T", "S"):
            self.tensors.append(records.tensor(head, values, is_whole=kind == "T"))
        elif kind == "G":
            layer, name, figure = records.figure(head)
            self.figures.setdefault(layer, {})[name] = figure

    def whole(self) -> Frame:
        """Return the frame."""
        figures = self.figures.pop("", {})
        return replace(
            self.frame, tensors=tuple(self.tensors), figures=figures, layer_figures=self.figures
        )
