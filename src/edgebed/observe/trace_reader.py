"""Reading traces; `edgebed.observe.trace` describes the format."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import MAGIC, MOST_BYTES, VERSION, Frame, Manifest, Tensor


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
        frame: Frame | None = None
        done = 0
        for kind, head, values in self._records():
            if kind == "F":
                frame = Frame(
                    int(head["number"]),
                    time_ns=int(head.get("time_ns", 0)),
                    sensors=head.get("sensors", {}),
                )
            elif kind == "Z":
                return
            elif frame is None:
                self.cut = f"a record of kind {kind!r} outside of a frame, behind frame {done - 1}"
                return
            elif kind == "E":
                done += 1
                yield frame
                frame = None
            else:
                frame = _with(frame, kind, head, values)
        if not self.cut:
            self.cut = f"the file ends behind {done} whole frames"

    def _manifest(self) -> Manifest:
        start = self._file.read(len(MAGIC) + 1)
        if start[: len(MAGIC)] != MAGIC:
            raise EdgebedError("is no trace", where=str(self.path), try_="a file from run --trace")
        if start[-1:] != bytes([VERSION]):
            raise EdgebedError(
                f"has trace format {start[-1] if len(start) > len(MAGIC) else 'nothing'}",
                where=str(self.path),
                why=f"this version of edgebed reads format {VERSION}",
                try_="record it again",
            )
        for kind, head, _ in self._records():
            if kind == "M":
                try:
                    found = Manifest(**head)
                    return replace(found, layers=tuple(found.layers))
                except TypeError as error:
                    raise self._damaged(str(error)) from error
            break
        raise self._damaged(self.cut or "it does not begin with a manifest")

    def _damaged(self, why: str) -> EdgebedError:
        return EdgebedError("is damaged", where=str(self.path), why=why, try_="record it again")

    def _records(self) -> Iterator[tuple[str, dict[str, Any], bytes]]:
        while True:
            at = self._file.tell()
            start = self._file.read(8)
            if not start:
                return
            if len(start) < 8:
                self.cut = f"cut inside a record at byte {at:,}"
                return
            length, crc = struct.unpack("<II", start)
            body = self._file.read(length) if 5 <= length <= MOST_BYTES else b""
            if len(body) != length or not body:
                self.cut = f"cut inside a record at byte {at:,}"
                return
            if zlib.crc32(body) != crc:
                self.cut = f"the record at byte {at:,} is damaged"
                return
            parsed = _parsed(body)
            if parsed is None:
                self.cut = f"the record at byte {at:,} makes no sense"
                return
            yield parsed


def _parsed(body: bytes) -> tuple[str, dict[str, Any], bytes] | None:
    (size,) = struct.unpack_from("<I", body, 1)
    try:
        head = json.loads(body[5 : 5 + size])
    except ValueError:
        return None
    if not isinstance(head, dict) or 5 + size > len(body):
        return None
    return chr(body[0]), head, body[5 + size :]


def _with(frame: Frame, kind: str, head: dict[str, Any], values: bytes) -> Frame:
    """Return the frame with one record more; kinds of later versions are passed over."""
    if kind in ("T", "S"):
        return replace(
            frame, tensors=(*frame.tensors, _tensor(head, values if kind == "T" else None))
        )
    if kind == "G":
        figure = Figure(**head["figure"])
        if not head.get("layer"):
            return replace(frame, figures={**frame.figures, head["name"]: figure})
        layers = dict(frame.layer_figures)
        layers[head["layer"]] = {**layers.get(head["layer"], {}), head["name"]: figure}
        return replace(frame, layer_figures=layers)
    return frame


def _tensor(head: dict[str, Any], values: bytes | None) -> Tensor:
    shape, dtype = tuple(int(n) for n in head["shape"]), str(head["dtype"])
    array = None
    if values is not None:
        kind = np.dtype(dtype)
        array = np.frombuffer(values, kind.newbyteorder("<")).astype(kind).reshape(shape)
    statistics = head.get("statistics")
    return Tensor(
        head["name"], head["role"], shape, dtype, head.get("scale"), int(head.get("zero_point", 0)),
        head.get("layout", ""), head.get("kind", ""), array,
        None if statistics is None else Statistics.from_json(statistics),
    )  # fmt: skip
