"""Damage done to network files: to bytes, to the words a reader looks at, to messages."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flatbuffers.table
from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto

WORDS = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 65535, 1 << 16, 1 << 20, 1 << 24, (1 << 31) - 1,
         1 << 31, (1 << 32) - 1, (1 << 32) - 2, 0x7F800000, 0x7FC00000, 0xFF800000, 1, 0x3F800000,
         0x00000001, 0x7F7FFFFF)  # fmt: skip
LONG = (*WORDS, 1 << 32, 1 << 40, (1 << 62), (1 << 63) - 1)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), float("-inf"), 0.5)
TEXTS = ("", "x", "y", "../../weights.bin", "/etc/passwd", "weights.bin", "absent.bin", "a\nb",
         "\x1b[31mred", "n" * 5000, "é", "..", ".", "SAME_UPPER", "linear", "cubic", "constant",
         "\u2028", "a\x00b")  # fmt: skip
OPERATORS = re.findall(r"\w+", """
    Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape
    Conv ConvInteger ConvTranspose CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Equal
    Expand EyeLike Flatten GRU Gather GatherElements GatherND Gemm GlobalAveragePool GridSample
    HardSwish Identity If InstanceNormalization LRN LSTM LayerNormalization LogSoftmax Loop
    LpNormalization MatMul MatMulInteger MaxPool Mean Mod NonMaxSuppression NonZero Not OneHot
    PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RNN Range ReduceL2 ReduceMax
    ReduceMean ReduceProd ReduceSum Relu Reshape Resize Scan ScatterND Shape Size Slice Softmax
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
""")  # fmt: skip
Position = tuple[int, int]
TIMES = (1, 1, 1, 1, 2, 2, 3, 4)
"""How often one file is damaged; most often once, so that many still hold a network."""


def blind(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Return the bytes with one to four places damaged, whatever they mean."""
    found = bytearray(data)
    for _ in range(draw.choice(TIMES)):
        if found:
            draw.choice(BLIND)(found, draw, other)
    return bytes(found)


def _flip(data: bytearray, draw: random.Random, other: bytes) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _byte(data: bytearray, draw: random.Random, other: bytes) -> None:
    data[draw.randrange(len(data))] = draw.randrange(256)


def _word(data: bytearray, draw: random.Random, other: bytes) -> None:
    at = 4 * draw.randrange(max(len(data) // 4, 1))
    value = draw.choice((*WORDS, len(data), len(data) - at, len(data) // 4))
    data[at : at + 4] = struct.pack("<I", value & 0xFFFFFFFF)[: len(data) - at]


def _truncate(data: bytearray, draw: random.Random, other: bytes) -> None:
    del data[draw.randrange(len(data)) :]


def _remove(data: bytearray, draw: random.Random, other: bytes) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 2, 4, 8, 32))]


def _splice(data: bytearray, draw: random.Random, other: bytes) -> None:
    size = draw.choice((4, 8, 16, 64, 256))
    source = draw.choice((bytes(data), other)) or b"\0"
    start, at = draw.randrange(len(source)), draw.randrange(len(data))
    chunk = source[start : start + size]
    data[at : at + draw.choice((0, len(chunk)))] = chunk


BLIND: Sequence[Callable[[bytearray, random.Random, bytes], None]] = (
    _flip, _flip, _byte, _word, _word, _word, _truncate, _remove, _splice,
)  # fmt: skip


def words_read(read: Callable[[], object]) -> tuple[Position, ...]:
    """Return place and size of every number that a reader of flatbuffers looks at."""
    found: dict[int, int] = {}
    table = flatbuffers.table.Table
    get, offset, length = table.Get, table.Offset, table.VectorLen

    def got(self: Any, flags: Any, at: int) -> Any:
        found[at] = flags.bytewidth
        return get(self, flags, at)

    def led(self: Any, slot: int) -> Any:
        vtable = self.Pos - get(self, flatbuffers.number_types.SOffsetTFlags, self.Pos)
        found[vtable + slot] = 2
        found[self.Pos] = 4
        return offset(self, slot)

    def counted(self: Any, at: int) -> Any:
        place = at + self.Pos
        found[place] = 4
        found[place + get(self, flatbuffers.number_types.UOffsetTFlags, place)] = 4
        return length(self, at)

    table.Get, table.Offset, table.VectorLen = got, led, counted
    try:
        read()
    finally:
        table.Get, table.Offset, table.VectorLen = get, offset, length
    return tuple(sorted(found.items()))


def numbers(data: bytes, draw: random.Random, places: Sequence[Position]) -> bytes:
    """Return the bytes with one to three of the numbers that a reader looks at replaced."""
    found = bytearray(data)
    for _ in range(draw.choice(TIMES)):
        at, size = draw.choice(places)
        if at + size > len(found):
            continue
        old = int.from_bytes(found[at : at + size], "little")
        near = (old + 1, old - 1, old * 2, -old, old + 4, old - 4, old ^ 1)
        other_at = draw.choice(places)[0]
        other = int.from_bytes(found[other_at : other_at + size], "little")
        value = draw.choice((draw.choice(LONG), draw.choice(near), draw.randrange(160), other))
        found[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(found)


def message(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Return a model with one to three of its fields changed."""
    model, donor = ModelProto(), ModelProto()
    try:
        model.ParseFromString(data)
        donor.ParseFromString(other)
    except DecodeError:
        return data
    for _ in range(draw.choice(TIMES)):
        draw.choice((_field, _field, _field, _field, _operator, _edge, _external))(
            model, draw, donor
        )
    return bytes(model.SerializeToString())


def archive(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Return a zip archive with its bytes or, below the checksums, one of its entries damaged."""
    if draw.random() < 0.2:
        return blind(data, draw, other)
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    name = draw.choice(list(entries))
    entries[name] = blind(entries[name], draw, entries[draw.choice(list(entries))])
    if name.endswith(".json") and draw.random() < 0.7:
        entries[name] = _reworded(source_text(data, name), draw)
    if draw.random() < 0.1:
        entries.pop(name)
    if draw.random() < 0.1:
        entries[draw.choice(TEXTS) or "empty"] = b"x"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for each, content in entries.items():
            target.writestr(each, content)
    return made.getvalue()


def source_text(data: bytes, name: str) -> str:
    """Return the text of an archive's entry."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return source.read(name).decode()


def _reworded(text: str, draw: random.Random) -> bytes:
    """Replace a number or a word of JSON by another one."""
    words = list(re.finditer(r'-?\d+|"[^"]*"|true|false|null', text))
    for found in sorted(draw.sample(words, min(2, len(words))), key=lambda w: -w.start()):
        new = draw.choice((draw.choice(words).group(), str(draw.choice(LONG)), "null", '"x"', "-1"))
        text = text[: found.start()] + new + text[found.end() :]
    return text.encode()


def _messages(root: Message) -> Iterator[Message]:
    waiting = [root]
    while waiting:
        found = waiting.pop()
        yield found
        for field, value in found.ListFields():
            if field.type == Kind.TYPE_MESSAGE:
                waiting.extend(value if _many(field) else [value])


def _many(field: Any) -> bool:
    repeated = field.is_repeated
    return bool(repeated() if callable(repeated) else repeated)


def _field(model: ModelProto, draw: random.Random, donor: ModelProto) -> None:
    holder = draw.choice(list(_messages(model)))
    given = [field for field, _ in holder.ListFields()]
    every = list(holder.DESCRIPTOR.fields)
    field = draw.choice(given if given and draw.random() < 0.85 else every)
    try:
        if _many(field):
            _row(getattr(holder, field.name), field, draw, donor)
        elif field.type == Kind.TYPE_MESSAGE:
            _replace(holder, field, draw, donor)
        elif draw.random() < 0.1:
            holder.ClearField(field.name)
        else:
            setattr(holder, field.name, _value(getattr(holder, field.name), field, draw))
    except (ValueError, TypeError):
        return  # the value does not fit the field


def _replace(holder: Message, field: Any, draw: random.Random, donor: ModelProto) -> None:
    if draw.random() < 0.4:
        holder.ClearField(field.name)
        return
    same = [m for m in _messages(donor) if m.DESCRIPTOR is field.message_type]
    if same:
        getattr(holder, field.name).CopyFrom(draw.choice(same))


def _row(values: Any, field: Any, draw: random.Random, donor: ModelProto) -> None:
    action = draw.randrange(4)
    if action == 0 and values:
        del values[draw.randrange(len(values))]
    elif field.type == Kind.TYPE_MESSAGE:
        same = [m for m in _messages(donor) if m.DESCRIPTOR is field.message_type]
        if values and action != 1:
            values.add().CopyFrom(draw.choice(values))
        elif same:
            values.add().CopyFrom(draw.choice(same))
    elif values and action != 1:
        at = draw.randrange(len(values))
        values[at] = draw.choice((_value(values[at], field, draw), draw.choice(values)))
    else:
        values.append(_value(draw.choice(values) if values else None, field, draw))


def _value(old: Any, field: Any, draw: random.Random) -> Any:
    if field.type == Kind.TYPE_STRING:
        return draw.choice(TEXTS)
    if field.type == Kind.TYPE_BYTES:
        data = bytearray(old or b"")
        if draw.random() < 0.3 or not data:
            return draw.choice((b"", b"\0", bytes(data) * 2, b"\xff" * 16, b"n" * 3000))
        draw.choice(BLIND)(data, draw, bytes(data))
        return bytes(data)
    if field.type in (Kind.TYPE_FLOAT, Kind.TYPE_DOUBLE):
        return draw.choice(REALS)
    near = [] if old is None else [old + 1, old - 1, -old, old * 2]
    value = draw.choice((*near, draw.randrange(40), draw.choice(LONG), -draw.choice(LONG)))
    wide = field.type in (Kind.TYPE_INT64, Kind.TYPE_UINT64)
    bits = 64 if wide else 32
    low = 0 if field.type in (Kind.TYPE_UINT32, Kind.TYPE_UINT64) else 1 << (bits - 1)
    return (value + low) % (1 << bits) - low


def _operator(model: ModelProto, draw: random.Random, donor: ModelProto) -> None:
    if model.graph.node:
        draw.choice(model.graph.node).op_type = draw.choice(OPERATORS)


def _edge(model: ModelProto, draw: random.Random, donor: ModelProto) -> None:
    """Let a node read another tensor: a circle, a constant, an output, nothing."""
    nodes = [node for node in model.graph.node if node.input]
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in model.graph.initializer]
    if nodes and names:
        node = draw.choice(nodes)
        node.input[draw.randrange(len(node.input))] = draw.choice((*names, ""))


def _external(model: ModelProto, draw: random.Random, donor: ModelProto) -> None:
    """Move a constant's values to another file, which may lie anywhere or nowhere."""
    if not model.graph.initializer:
        return
    tensor = draw.choice(model.graph.initializer)
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key in ("location", "offset", "length"):
        values = TEXTS if key == "location" else ("0", "8", "-1", "99999999999999999999", "x", "64")
        if draw.random() < 0.8:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, draw.choice(values)
