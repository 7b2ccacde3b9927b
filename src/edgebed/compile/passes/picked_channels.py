"""Reshapes, transposes and slices that together pick channels of a map."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgebed.compile.passes.draft import Draft
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.transpose import Transpose
from edgebed.program.types import Array, Op

MOVING: Final = (Reshape, Slice, StridedSlice, Transpose)
MOST_VALUES: Final = 1 << 22
"""Larger maps are not followed value by value."""


def pick_channels(draft: Draft, op: Op) -> bool:
    """Replace the last op of a channel shuffle by one slice of the map that was shuffled.

    A shuffle cuts channels into groups, transposes the groups, and takes a part of the result.
    What it takes is every n-th channel.

    Returns:
        Whether anything changed.
    """
    if not isinstance(op, MOVING) or len(draft.types[op.output].shape) != 3:
        return False
    steps = _steps(draft, op)
    if not any(isinstance(step, Transpose) for step in steps):
        return False
    source, out = steps[0].inputs[0], draft.types[op.output]
    kind = draft.types[source]
    if len(kind.shape) != 3 or kind.shape[1:] != out.shape[1:] or kind.size > MOST_VALUES:
        return False
    picked = _picked(draft, steps)
    if picked is None:
        return False
    draft.replace(op, _slice(op, source, picked, kind.shape))
    return True


def _steps(draft: Draft, op: Op) -> list[Op]:
    """Return the run of ops that only move values up to an op, the first one first."""
    steps: list[Op] = []
    writer: Op | None = op
    while isinstance(writer, MOVING):
        steps.insert(0, writer)
        writer = draft.writer(writer.inputs[0])
    return steps


def _picked(draft: Draft, steps: list[Op]) -> range | None:
    """Return the channels that are left, None where they are not whole or not evenly spaced."""
    kind = draft.types[steps[0].inputs[0]]
    index: Array = np.arange(kind.size).reshape(1, *kind.shape)
    for step in steps:
        index = step.run([index], {}, draft.types_of(step))
    size = kind.size // kind.shape[0]
    planes = index.reshape(index.shape[1], size)
    if np.any(planes != planes[:, :1] + np.arange(size)) or np.any(planes[:, 0] % size):
        return None
    channels: list[int] = (planes[:, 0] // size).tolist()
    apart = max(1, channels[1] - channels[0]) if len(channels) > 1 else 1
    found = range(channels[0], channels[-1] + 1, apart)
    return found if channels == list(found) else None


def _slice(op: Op, source: str, picked: range, shape: tuple[int, ...]) -> Op:
    return StridedSlice(
        name=op.name,
        inputs=(source,),
        output=op.output,
        begin=(picked.start, 0, 0),
        end=(picked.stop, *shape[1:]),
        step=(picked.step, 1, 1),
    )
