"""Tensors that are other tensors seen differently: no device layer computes them.

Concatenated parts lie side by side, a slice is some of the channels, a crop starts some words
later, a reshape only counts pixels differently.
"""

from __future__ import annotations

from collections.abc import Callable

from edgebed.program.ops.concat import Concat
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Op, Program
from edgebed.targets.max78000.locations import Location

VIEWS = (Concat, Crop, Reshape, Slice, SpaceToDepth)


def device_inputs(program: Program) -> dict[str, tuple[str, int]]:
    """Return (device input tensor, first channel) of each tensor that the CPU provides.

    The device input is the program's input, or what a leading space_to_depth makes of it.
    """
    known = {name: (name, 0) for name in program.inputs}
    for op in program.ops:
        if isinstance(op, SpaceToDepth) and op.inputs[0] in program.inputs:
            known[op.output] = (op.output, 0)
        if isinstance(op, Slice) and op.inputs[0] in known:
            tensor, channel = known[op.inputs[0]]
            known[op.output] = (tensor, channel + op.start)
    return known


def parts_of(program: Program, tensor: str) -> tuple[str, ...]:
    """Return the tensors that a possibly nested concatenation consists of."""
    writer = program.writer(tensor)
    if not isinstance(writer, Concat):
        return (tensor,)
    return tuple(leaf for part in writer.inputs for leaf in parts_of(program, part))


def stored(program: Program, part: str) -> tuple[str, tuple[Op, ...]]:
    """Return the tensor in memory that a part is a view of, and the views, innermost first."""
    given = device_inputs(program)
    views: list[Op] = []
    writer = program.writer(part)
    while part not in given and isinstance(writer, Crop | Reshape | Slice):
        views.insert(0, writer)
        part = writer.inputs[0]
        writer = program.writer(part)
    return part, tuple(views)


def shift_of(program: Program, views: tuple[Op, ...]) -> int:
    """Return how many pixels later the first pixel of a view is."""
    pixels = 0
    for op in views:
        if isinstance(op, Crop):
            pixels += op.start * program.types[op.inputs[0]].shape[2]
    return pixels


def seen(program: Program, location: Location, views: tuple[Op, ...]) -> Location:
    """Return the location of a view of a tensor at `location`."""
    for op in views:
        if isinstance(op, Slice):
            location = location.part(op.start, op.stop)
    return location.moved(shift_of(program, views) * location.stride)


def locate(program: Program, part: str, find: Callable[[str], Location | None]) -> Location | None:
    """Return the location of a part, or None where its tensor has none yet."""
    tensor, views = stored(program, part)
    found = find(tensor)
    return None if found is None else seen(program, found, views)
