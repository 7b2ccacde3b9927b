"""Writing traces; `edgebed.observe.trace` describes the format."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.observe.statistics import Statistics
from edgebed.observe.trace import LEVELS, MAGIC, VERSION, Frame, Manifest, Tensor


class TraceWriter:
    """Writes a trace; frames are in the file when `write` returns.

    Args:
        path: of the file; what was there is replaced.
        manifest: of the trace. Its level decides what of each tensor is kept.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        if manifest.level not in LEVELS:
            raise EdgebedError(
                f"no level is called {manifest.level!r}", try_=did_you_mean(manifest.level, LEVELS)
            )
        self.path, self.manifest = path, manifest
        self.frames = 0
        self._file: BinaryIO | None = None
        if manifest.level != "off":
            self._file = _opened(path)
            self._put(MAGIC + bytes([VERSION]))
            self._record("M", {**asdict(manifest)})

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
        elif self._file is not None:  # without its end: readers say that something is missing
            file, self._file = self._file, None
            file.close()

    def write(self, frame: Frame) -> None:
        """Append one frame, reduced to what the level keeps.

        Raises:
            EdgebedError: the file cannot be written.
        """
        if self._file is None:
            return
        head = {"number": frame.number, "time_ns": frame.time_ns, "sensors": dict(frame.sensors)}
        self._record("F", head)
        for one in frame.tensors:
            self._tensor(one)
        for name, figure in frame.figures.items():
            self._record("G", {"name": name, "layer": "", "figure": figure.to_json()})
        for layer, found in frame.layer_figures.items():
            for name, figure in found.items():
                self._record("G", {"name": name, "layer": layer, "figure": figure.to_json()})
        self._record("E", {"number": frame.number})
        self._flush()
        self.frames += 1

    def close(self) -> None:
        """End the trace."""
        if self._file is not None:
            self._record("Z", {"frames": self.frames})
            self._flush()
            self._file.close()
            self._file = None

    def _tensor(self, tensor: Tensor) -> None:
        level = self.manifest.level
        if level == "io" and tensor.role == "layer":
            return
        statistics = tensor.statistics
        whole = level != "statistics" or tensor.role in ("output", "answer")
        reduced = level == "statistics" and tensor.role != "answer"
        if reduced and statistics is None and tensor.values is not None:
            statistics = _statistics(tensor)
        keep = tensor.values is not None and whole
        head: dict[str, Any] = {
            "name": tensor.name, "role": tensor.role, "shape": tensor.shape,
            "dtype": tensor.dtype, "scale": tensor.scale, "zero_point": tensor.zero_point,
            "layout": tensor.layout, "kind": tensor.kind,
        }  # fmt: skip
        if statistics is not None:
            head["statistics"] = statistics.to_json()
        if keep:
            assert tensor.values is not None  # or it would not be kept
            kind = np.dtype(tensor.dtype).newbyteorder("<")
            self._record("T", head, np.ascontiguousarray(tensor.values, kind).tobytes())
        elif statistics is not None:
            self._record("S", head)

    def _record(self, kind: str, head: Mapping[str, Any], values: bytes = b"") -> None:
        text = _ENCODER.encode(head).encode()
        body = kind.encode() + struct.pack("<I", len(text)) + text + values
        self._put(struct.pack("<II", len(body), zlib.crc32(body)) + body)

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _flush(self) -> None:
        assert self._file is not None
        try:
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from error


def _opened(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> EdgebedError:
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
    raise TypeError(f"{type(value).__name__} has no place in a trace")


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), default=_plain)
"""Made once: `json.dumps` with settings would make one for each record."""
