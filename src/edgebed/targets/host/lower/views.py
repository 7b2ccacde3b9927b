"""Ops that move nothing where memory allows: another way to look at the same store."""

from __future__ import annotations

from typing import cast

from edgebed.program.ops.concat import Concat
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame


def transpose(frame: Frame, op: Op) -> None:
    """Look at the axes in another order."""
    frame.views[op.output] = frame.view(op.inputs[0]).permuted(cast(Transpose, op).perm)


def identity(frame: Frame, op: Op) -> None:
    """Look at the same."""
    frame.views[op.output] = frame.view(op.inputs[0])


def channels(frame: Frame, op: Op) -> None:
    """Look at some channels."""
    part = cast(Slice, op)
    frame.views[op.output] = frame.view(op.inputs[0]).taken(0, range(part.start, part.stop))


def rows(frame: Frame, op: Op) -> None:
    """Look at some rows."""
    part = cast(Crop, op)
    frame.views[op.output] = frame.view(op.inputs[0]).taken(1, range(part.start, part.stop))


def strided(frame: Frame, op: Op) -> None:
    """Look at every n-th index of each axis."""
    view = frame.view(op.inputs[0])
    for axis, indices in enumerate(cast(StridedSlice, op).ranges(view.shape)):
        if indices != range(view.shape[axis]):
            view = view.taken(axis, indices)
    frame.views[op.output] = view


def reshape(frame: Frame, op: Op) -> None:
    """Cut the same run of values otherwise; a copy waits until somebody needs it."""
    (source,) = op.inputs
    if source not in frame.lazy:
        view = frame.view(source).reshaped(frame.kind(op.output).shape)
        if view is not None:
            frame.views[op.output] = view
            return
    frame.lazy[op.output] = source


def same_numbers(frame: Frame, op: Requantize) -> None:
    """Look at the same bytes with another meaning."""
    frame.views[op.output] = frame.view(op.inputs[0])


def concat(frame: Frame, op: Op) -> None:
    """Copy what was not written in place."""
    join = cast(Concat, op)
    whole = frame.place(op.output)
    frame.views[op.output] = whole
    start = 0
    for tensor in op.inputs:
        stop = start + frame.kind(tensor).shape[join.axis]
        part = whole.taken(join.axis, range(start, stop))
        view = frame.view(tensor)
        if (view.store, view.offset) != (part.store, part.offset):
            frame.copy(view, part)
        start = stop


def constant(frame: Frame, op: Op) -> None:
    """Point into the constants."""
    from edgebed.targets.host.layout import stored_bias, stored_type

    kind = frame.kind(op.output)
    values = frame.values(op.constants[0])
    bias = stored_bias(kind)
    frame.views[op.output] = frame.constant(
        values.astype("int16") + bias if bias else values,
        stored_type(kind),
        frame.wish(op.output).order,
    )
