"""STRIDED_SLICE with its five bit masks."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgebed.program.tflite.layer import Layer
from edgebed.program.tflite.network import Value
from edgebed.program.tflite.operators.parts import Span, cut


@dataclass
class _Taken:
    """What is taken along the axes so far, and the shape of the result."""

    spans: list[Span] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)


def strided_slice(layer: Layer) -> None:
    """Convert STRIDED_SLICE."""
    x = layer.value(0)
    specs = tuple(layer.integers(i, role) for i, role in ((1, "begin"), (2, "end"), (3, "strides")))
    if len({len(spec) for spec in specs}) != 1:
        raise layer.fail("begin, end and strides differ in length")
    taken = _resolve(layer, x, list(zip(*specs, strict=True)))
    layer.give(cut(layer, x, taken.spans), tuple(taken.shape))


def _resolve(layer: Layer, x: Value, specs: list[tuple[int, ...]]) -> _Taken:
    taken = _Taken()
    new_axes, ellipsis = (
        layer.integer("NewAxisMask", default=0),
        layer.integer("EllipsisMask", default=0),
    )
    bits = range(len(specs))
    used = sum(not (new_axes | ellipsis) >> bit & 1 for bit in bits)
    for bit in bits:
        if ellipsis >> bit & 1:
            for _ in range(len(x.shape) - used):
                _take_all(layer, x, taken)
        elif new_axes >> bit & 1:
            taken.shape.append(1)
        elif len(taken.spans) >= len(x.shape):
            raise layer.fail(f"{len(specs)} entries on {list(x.shape)}")
        else:
            _take(layer, x, taken, specs[bit], bit)
    while len(taken.spans) < len(x.shape):
        _take_all(layer, x, taken)
    return taken


def _take_all(layer: Layer, x: Value, taken: _Taken) -> None:
    if len(taken.spans) >= len(x.shape):
        raise layer.fail(f"its masks name more axes than {list(x.shape)} has")
    size = x.shape[len(taken.spans)]
    taken.spans.append(Span(0, size, 1))
    taken.shape.append(size)


def _take(layer: Layer, x: Value, taken: _Taken, spec: tuple[int, ...], bit: int) -> None:
    axis = len(taken.spans)
    size = x.shape[axis]
    begin, end, step = spec
    if step == 0:
        raise layer.fail("its stride is 0")
    if layer.integer("ShrinkAxisMask", default=0) >> bit & 1:
        if not -size <= begin < size:
            raise layer.fail(f"index {begin} of an axis of {size}")
        taken.spans.append(Span(begin % size, begin % size + 1, 1))
        return
    masks = [layer.integer(name, default=0) >> bit & 1 for name in ("BeginMask", "EndMask")]
    offset = begin if layer.flag("Offset") else 0
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first, last = (low, high) if step > 0 else (high, low)
    start = first if masks[0] else _bounded(begin, size, low, high)
    stop = last if masks[1] else _bounded(end + offset, size, low, high)
    span = Span(start, stop, step)
    taken.spans.append(span)
    taken.shape.append(span.count(layer))


def _bounded(index: int, size: int, low: int, high: int) -> int:
    return min(max(index + size if index < 0 else index, low), high)
