"""Ops that move values: tensors put together, taken apart, surrounded, folded, picked from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from edgebed.program.ops.concat import Concat
from edgebed.program.ops.constant import Constant as ConstantOp
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.types import Op, TensorType
from edgebed.targets._shared.rows.frame import Frame, element_bytes, usual_order
from edgebed.targets._shared.rows.lower.elementwise import EMBEDS, one_row
from edgebed.targets._shared.rows.lower.moves import move_stage
from edgebed.targets._shared.rows.stage import Stage, Table, Window

Indices = npt.NDArray[np.intp]
_C_TYPES: Final = {
    "int8": "int8_t", "uint8": "int8_t", "bool": "uint8_t", "int16": "int16_t",
    "int32": "int32_t", "float32": "float",
}  # fmt: skip
_MOST_INDEX: Final = 1 << 16


def constant(frame: Frame, op: Op) -> None:
    """Lower values that are the same for every sample; nothing where their readers hold them."""
    readers = frame.program.readers(op.output)
    held = all(one.kind in EMBEDS for one in readers) and op.output not in frame.program.outputs
    if held:
        return
    kind = frame.kind(op.output)
    if kind.dtype not in _C_TYPES:
        raise frame.refuse(op, f"has no kernel for {kind.dtype}", "int8, int32 or float32")
    values = frame.program.constants[cast(ConstantOp, op).value].values
    ordered = np.ascontiguousarray(values.transpose(usual_order(kind)))
    if kind.dtype == "uint8":
        ordered = (ordered.astype(np.int64) - 128).astype(np.int8)
    table = frame.table(op, "values", _C_TYPES[kind.dtype], ordered.tobytes())
    text = f"{{{table.name}, {ordered.nbytes}}}"
    _add(frame, op, (), 1, "eb_constant", "eb_constant_t", text, (table,))


def concat(frame: Frame, op: Op) -> None:
    """Lower tensors one after the other."""
    axis = cast(Concat, op).axis
    kinds = [frame.kind(name) for name in op.inputs]
    order, rows = usual_order(kinds[0]), frame.pixels(op.output)[0]
    by_row = rows > 1
    if by_row and axis == order[0]:
        starts = np.cumsum([0, *(kind.shape[axis] for kind in kinds)])
        windows = [
            Window(frame.settled(name), pad=int(start))
            for name, start in zip(op.inputs, starts, strict=False)
        ]
        sizes = [kind.nbytes // kind.shape[axis] for kind in kinds]
        outer = 1
    else:
        axes = order[1:] if by_row else order
        at = axes.index(axis)
        outer = math.prod(kinds[0].shape[a] for a in axes[:at])
        sizes = [_bytes(kind, axes[at:]) for kind in kinds]
        windows = [one_row(frame, n) if by_row else frame.whole(n) for n in op.inputs]
    data = np.array(sizes, "<i4").tobytes()
    table = frame.table(op, "sizes", "int32_t", data, weights=False)
    text = f"{{{table.name}, {len(sizes)}, {outer}}}"
    steps = rows if by_row else 1
    _add(frame, op, tuple(windows), steps, "eb_concat", "eb_concat_t", text, (table,))


def channels(frame: Frame, op: Op) -> None:
    """Lower a range of channels."""
    layer, shape = cast(Slice, op), frame.kind(op.inputs[0]).shape
    _ranges(frame, op, [range(layer.start, layer.stop), *map(range, shape[1:])])


def crop(frame: Frame, op: Op) -> None:
    """Lower a range of rows."""
    layer, shape = cast(Crop, op), frame.kind(op.inputs[0]).shape
    taken = [range(shape[0]), range(layer.start, layer.stop), range(shape[2])]
    _ranges(frame, op, taken)


def strided_slice(frame: Frame, op: Op) -> None:
    """Lower a range with a step along every axis."""
    _ranges(frame, op, cast(StridedSlice, op).ranges(frame.kind(op.inputs[0]).shape))


def pad(frame: Frame, op: Op) -> None:
    """Lower values put around a tensor."""
    layer, kind = cast(Pad, op), frame.kind(op.inputs[0])
    if layer.mode != "constant":
        widths = zip(kind.shape, layer.before, layer.after, strict=True)
        picked = [np.pad(np.arange(n), (a, b), mode=layer.mode) for n, a, b in widths]
        _pick(frame, op, picked)
    elif len(kind.shape) == 3 and frame.pixels(op.output)[0] > 1:
        _pad_rows(frame, layer, kind)
    else:
        _pad_any(frame, layer, kind)


def space_to_depth(frame: Frame, op: Op) -> None:
    """Lower squares of pixels that become pixels."""
    block = cast(SpaceToDepth, op).block
    size = element_bytes(frame.kind(op.output))
    rows, width, _ = frame.pixels(op.output)
    text = f"{{{width}, {block * frame.pixels(op.inputs[0])[2] * size}, {block}}}"
    window = frame.window(op.inputs[0], block, block, 0)
    _add(frame, op, (window,), rows, "eb_fold", "eb_fold_t", text)


def depth_to_space(frame: Frame, op: Op) -> None:
    """Lower pixels that become squares of pixels."""
    layer = cast(DepthToSpace, op)
    height, width, depth = frame.pixels(op.inputs[0])
    b = layer.block
    c = depth // b**2
    inner = [b * c, c, 1] if layer.order == "dcr" else [b, 1, b * b]
    shape = [height, b, width, b, c]
    strides = [width * depth, inner[0], depth, inner[1], inner[2]]
    _strided(frame, op, shape, strides, 0)


def gather(frame: Frame, op: Op) -> None:
    """Lower chosen indices of an axis."""
    layer, kind = cast(Gather, op), frame.kind(op.inputs[0])
    indices = frame.program.constants[layer.indices].values
    picked: list[Indices] = [np.arange(n) for n in kind.shape]
    picked[layer.axis] = indices.reshape(-1).astype(np.intp)
    if indices.ndim == 1:
        _pick(frame, op, picked)
        return
    order = usual_order(kind)
    if order != tuple(range(len(order))) or len(frame.kind(op.output).shape) == 3:
        raise frame.refuse(op, f"indices of shape {indices.shape} on a map", "one row of indices")
    _pick(frame, op, picked)


def nearest(frame: Frame, op: Op, rows: Indices, columns: Indices) -> None:
    """Lower a resize that repeats or leaves out rows and columns."""
    channels_, _, _ = frame.kind(op.inputs[0]).shape
    _pick(frame, op, [np.arange(channels_), rows, columns])


# ---- how values move ----


def _bytes(kind: TensorType, axes: Sequence[int]) -> int:
    return math.prod(kind.shape[a] for a in axes) * element_bytes(kind)


def _add(
    frame: Frame, op: Op, windows: tuple[Window, ...], steps: int, function: str, kind: str,
    text: str, tables: tuple[Table, ...] = (), in_place: tuple[int, ...] = (),
) -> None:  # fmt: skip
    frame.add(
        Stage(
            name=op.name, kind=op.kind, output=op.output, inputs=windows, steps=steps,
            function=function, header="parts.h", layer_type=kind, layer=text, tables=tables,
            in_place=in_place,
        )
    )  # fmt: skip


def _ranges(frame: Frame, op: Op, taken: Sequence[range]) -> None:
    """Take ranges of all axes: of a map row by row, unless its rows run backwards."""
    kind = frame.kind(op.inputs[0])
    if len(kind.shape) == 3 and frame.pixels(op.output)[0] > 1 and 0 < taken[1].step < 256:
        _slice_rows(frame, op, taken)
        return
    steps = memory_steps(kind)
    order = usual_order(frame.kind(op.output))
    shape = [len(taken[a]) for a in order]
    strides = [steps[a] * taken[a].step for a in order]
    offset = sum(step * one.start for step, one in zip(steps, taken, strict=True))
    _strided(frame, op, shape, strides, offset)


def _slice_rows(frame: Frame, op: Op, taken: Sequence[range]) -> None:
    channels_, rows, columns = taken
    kind = frame.kind(op.inputs[0])
    size, depth = element_bytes(kind), kind.shape[0]
    values, value_step, each = len(channels_), channels_.step * size, size
    if channels_.step == 1:
        values, value_step, each = 1, 0, len(channels_) * size
    offset = (columns.start * depth + channels_.start) * size
    numbers = (offset, len(columns), columns.step * depth * size, values, value_step, each)
    source = frame.settled(op.inputs[0])
    window = Window(source, stride=rows.step, pad=-rows.start)
    aligned = rows.start == 0 and rows.step == 1 and columns.step > 0 and channels_.step > 0
    text = f"{{{', '.join(map(str, numbers))}}}"
    place = (0,) if aligned and len(rows) == kind.shape[1] else ()
    _add(frame, op, (window,), len(rows), "eb_slice", "eb_slice_t", text, in_place=place)


def memory_steps(kind: TensorType) -> list[int]:
    """Return the elements from one index to the next of each axis, in the usual order."""
    steps, step = [0] * len(kind.shape), 1
    for axis in reversed(usual_order(kind)):
        steps[axis], step = step, step * kind.shape[axis]
    return steps


def _strided(frame: Frame, op: Op, shape: list[int], strides: list[int], offset: int) -> None:
    """Add a stage that gathers with strides, all at once."""
    target = frame.output(op)
    source = frame.settled(op.inputs[0])
    size = element_bytes(frame.kind(op.output))
    stage = move_stage(frame, op.name, source, target, shape, strides, size, offset)
    frame.add(replace(stage, kind=op.kind))


def _pick(frame: Frame, op: Op, picked: Sequence[Indices]) -> None:
    """Add a stage that takes chosen indices of each axis; adjoining untouched axes are one."""
    kind = frame.kind(op.inputs[0])
    size, steps = element_bytes(kind), memory_steps(kind)
    groups: list[tuple[int, int, Indices | None]] = []
    for axis in usual_order(kind):
        n, index = kind.shape[axis], picked[axis]
        same = np.array_equal(index, np.arange(n))
        if same and groups and groups[-1][2] is None:
            groups[-1] = groups[-1][0] * n, steps[axis], None
        else:
            groups.append((len(index), steps[axis], None if same else index))
    if groups and groups[-1][2] is None:
        size *= groups.pop()[0]
    if len(groups) > 3 or max(kind.shape, default=0) > _MOST_INDEX:
        raise frame.refuse(op, f"picks along {len(groups)} axes of {kind.shape}", "at most three")
    groups = [(1, 0, None)] * (3 - len(groups)) + groups
    tables = [
        None if index is None
        else frame.table(op, "index", "uint16_t", index.astype("<u2").tobytes(), weights=False)
        for _, _, index in groups
    ]  # fmt: skip
    names = ", ".join("0" if table is None else table.name for table in tables)
    shape = ", ".join(str(n) for n, _, _ in groups)
    strides = ", ".join(str(step * element_bytes(kind)) for _, step, _ in groups)
    text = f"{{{{{names}}}, {{{shape}}}, {{{strides}}}, {size}}}"
    held = tuple(table for table in tables if table is not None)
    _add(frame, op, (frame.whole(op.inputs[0]),), 1, "eb_pick", "eb_pick_t", text, held)


def _padding(frame: Frame, layer: Pad, kind: TensorType) -> tuple[int, int]:
    """Return the stored value, and 1 where it has four bytes."""
    if kind.dtype in ("int8", "uint8", "bool"):
        value = kind.zero_point if layer.value is None else int(layer.value)
        return value - (128 if kind.dtype == "uint8" else 0), 0
    if kind.dtype not in ("float32", "int32"):
        raise frame.refuse(layer, f"has no kernel for {kind.dtype}", "int8, int32 or float32")
    number = np.array(0 if layer.value is None else layer.value, kind.dtype)
    if layer.value is None and not kind.is_float:
        number = np.array(kind.zero_point, kind.dtype)
    return int(number.view(np.int32)), 1


def _pad_rows(frame: Frame, layer: Pad, kind: TensorType) -> None:
    """Surround a map row by row."""
    size = element_bytes(kind)
    (front, top, left), (back, _, right) = layer.before, layer.after
    depth, _, width = kind.shape
    pixel = (front + depth + back) * size
    numbers = (left * pixel, width, right * pixel, front * size, depth * size, back * size)
    if not front and not back:
        numbers = (left * pixel, 1, right * pixel, 0, width * pixel, 0)
    text = f"{{{', '.join(map(str, (*numbers, *_padding(frame, layer, kind))))}}}"
    window = Window(frame.settled(layer.inputs[0]), pad=top)
    rows = frame.pixels(layer.output)[0]
    _add(frame, layer, (window,), rows, "eb_pad", "eb_pad_t", text)


def _pad_any(frame: Frame, layer: Pad, kind: TensorType) -> None:
    """Surround a tensor of one row along one axis (of those that are longer than 1 in front)."""
    order = usual_order(kind)
    padded = [a for a in order if layer.before[a] or layer.after[a]]
    if len(padded) > 1:
        raise frame.refuse(layer, f"pads {len(padded)} axes of {kind.shape}", "pads of one axis")
    if not padded:
        frame.alias(layer)
        return
    axis = padded[0]
    at = order.index(axis)
    inner = _bytes(kind, order[at + 1 :])
    outer = math.prod(kind.shape[a] for a in order[:at])
    sizes = [layer.before[axis] * inner, kind.shape[axis] * inner, layer.after[axis] * inner]
    numbers = (0, outer, 0, *sizes, *_padding(frame, layer, kind))
    text = f"{{{', '.join(map(str, numbers))}}}"
    _add(frame, layer, (frame.whole(layer.inputs[0]),), 1, "eb_pad", "eb_pad_t", text)
