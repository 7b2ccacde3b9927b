"""Operators that join, cut and lengthen tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value, stripped
from edgebed.program.tflite.operators.pools import clamped, normal_axes
from edgebed.program.tflite.operators.shapes import placed
from edgebed.program.types import TensorType

_MAX_PARTS = 1024


def concatenation(layer: Layer) -> None:
    """Convert CONCATENATION; operands of another scale are brought to the output's first."""
    values = _operands(layer)
    rank = len(values[0].shape)
    (axis,) = normal_axes(layer, (layer.integer("Axis"),), rank)
    _check_operands(layer, values, axis)
    layer.give(clamped(layer, _joined(layer, values, axis)), _joined_shape(values, axis))


def _operands(layer: Layer) -> list[Value]:
    count = len(layer.operator.inputs)
    if not 0 < count <= _MAX_PARTS:
        raise layer.fail(f"it has {count} operands", why=f"{_MAX_PARTS} are the limit")
    return [layer.value(place) for place in range(count)]


def _check_operands(layer: Layer, values: Sequence[Value], axis: int) -> None:
    first = values[0].shape
    for value in values:
        same = (*first[:axis], *value.shape[axis : axis + 1], *first[axis + 1 :])
        if value.shape != same:
            raise layer.fail(f"operands {list(first)} and {list(value.shape)} along axis {axis}")


def _joined_shape(values: Sequence[Value], axis: int) -> tuple[int, ...]:
    first = values[0].shape
    return (*first[:axis], sum(value.shape[axis] for value in values), *first[axis + 1 :])


def _joined(layer: Layer, values: Sequence[Value], axis: int) -> str:
    scaled = [Value(_rescaled(layer, value), value.shape) for value in values]
    if axis == 0:
        return layer.emit("concat", [layer.full(value) for value in scaled], axis=0)
    inner = axis - 1 if values[0].shape[0] == 1 else axis
    return layer.emit("concat", [value.tensor for value in scaled], axis=inner)


def _rescaled(layer: Layer, value: Value) -> str:
    """Return a tensor with the output's scale, as TensorFlow Lite's concatenation computes it."""
    source, target = layer.type(value), layer.result()
    if source.dtype != target.dtype:
        raise layer.fail(f"an operand is {source.dtype}, the output {target.dtype}")
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return value.tensor
    if source.dtype != "int8":
        return layer.emit("requantize", [value.tensor], suffix="scale", requantize=layer.rule())
    return layer.lookup(value.tensor, rescaling_table(source, target), target, suffix="scale")


def rescaling_table(source: TensorType, target: TensorType) -> np.ndarray:
    """Return q * (s_in / s_out) - z_in * (s_in / s_out), half away from zero, in float32."""
    ratio = np.float32(source.scale) * (np.float32(1) / np.float32(target.scale))
    bias = np.float32(-source.zero_point) * ratio
    real = (np.arange(-128, 128).astype(np.float32) * ratio + bias).astype(np.float64)
    whole = np.sign(real) * np.floor(np.abs(real) + 0.5)
    limited: np.ndarray = np.clip(whole + target.zero_point, -128, 127)
    return limited.astype(np.int8)


def pack(layer: Layer) -> None:
    """Convert PACK: operands along a new axis."""
    values = _operands(layer)
    (axis,) = normal_axes(layer, (layer.integer("Axis", default=0),), len(values[0].shape) + 1)
    _check_operands(layer, values, len(values[0].shape))
    wide = [_with_axis(layer, value, axis) for value in values]
    layer.give(_joined(layer, wide, axis), _joined_shape(wide, axis))


def _with_axis(layer: Layer, value: Value, axis: int) -> Value:
    shape = (*value.shape[:axis], 1, *value.shape[axis:])
    if layer.type(value).shape == stripped(shape):
        return Value(value.tensor, shape)
    tensor = layer.emit("reshape", [value.tensor], suffix="axis", shape=stripped(shape))
    return Value(tensor, shape)


def unpack(layer: Layer) -> None:
    """Convert UNPACK: one output an index of an axis."""
    x = layer.value(0)
    (axis,) = normal_axes(layer, (layer.integer("Axis", default=0),), len(x.shape))
    count = x.shape[axis]
    _check_outputs(layer, count)
    for index in range(count):
        part = _span(layer, x, axis, index, index + 1)
        layer.give(part, (*x.shape[:axis], *x.shape[axis + 1 :]), index)


def _check_outputs(layer: Layer, count: int) -> None:
    if count != len(layer.operator.outputs) or count > _MAX_PARTS:
        raise layer.fail(f"{count} parts for {len(layer.operator.outputs)} outputs")


def _span(layer: Layer, x: Value, axis: int, start: int, stop: int) -> str:
    if (start, stop) == (0, x.shape[axis]):
        return x.tensor
    tensor, inner = placed(layer, x, axis)
    shape = layer.network.types[tensor].shape
    begin = tuple(start if i == inner else 0 for i in range(len(shape)))
    end = tuple(stop if i == inner else size for i, size in enumerate(shape))
    return layer.emit(
        "strided_slice", [tensor], suffix=f"from_{start}", begin=begin, end=end,
        step=(1,) * len(shape),
    )  # fmt: skip


def split(layer: Layer) -> None:
    """Convert SPLIT: equal parts."""
    x = layer.value(1)
    (axis,) = normal_axes(layer, layer.integers(0, "axis")[:1], len(x.shape))
    count = len(layer.operator.outputs)
    if not count or x.shape[axis] % count:
        raise layer.fail(f"{count} parts of an axis of {x.shape[axis]}")
    _parts(layer, x, axis, (x.shape[axis] // count,) * count)


def split_v(layer: Layer) -> None:
    """Convert SPLIT_V: parts of given sizes, one of which may be -1."""
    x = layer.value(0)
    (axis,) = normal_axes(layer, layer.integers(2, "axis")[:1], len(x.shape))
    sizes = layer.integers(1, "sizes", least=-1)
    if sizes.count(-1) == 1:
        rest = x.shape[axis] - sum(size for size in sizes if size != -1)
        sizes = tuple(rest if size == -1 else size for size in sizes)
    if min(sizes, default=0) < 1 or sum(sizes) != x.shape[axis]:
        raise layer.fail(f"parts {list(sizes)} of an axis of {x.shape[axis]}")
    _parts(layer, x, axis, sizes)


def _parts(layer: Layer, x: Value, axis: int, sizes: Sequence[int]) -> None:
    _check_outputs(layer, len(sizes))
    start = 0
    for output, size in enumerate(sizes):
        part = _span(layer, x, axis, start, start + size)
        layer.give(part, (*x.shape[:axis], size, *x.shape[axis + 1 :]), output)
        start += size


def pad(layer: Layer) -> None:
    """Convert PAD, PADV2 and MIRROR_PAD."""
    x = layer.value(0)
    pads = layer.constant(1, "padding")
    if pads.shape != (len(x.shape), 2) or pads.dtype.kind != "i" or (pads < 0).any():
        raise layer.fail(f"its padding is {pads.tolist() if pads.size < 32 else pads.shape}")
    fields: dict[str, Any] = {}
    if layer.operator.kind == "MIRROR_PAD":
        fields["mode"] = "symmetric" if layer.integer("Mode", default=0) else "reflect"
    elif layer.has(2):
        fields["value"] = _pad_value(layer)
    shape = tuple(n + int(a) + int(b) for n, (a, b) in zip(x.shape, pads, strict=True))
    if not pads.any():
        layer.give(x.tensor, shape)
        return
    tensor, rows = x.tensor, pads
    if stripped(x.shape) != x.shape:
        tensor, rows = (layer.full(x), pads) if pads[0].any() else (tensor, pads[1:])
    before, after = (tuple(int(n) for n in rows[:, i]) for i in (0, 1))
    layer.give(layer.emit("pad", [tensor], before=before, after=after, **fields), shape)


def _pad_value(layer: Layer) -> int | float:
    values = layer.constant(2, "padding value")
    if values.size != 1:
        raise layer.fail(f"its padding value has {values.size} values")
    return float(values.reshape(-1)[0]) if values.dtype.kind == "f" else int(values.reshape(-1)[0])


def slice_(layer: Layer) -> None:
    """Convert SLICE; a size of -1 reaches to the end."""
    x = layer.value(0)
    begin, size = layer.integers(1, "begin", least=0), layer.integers(2, "size", least=-1)
    if not len(begin) == len(size) == len(x.shape):
        raise layer.fail(f"begin {list(begin)} and size {list(size)} on {list(x.shape)}")
    spans = [
        Span(b, n if s == -1 else b + s, 1) for b, s, n in zip(begin, size, x.shape, strict=True)
    ]
    layer.give(cut(layer, x, spans), tuple(span.count(layer) for span in spans))


@dataclass(frozen=True)
class Span:
    """Indices begin, begin + step, ... before end along an axis; end is -1 to reach 0 backwards."""

    begin: int
    end: int
    step: int

    def count(self, layer: Layer) -> int:
        """Return how many there are.

        Raises:
            EdgebedError: there is none.
        """
        number = len(range(self.begin, self.end, self.step))
        if not number:
            raise layer.fail(f"it takes nothing of {self.begin}:{self.end}:{self.step}")
        return number


def cut(layer: Layer, x: Value, spans: Sequence[Span]) -> str:
    """Append the op that takes a span of each axis of the file."""
    if all(
        (span.begin, span.end, span.step) == (0, n, 1)
        for span, n in zip(spans, x.shape, strict=True)
    ):
        return x.tensor
    if stripped(x.shape) != x.shape:
        spans = spans[1:]  # of an axis of size 1 there is nothing to leave out
    return layer.emit(
        "strided_slice", [x.tensor],
        begin=tuple(span.begin for span in spans),
        end=tuple(None if span.end < 0 else span.end for span in spans),
        step=tuple(span.step for span in spans),
    )  # fmt: skip


def reverse(layer: Layer) -> None:
    """Convert REVERSE_V2."""
    x = layer.value(0)
    axes = normal_axes(layer, layer.integers(1, "axes"), len(x.shape))
    spans = [
        Span(n - 1, -1, -1) if axis in axes and n > 1 else Span(0, n, 1)
        for axis, n in enumerate(x.shape)
    ]
    layer.give(cut(layer, x, spans), x.shape)


def tile(layer: Layer) -> None:
    """Convert TILE: the tensor several times behind itself along each axis."""
    x = layer.value(0)
    times = layer.integers(1, "multiples", least=1)
    if len(times) != len(x.shape):
        raise layer.fail(f"multiples {list(times)} on {list(x.shape)}")
    _repeat(layer, x, times)


def broadcast_to(layer: Layer) -> None:
    """Convert BROADCAST_TO: axes of size 1 become longer."""
    x = layer.value(0)
    wanted = layer.integers(1, "shape", least=1)
    shape = (1,) * (len(wanted) - len(x.shape)) + x.shape
    if len(shape) != len(wanted) or any(
        n not in (1, w) for n, w in zip(shape, wanted, strict=True)
    ):
        raise layer.fail(f"a shape {list(x.shape)} cannot become {list(wanted)}")
    times = tuple(w // n for n, w in zip(shape, wanted, strict=True))
    _repeat(layer, Value(x.tensor, shape), times)


def _repeat(layer: Layer, x: Value, times: Sequence[int]) -> None:
    if max(times, default=1) > _MAX_PARTS:
        raise layer.fail(f"it repeats {max(times)} times", why=f"{_MAX_PARTS} are the limit")
    tensor = layer.reshaped(x.tensor, x.shape)
    for axis, count in enumerate(times):
        if count > 1:
            tensor = layer.emit("concat", [tensor] * count, axis=axis)
    layer.give(tensor, tuple(n * t for n, t in zip(x.shape, times, strict=True)))
