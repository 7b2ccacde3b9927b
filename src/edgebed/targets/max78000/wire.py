"""What travels on the serial line: frames, and tensors in the order the firmware takes them.

The format is documented in docs/max78000-uart.md; the C side is firmware/wire.c.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.data.fixed_decode import FixedDetections
from edgebed.errors import EdgebedError
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Program
from edgebed.targets.max78000.image import DeviceImage
from edgebed.targets.max78000.ports import Ports, ports, side_by_side

Array = npt.NDArray[Any]
MAGIC = b"\xeb\xed"
REPLY = 0x80
ERROR = 0xFF
_HEAD = struct.Struct("<BBI")


@dataclass(frozen=True)
class Frame:
    """One message: a command (`I`, `R`, ...), or its reply with bit 7 set, or `ERROR`."""

    type: int
    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Received:
    """What a stretch of bytes from the device holds.

    Attributes:
        frames: complete frames whose checksum is right.
        text: everything outside of frames, as text.
        rest: an incomplete frame at the end; put it in front of the next bytes.
        damaged: frames with a wrong checksum.
    """

    frames: tuple[Frame, ...]
    text: str
    rest: bytes
    damaged: int = 0


def encode(frame: Frame) -> bytes:
    """Return a frame's bytes."""
    body = _HEAD.pack(frame.type, frame.sequence, len(frame.payload)) + frame.payload
    return MAGIC + body + struct.pack("<I", zlib.crc32(body))


def decode(data: bytes) -> Received:
    """Separate frames from text."""
    frames: list[Frame] = []
    text = bytearray()
    damaged = 0
    while data:
        start = data.find(MAGIC[:1])
        if start < 0:
            text += data
            data = b""
            break
        text, data = text + data[:start], data[start:]
        end = _frame_end(data)
        if end is None:
            break
        if end == 0 or zlib.crc32(data[2 : end - 4]) != struct.unpack_from("<I", data, end - 4)[0]:
            damaged += end != 0
            text, data = text + data[:1], data[1:]
            continue
        kind, sequence, _ = _HEAD.unpack_from(data, 2)
        frames.append(Frame(kind, sequence, data[2 + _HEAD.size : end - 4]))
        data = data[end:]
    return Received(tuple(frames), text.decode("ascii", "replace"), data, damaged)


def _frame_end(data: bytes) -> int | None:
    """Return a frame's length; 0 when it is none, None when more bytes are needed."""
    if data[:2] != MAGIC[: len(data[:2])]:
        return 0
    if len(data) < 2 + _HEAD.size:
        return None
    end = 2 + _HEAD.size + int(_HEAD.unpack_from(data, 2)[2]) + 4
    return end if len(data) >= end else None


@dataclass(frozen=True)
class Detection:
    """One box as the device reports it: class, score (Q15), corners (Q16 of the input)."""

    label: int
    score_q15: int
    box_q16: tuple[int, int, int, int]


@dataclass(frozen=True)
class DetectionReport:
    """The payload of a detection frame; cycles are of the 50 MHz timer."""

    number: int
    cnn_cycles: int
    frame_cycles: int
    detections: tuple[Detection, ...]


def read_detections(payload: bytes) -> DetectionReport:
    """Read the payload of a `D` or `S` reply.

    Raises:
        EdgebedError: the payload has another length than its count says.
    """
    if len(payload) < 16 or len(payload) != 16 + 24 * struct.unpack_from("<I", payload, 12)[0]:
        raise EdgebedError(f"a detection frame of {len(payload)} bytes", where="serial line")
    number, cnn, frame, count = struct.unpack_from("<4I", payload)
    rows = [struct.unpack_from("<6i", payload, 16 + 24 * i) for i in range(count)]
    found = tuple(Detection(row[0], row[1], (row[2], row[3], row[4], row[5])) for row in rows)
    return DetectionReport(number, cnn, frame, found)


def detections_bytes(found: FixedDetections) -> bytes:
    """Return detections as the records that frames carry and the self-test sums up."""
    columns = [found.labels[:, None], found.scores_q15[:, None], found.boxes_q16]
    return np.concatenate(columns, 1).astype("<i4").tobytes()


@dataclass(frozen=True)
class Wire:
    """Converts tensors of one program to and from wire order.

    Attributes:
        input_shape: of the program's input, C x H x W.
        fold: block of the space_to_depth that loading does; 1 without.
        inputs: the words of the (folded) input.
        outputs: parts of the outputs.
        output_shapes: C x H x W by output name.
    """

    input_shape: tuple[int, int, int]
    fold: int
    inputs: Ports
    outputs: tuple[Ports, ...]
    output_shapes: Mapping[str, tuple[int, int, int]]

    @property
    def input_bytes(self) -> int:
        """Bytes of an input tensor on the wire."""
        return self.inputs.wire_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs on the wire."""
        return sum(part.wire_bytes for part in self.outputs)

    def pack_input(self, tensor: Array) -> bytes:
        """Return an input tensor (int8, C x H x W) in wire order."""
        if tensor.shape != self.input_shape:
            raise EdgebedError(f"input of shape {tensor.shape}", why=f"need {self.input_shape}")
        return self.inputs.to_wire(_fold(tensor, self.fold)).tobytes()

    def unpack_input(self, data: bytes) -> Array:
        """Return wire bytes as the input tensor; undoes `pack_input`, padding is dropped."""
        return _unfold(self.inputs.from_wire(np.frombuffer(data, np.uint8)), self.fold)

    def pack_outputs(self, outputs: Mapping[str, Array]) -> bytes:
        """Return all outputs (C x H x W by name) in wire order."""
        found = []
        for part in self.outputs:
            values = outputs[part.name][part.channel : part.channel + part.shape[0]]
            found.append(part.to_wire(values).tobytes())
        return b"".join(found)

    def unpack_outputs(self, data: bytes) -> dict[str, Array]:
        """Return wire bytes as the outputs by name; undoes `pack_outputs`.

        Raises:
            EdgebedError: the number of bytes is not that of the outputs.
        """
        if len(data) != self.output_bytes:
            raise EdgebedError(f"{len(data)} output bytes", why=f"need {self.output_bytes}")
        wide = {part.name: part.wide for part in self.outputs}
        found: dict[str, Array] = {
            name: np.zeros(shape, np.int32 if wide[name] else np.int8)
            for name, shape in self.output_shapes.items()
        }
        for part in self.outputs:
            chunk = np.frombuffer(data[: part.wire_bytes], np.uint8).reshape(part.groups, -1)
            data = data[part.wire_bytes :]
            found[part.name][part.channel : part.channel + part.shape[0]] = part.from_wire(chunk)
        return found


def wire(program: Program, image: DeviceImage) -> Wire:
    """Return the wire order of a program's tensors.

    Raises:
        EdgebedError: the program has several inputs, or the image loads something else.
    """
    name = image.inputs[0].name
    return Wire(
        program.input_type.chw,
        _loaded_fold(program, name),
        side_by_side(image.inputs, program.types[name].shape[0]),
        tuple(ports(layout) for layout in image.outputs),
        {name: program.types[name].chw for name in program.outputs},
    )


def _loaded_fold(program: Program, name: str) -> int:
    """Return the block that loading folds: 1 when the image loads the program's input itself."""
    if name in program.inputs:
        return 1
    op = program.writer(name)
    if isinstance(op, SpaceToDepth) and op.inputs[0] in program.inputs:
        return op.block
    raise EdgebedError(
        f"the image loads tensor {name!r}",
        where="input",
        why="firmware loads the program's input, or the space_to_depth of it",
    )


def _fold(tensor: Array, block: int) -> Array:
    channels, height, width = tensor.shape
    split = tensor.reshape(channels, height // block, block, width // block, block)
    return split.transpose(2, 4, 0, 1, 3).reshape(-1, height // block, width // block)


def _unfold(tensor: Array, block: int) -> Array:
    channels, height, width = tensor.shape
    split = tensor.reshape(block, block, channels // block**2, height, width)
    return split.transpose(2, 3, 0, 4, 1).reshape(-1, height * block, width * block)
