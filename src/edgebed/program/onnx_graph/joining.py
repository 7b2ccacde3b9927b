"""Concat, Pad, Expand and Tile: tensors that grow without new numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgebed.program.onnx_graph.axes import reshaped, view
from edgebed.program.onnx_graph.draft import LARGEST_TENSOR, Draft
from edgebed.program.onnx_graph.movement import LARGEST_INDICES, taken
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.scales import end, tail_of
from edgebed.program.onnx_graph.values import Value
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.strided_slice import StridedSlice


def concat(net: Draft, node: Node) -> None:
    """Join along an axis; quantised parts of other scales are brought to the result's first."""
    values = [net.value(node, index) for index in range(len(node.inputs))]
    values = [one for one in values if 0 not in one.shape] or values
    axis = node.axis(node.integer("axis", 1), len(values[0].shape))
    shape = _joined(node, values, axis)
    integers = [net.quantised(value) for value in values]
    kinds = {_plain(net, tensor) for tensor in integers if tensor is not None}
    if None not in integers and len(kinds) == 1:
        parts = [tensor or "" for tensor in integers]
        net.define(node, _append(net, node, values, parts, axis), shape)
        return
    tail = tail_of(net, node, values)
    if tail is not None:
        parts = []
        for tensor in integers:
            assert tensor is not None
            fits = tail.meaning.fits(net.types[tensor]) and tail.rule == tail.meaning.rule()
            parts.append(
                tensor if fits else net.emit(node, Requantize, [tensor], requantize=tail.rule)
            )
        end(net, node, _append(net, node, values, parts, axis), shape, tail)
        return
    real = values[0].dtype == "float32"
    parts = [net.real(one) if real else net.carrier(one) for one in values]
    net.define(node, _append(net, node, values, parts, axis), shape, values[0].dtype)


def _plain(net: Draft, tensor: str) -> tuple[str, float, int]:
    kind = net.types[tensor]
    return kind.dtype, kind.scale, kind.zero_point


def _joined(node: Node, values: Sequence[Value], axis: int) -> tuple[int, ...]:
    first = values[0].shape
    for other in values[1:]:
        rest = (*other.shape[:axis], *other.shape[axis + 1 :])
        if len(other.shape) != len(first) or rest != (*first[:axis], *first[axis + 1 :]):
            raise node.fail(f"joins shapes {first} and {other.shape} along axis {axis}")
    return (*first[:axis], sum(one.shape[axis] for one in values), *first[axis + 1 :])


def _append(
    net: Draft, node: Node, values: Sequence[Value], tensors: Sequence[str], axis: int
) -> str:
    views = [view(net, node, v, [axis], t) for v, t in zip(values, tensors, strict=True)]
    if len(views) == 1:
        return views[0].tensor
    return net.emit(node, Concat, [one.tensor for one in views], axis=views[0].axis(axis))


def pad(net: Draft, node: Node) -> None:
    """Pad with known widths; negative ones cut."""
    value = net.value(node, 0)
    before, after = _widths(net, node, len(value.shape))
    mode = node.word("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise node.fail(f"mode {mode!r}", try_="constant, reflect or edge")
    cut = [(max(0, -b), max(0, -a)) for b, a in zip(before, after, strict=True)]
    wide = [(max(0, b), max(0, a)) for b, a in zip(before, after, strict=True)]
    shape = tuple(n + b + a for n, b, a in zip(value.shape, before, after, strict=True))
    if min(shape, default=1) < 1 or math.prod(shape) > LARGEST_TENSOR:
        raise node.fail(f"widths {before} and {after} on shape {value.shape}")
    filler = _filler(net, node) if mode == "constant" else 0.0
    whole = value.dtype == "float32" and (mode != "constant" or filler == 0)
    tensor = net.carrier(value) if whole or value.dtype != "float32" else net.real(value)
    touched = [i for i, both in enumerate(zip(before, after, strict=True)) if any(both)]
    if not touched:
        net.alias(node.output, value)
        return
    seen = view(net, node, value, touched, tensor)
    tensor = _shortened(net, node, value, seen.tensor, cut[seen.shift :])
    sides = [seen.per_axis([pair[side] for pair in wide]) for side in (0, 1)]
    kind = net.types[tensor]
    tensor = net.emit(
        node,
        Pad,
        [tensor],
        before=sides[0],
        after=sides[1],
        mode=mode,
        value=filler if kind.is_float and mode == "constant" else None,
    )
    net.define(node, tensor, shape, value.dtype)


def _widths(net: Draft, node: Node, rank: int) -> tuple[list[int], list[int]]:
    if node.has(1) and node.version >= 11:
        pads = [int(n) for n in net.known(node, 1, "widths").reshape(-1)]
    else:
        pads = list(node.integers("pads" if "pads" in node.attributes else "paddings"))
    axes = list(range(rank))
    if node.has(3):
        axes = [node.axis(int(a), rank) for a in net.known(node, 3, "axes").reshape(-1)]
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise node.fail(f"widths {pads} for {len(axes)} axes", why="two an axis are needed")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[len(axes) + index]
    return before, after


def _filler(net: Draft, node: Node) -> float:
    if node.version < 11:
        return node.real("value", 0.0)
    if not node.has(2):
        return 0.0
    array = net.known(node, 2, "value")
    if array.size != 1 or not np.isfinite(array).all():
        raise node.fail("its value is not one finite number")
    return float(array.reshape(-1)[0])


def _shortened(
    net: Draft, node: Node, value: Value, tensor: str, cut: Sequence[tuple[int, int]]
) -> str:
    if not any(first or last for first, last in cut):
        return tensor
    sizes = net.types[tensor].shape
    return net.emit(
        node,
        StridedSlice,
        [tensor],
        begin=tuple(first for first, _ in cut),
        end=tuple(size - last for size, (_, last) in zip(sizes, cut, strict=True)),
        step=(1,) * len(sizes),
    )


def expand(net: Draft, node: Node) -> None:
    """Repeat axes of size 1 to a known shape."""
    value = net.value(node, 0)
    wanted = tuple(int(n) for n in net.known(node, 1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(value.shape, wanted)
    except ValueError as error:
        raise node.fail(f"shape {value.shape} cannot become {wanted}") from error
    wide = (*(1,) * (len(shape) - len(value.shape)), *value.shape)
    repeated(net, node, value, wide, [b // a for a, b in zip(wide, shape, strict=True)])


def tile(net: Draft, node: Node) -> None:
    """Repeat whole axes a known number of times."""
    value = net.value(node, 0)
    times = [int(n) for n in net.known(node, 1, "repeats").reshape(-1)]
    if len(times) != len(value.shape) or min(times, default=1) < 1:
        raise node.fail(f"repeats {times} of shape {value.shape}")
    repeated(net, node, value, value.shape, times)


def repeated(
    net: Draft, node: Node, value: Value, shape: tuple[int, ...], times: Sequence[int]
) -> None:
    """Define the output that repeats each axis of a value, seen in `shape`."""
    if math.prod(n * t for n, t in zip(shape, times, strict=True)) > LARGEST_TENSOR:
        raise node.fail(f"repeats shape {shape} {tuple(times)} times")
    reshaped(net, node, value, shape)
    for axis, count in enumerate(times):
        if count > 1:
            now = net.values[node.output]
            _check_indices(node, now.shape[axis] * count)
            taken(net, node, now, axis, np.tile(np.arange(now.shape[axis]), count))


def _check_indices(node: Node, count: int) -> None:
    if count > LARGEST_INDICES:
        raise node.fail(f"repeats an axis to {count}", why=f"at most {LARGEST_INDICES} fit")


OPERATORS: dict[str, Any] = {"Concat": concat, "Pad": pad, "Expand": expand, "Tile": tile}
