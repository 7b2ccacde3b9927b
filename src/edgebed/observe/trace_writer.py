"""Writing traces; `edgebed.observe.trace` describes the format."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.figures import Figure
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import LEVELS, MAGIC, VERSION, Frame, Manifest, Tensor
from edgebed.observe.trace_place import check_place
from edgebed.program.types import Array

_TOGETHER: Final = 1 << 16
"""Bytes of small frames that are written by one call."""
_MOST_STARTS: Final = 4096
_JOINED: Final = 1 << 20
"""Bytes of a frame up to which it is put together, to be written by one call."""
_LENGTH_CRC: Final = struct.Struct("<II").pack


class TraceWriter:
    """Writes a trace; frames are in the file when `write` returns, or soon after it.

    Args:
        path: of the file; what was there is replaced.
        manifest: of the trace. Its level decides what of each tensor is kept.
        patience_s: so long, and up to 64 KiB, small frames may wait for the next one and be written
            with it; `close` writes what waits.
    """

    def __init__(self, path: Path, manifest: Manifest, *, patience_s: float = 0.0) -> None:
        if manifest.level not in LEVELS:
            raise EdgebedError(
                f"no level is called {manifest.level!r}", try_=did_you_mean(manifest.level, LEVELS)
            )
        self.path, self.manifest = path, manifest
        self.frames = 0
        self._patience_s, self._written = patience_s, 0.0
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._file: FileIO | None = None
        self._starts: dict[tuple[object, ...], _Start] = {}
        self._figures: dict[tuple[str, ...], tuple[str, str]] = {}
        if manifest.level != "off":
            head = _ENCODER.encode({**asdict(manifest)}).encode()
            self._file = _opened(path)
            self._put([MAGIC + bytes([VERSION]), _record("M", head)])

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:  # without its end: readers say that something is missing
            self._shut([])

    def write(self, frame: Frame) -> None:
        """Append one frame, reduced to what the level keeps.

        Raises:
            EdgebedError: the file cannot be written.
        """
        if self._file is None:
            return
        parts: list[bytes | memoryview] = [_frame(frame)]
        for one in frame.tensors:
            parts += self._tensor(one)
        for name, figure in frame.figures.items():
            parts.append(self._figure("", name, figure))
        for layer, found in frame.layer_figures.items():
            for name, figure in found.items():
                parts.append(self._figure(layer, name, figure))
        parts.append(_record("E", b'{"number":%d}' % frame.number))
        self._add(parts)
        self.frames += 1

    def close(self) -> None:
        """End the trace."""
        self._shut([_record("Z", b'{"frames":%d}' % self.frames)])

    def _shut(self, end: Sequence[bytes]) -> None:
        """Write the frames that wait, and what comes behind them."""
        if self._file is not None:
            file, self._file = self._file, None
            waiting, self._waiting = self._waiting, []
            with file:
                _write(self.path, file, [*waiting, *end])

    def _tensor(self, tensor: Tensor) -> Sequence[bytes | memoryview]:
        """Return the record of a tensor, in parts."""
        level, role = self.manifest.level, tensor.role
        if level == "io" and role == "layer":
            return ()
        if tensor.values is not None and (level != "statistics" or role in ("output", "answer")):
            values = _plain_bytes(tensor.values, tensor.dtype)
            return self._start("T", tensor).record(values)
        statistics = tensor.statistics
        if statistics is None and tensor.values is not None:
            statistics = _statistics(tensor)
        if statistics is None:
            return ()
        return self._start("S", tensor).record(statistics.to_bytes())

    def _start(self, kind: str, one: Tensor) -> _Start:
        """Return how records of a tensor begin; it is made once."""
        key = (
            kind, one.name, one.role, one.shape, one.dtype, one.scale, one.zero_point, one.layout,
            one.kind,
        )  # fmt: skip
        start = self._starts.get(key)
        if start is None:
            if len(self._starts) >= _MOST_STARTS:  # pictures of ever new sizes
                self._starts.clear()
            head = {
                "name": one.name, "role": one.role, "shape": one.shape, "dtype": one.dtype,
                "scale": one.scale, "zero_point": one.zero_point, "layout": one.layout,
                "kind": one.kind,
            }  # fmt: skip
            start = self._starts[key] = _Start(_body(kind, _ENCODER.encode(head).encode()))
        return start

    def _figure(self, layer: str, name: str, figure: Figure) -> bytes:
        if type(figure.value) is not float or figure.low is not None or figure.high is not None:
            head = {"name": name, "layer": layer, "figure": figure.to_json()}
            return _record("G", _ENCODER.encode(head).encode())
        key = (layer, name, figure.unit, figure.kind, figure.source)
        ends = self._figures.get(key)
        if ends is None:
            head = {"name": name, "layer": layer, "figure": {**figure.to_json(), "value": None}}
            before, _, behind = _ENCODER.encode(head).partition('"value":null')
            ends = self._figures[key] = (before + '"value":', behind)
        value = figure.value
        shown = repr(value) if math.isfinite(value) else _ENCODER.encode(value)
        return _record("G", f"{ends[0]}{shown}{ends[1]}".encode())

    def _add(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write a frame's parts, or keep them for the next frame."""
        size, now = sum(map(len, parts)), time.monotonic()
        if self._patience_s and size < _TOGETHER:
            parts = [b"".join(parts)]  # the arrays may change meanwhile
        self._waiting += parts
        self._waiting_bytes += size
        if self._waiting_bytes >= _TOGETHER or now - self._written >= self._patience_s:
            parts, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._put(parts)
            self._written = now

    def _put(self, parts: Sequence[bytes | memoryview]) -> None:
        assert self._file is not None
        _write(self.path, self._file, parts)


@dataclass(frozen=True)
class _Start:
    """How records begin that differ in their values only.

    Attributes:
        body: what is constant of it.
        crc: of that.
    """

    body: bytes
    crc: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crc", zlib.crc32(self.body))

    def record(self, values: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
        """Return a record, in two parts."""
        length = len(self.body) + len(values)
        return _LENGTH_CRC(length, zlib.crc32(values, self.crc)) + self.body, values


def _frame(frame: Frame) -> bytes:
    if frame.sensors:
        head = {"number": frame.number, "time_ns": frame.time_ns, "sensors": dict(frame.sensors)}
        return _record("F", _ENCODER.encode(head).encode())
    return _record("F", b'{"number":%d,"time_ns":%d,"sensors":{}}' % (frame.number, frame.time_ns))


def _record(kind: str, head: bytes) -> bytes:
    body = _body(kind, head)
    return _LENGTH_CRC(len(body), zlib.crc32(body)) + body


def _body(kind: str, head: bytes) -> bytes:
    return kind.encode() + struct.pack("<I", len(head)) + head


def _plain_bytes(values: Array, dtype: str) -> bytes | memoryview:
    """Return values as they stand in a record, without copying them where that is possible."""
    plain = np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data if plain.size else b""


def _write(path: Path, file: FileIO, parts: Sequence[bytes | memoryview]) -> None:
    try:
        if sum(map(len, parts)) <= _JOINED:
            _write_all(file, b"".join(parts))
        else:
            for part in parts:
                _write_all(file, part)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    done = file.write(data) or 0
    while done < len(data):
        done += file.write(data[done:]) or 0


def _opened(path: Path) -> FileIO:
    """Open a file without a buffer: a frame is written by one call."""
    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(path, "ab")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _lock(file)
        if path.is_file():
            file.truncate(0)
    except OSError as error:
        file.close()
        raise _unwritable(path, error) from error
    return file


def _lock(file: FileIO) -> None:
    """Keep others from recording to the same file."""
    try:
        import fcntl
    except ImportError:  # a system without such locks
        return
    with contextlib.suppress(PermissionError):  # a file system without them
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unwritable(path: Path, error: OSError) -> EdgebedError:
    if isinstance(error, BlockingIOError):
        return EdgebedError(
            "is being written by another recording", where=str(path), try_="another file"
        )
    return EdgebedError(f"cannot write the trace: {error.strerror}", where=str(path))


def _statistics(tensor: Tensor) -> Statistics:
    values = tensor.values
    assert values is not None  # or there would be nothing to reduce
    if values.dtype.itemsize != 1 or values.dtype.kind not in "iu":
        return Statistics.of(tensor.real, tensor)
    if tensor.scale is None:  # bytes of a picture: both ends of their range are what they mean
        found = Statistics.of_bytes(np.ascontiguousarray(values), 1.0, 0)
        return replace(found, at_low=0.0, at_high=0.0)
    return Statistics.of_bytes(np.ascontiguousarray(values), tensor.scale, tensor.zero_point)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise EdgebedError(
        f"{type(value).__name__} has no place in a trace", where=repr(value)[:60],
        try_="text, numbers, lists and mappings of them",
    )  # fmt: skip


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), default=_plain)
"""Made once: `json.dumps` with settings would make one for each record."""
