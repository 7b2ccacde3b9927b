"""Ops that put values elsewhere without changing them: pads, gathers, folded pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame, border_call
from edgebed.targets.host.layout import View, stored_bias, stored_zero
from edgebed.targets.host.loops import wrap
from edgebed.targets.host.steps import Call, Operand


def pad(frame: Frame, op: Op) -> None:
    """Lower a pad: copy the inside, fill or repeat around it."""
    layer = cast(Pad, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    if layer.mode != "constant":
        modes: dict[str, Any] = {"edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}
        tables = {
            axis: np.pad(np.arange(size), ends, mode=modes[layer.mode])
            for axis, (size, ends) in enumerate(
                zip(x.shape, zip(layer.before, layer.after, strict=True), strict=True)
            )
            if any(ends)
        }
        indexed(frame, x, out, tables)
        return
    inside = out
    for axis, (size, before) in enumerate(zip(x.shape, layer.before, strict=True)):
        inside = inside.taken(axis, range(before, before + size))
    kind = frame.kind(op.inputs[0])
    value: float = stored_zero(kind) if layer.value is None else layer.value + stored_bias(kind)
    margins = tuple(zip(layer.before, layer.after, strict=True))
    if any(map(any, margins)):
        frame.emit(border_call(inside, margins, value))
    frame.copy(x, inside)


def indexed(
    frame: Frame, source: View, target: View, tables: Mapping[int, Sequence[int] | Any]
) -> None:
    """Copy with other indices along some axes: target[.., i, ..] = source[.., table[i], ..]."""
    order = target.order
    packed, to, start = [], [], []
    for number, axis in enumerate(order):
        variable = f"i{number}"
        to.append(f"{variable} * {target.strides[axis]}")
        if axis in tables:
            places = np.asarray(tables[axis], np.int64) * source.strides[axis]
            packed.append(frame.pack(f"at{axis}", places.astype(np.int32), "int32_t"))
            start.append(f"at{axis}[{variable}]")
        else:
            start.append(f"{variable} * {source.strides[axis]}")
    body = f"out[{' + '.join(to) or '0'}] = in[{' + '.join(start) or '0'}];"
    text = wrap([target.shape[axis] for axis in order], body)
    reads, writes = (Operand("in", source),), (Operand("out", target),)
    frame.emit(Call(text, reads, writes, tuple(packed)))


def gather(frame: Frame, op: Op) -> None:
    """Lower chosen indices of an axis."""
    layer = cast(Gather, op)
    x, out = frame.view(op.inputs[0]), frame.output(op)
    indices = frame.values(layer.indices)
    axis = layer.axis
    flat = (*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
    target = out.reshaped(flat)
    if target is None:
        target = frame.scratch(out.stored, flat)
    indexed(frame, x, target, {axis: indices.ravel()})
    if target.store != out.store:
        back = target.reshaped(out.shape)
        assert back is not None
        frame.copy(back, out)


def split(view: View, axis: int, sizes: Sequence[int]) -> View:
    """Return the view with one axis cut into several, the first the sparsest."""
    stride = view.strides[axis]
    parts: list[int] = []
    for size in reversed(sizes):
        parts.insert(0, stride)
        stride *= size
    shape = (*view.shape[:axis], *sizes, *view.shape[axis + 1 :])
    strides = (*view.strides[:axis], *parts, *view.strides[axis + 1 :])
    return View(view.store, view.stored, shape, strides, view.offset, ((0, 0),) * len(shape))


def space_to_depth(frame: Frame, op: Op) -> None:
    """Lower folded pixels: one copy over channel, row, row in block, column, column in block."""
    b = cast(SpaceToDepth, op).block
    x, out = frame.view(op.inputs[0]), frame.output(op)
    channels, height, width = x.shape
    source = split(split(x, 2, (width // b, b)), 1, (height // b, b))  # c r dy q dx
    target = split(out, 0, (b, b, channels))  # dy dx c r q
    frame.copy(source.permuted((2, 4, 0, 1, 3)), target)


def depth_to_space(frame: Frame, op: Op) -> None:
    """Lower unfolded channels, the other way round."""
    layer = cast(DepthToSpace, op)
    b = layer.block
    x, out = frame.view(op.inputs[0]), frame.output(op)
    channels, height, width = out.shape
    target = split(split(out, 2, (width // b, b)), 1, (height // b, b))  # c r dy q dx
    if layer.order == "dcr":
        source = split(x, 0, (b, b, channels)).permuted((2, 3, 0, 4, 1))
    else:
        source = split(x, 0, (channels, b, b)).permuted((0, 3, 1, 4, 2))
    frame.copy(source, target)
