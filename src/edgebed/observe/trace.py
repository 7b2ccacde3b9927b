"""One file for what a network did, wherever it ran: frames of tensors, statistics and figures.

A trace is a stream of records behind eight bytes `EBTRACE` and the format's version. A record is
its length (uint32), the CRC-32 of its body (uint32), and the body: one byte that says what it is,
the length of a JSON head (uint32), the head, and raw values. All numbers are little-endian.

    M  manifest     once, first: where the trace was made, level, network, contract
    F  frame        begins one: number, time, sensor readings
    T  tensor       of the frame: name, role, type, shape, scale, zero point; then the values
    S  statistics   of a tensor that is not kept whole
    G  figure       of the frame or of a layer: latency, cycles, memory, energy
    E  end          of the frame
    Z  end          of the trace

A frame counts once its end was written, so a device that loses power or a full disk costs the frame
in the making and no other. Readers stream: memory is that of one frame.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, get_args

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.figures import Figure
from edgebed.observe.statistics import Statistics
from edgebed.program.types import Array

MAGIC: Final = b"EBTRACE"
VERSION: Final = 1
SUFFIX: Final = ".trace"
MOST_BYTES: Final = 1 << 30
"""Of one record; more is damage."""

Level = Literal["off", "io", "statistics", "full"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
Role = Literal["raw", "input", "layer", "output"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True)
class Manifest:
    """Where a trace comes from.

    Attributes:
        source: what computed: reference, onnxruntime, litert, host, or a device's name.
        level: what is kept.
        network: its name.
        digest: of the program or file; empty where there is none.
        contract: pre- and post-processing in force, as plain data; None where unknown.
        layers: names of the layers in the order of execution, where they are known.
        notes: anything else: versions, processor, command.
    """

    source: str
    level: Level = "io"
    network: str = ""
    digest: str = ""
    contract: Mapping[str, Any] | None = None
    layers: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a frame: its values, or their statistics.

    Attributes:
        name: in the network or the pipeline.
        role: `raw` before preprocessing, `input` of the network, `layer`, or `output`.
        shape: as recorded.
        dtype: numpy's name.
        scale: real value of one step; None for real numbers.
        zero_point: the integer that means 0.0.
        layout: names of the axes where they are known, e.g. `HWC`.
        kind: of the op that made it; empty where unknown.
        values: None where only statistics were kept.
        statistics: of the real values.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    layout: str = ""
    kind: str = ""
    values: Array | None = None
    statistics: Statistics | None = None

    @property
    def real(self) -> Array:
        """The values as float32 real numbers.

        Raises:
            EdgebedError: only statistics were kept.
        """
        if self.values is None:
            raise EdgebedError(
                f"tensor {self.name!r} holds statistics only", try_="record with level full"
            )
        values = self.values.astype(np.float32)
        if self.scale is None:
            return values
        result: Array = (values - np.float32(self.zero_point)) * np.float32(self.scale)
        return result


@dataclass(frozen=True, eq=False)
class Frame:
    """What happened with one input.

    Attributes:
        number: from 0.
        tensors: in the order of recording.
        figures: of the frame by name: latency, cycles, memory, energy.
        layer_figures: of layers, by layer and name.
        sensors: readings of the device, e.g. orientation or light.
        time_ns: when it began; 0 where nobody knows.
    """

    number: int
    tensors: tuple[Tensor, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    layer_figures: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    sensors: Mapping[str, Any] = field(default_factory=dict)
    time_ns: int = 0

    def of(self, role: Role) -> tuple[Tensor, ...]:
        """Return the tensors of a role."""
        return tuple(one for one in self.tensors if one.role == role)

    def named(self, name: str) -> Tensor | None:
        """Return a tensor by name, or None."""
        return next((one for one in self.tensors if one.name == name), None)


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
        self.close()

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
        if level == "statistics" and statistics is None and tensor.values is not None:
            statistics = Statistics.of(tensor.real, tensor)
        keep = tensor.values is not None and (level != "statistics" or tensor.role == "output")
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
        text = json.dumps(head, separators=(",", ":"), default=_plain).encode()
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


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a trace")


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
