"""Which distances between two blocks of the arena would let live bytes meet.

A block is a tensor, or the scratch memory of a stage. It consists of pieces (rows), each with a
place in the block and a time in which it is live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgebed.targets._shared.rows.schedule import (
    Geometry,
    Ints,
    Life,
    Timetable,
    lives,
    shared,
)

Span = tuple[int, int]
"""Distances that are forbidden: the least and the largest."""
Known = dict[tuple[object, ...], tuple[Span, ...]]
"""Forbidden distances by blocks and when their pieces live, so that no pair is worked out twice."""


@dataclass(frozen=True)
class Block:
    """Bytes that lie together.

    Attributes:
        name: of the tensor, or the number of the stage that has it as scratch memory.
        nbytes: of all pieces.
        at: offset of each piece in the block.
        size: of each piece, in bytes.
        first: time from which on the piece is live.
        last: time to which it is live, included.
    """

    name: str | int
    nbytes: int
    at: Ints = field(repr=False)
    size: Ints = field(repr=False)
    first: Ints = field(repr=False)
    last: Ints = field(repr=False)


@dataclass(frozen=True)
class Problem:
    """What must be placed.

    Attributes:
        blocks: in the order of their first use.
        spans: by a pair of blocks i < j: distances offset(i) - offset(j) that are forbidden,
            ascending, disjoint.
        live: bytes in use, by time; where an output may lie on an input, it does.
        alive: when the rows of each tensor are live.
    """

    blocks: tuple[Block, ...]
    spans: Mapping[tuple[int, int], tuple[Span, ...]] = field(repr=False)
    live: Ints = field(repr=False)
    alive: Mapping[str, Life] = field(repr=False)


def problem(shape: Geometry, table: Timetable, known: Known | None = None) -> Problem:
    """Return what the schedule asks of the arena.

    Args:
        shape: the network's dependences.
        table: the schedule.
        known: forbidden distances from earlier calls for the same network; gains those of this.
    """
    stages = shape.network.stages
    alive = lives(shape, table.at, table.end, len(stages))
    for name in shape.network.tensors:
        if shape.is_input(name) and name not in alive:
            rows = shape.network.tensors[name].rows
            last = np.full(rows, table.end if shape.is_output(name) else 0)
            alive[name] = Life(np.zeros(rows, np.int64), last, rows)
    blocks = [_tensor(shape, name, life) for name, life in alive.items()]
    blocks += [
        _scratch(number, stage.scratch_bytes, table.at[number])
        for number, stage in enumerate(stages)
        if stage.scratch_bytes
    ]
    blocks.sort(key=lambda block: (int(block.first.min()), str(block.name)))
    overlays = _overlays(shape, table, alive)
    spans = _spans(blocks, overlays, {} if known is None else known)
    return Problem(tuple(blocks), spans, _live(shape, blocks, table, overlays), alive)


def _tensor(shape: Geometry, name: str, life: Life) -> Block:
    tensor = shape.network.tensors[name]
    at = np.arange(tensor.rows) % life.ring * tensor.row_bytes
    size = np.full(tensor.rows, tensor.row_bytes)
    return Block(name, life.ring * tensor.row_bytes, at, size, life.first, life.last)


def _scratch(stage: int, nbytes: int, times: Ints) -> Block:
    """Return scratch memory, which is live in the stage's steps only, not between them."""
    times = np.sort(times)
    breaks = np.flatnonzero(np.diff(times) > 1)
    first, last = times[np.append(0, breaks + 1)], times[np.append(breaks, len(times) - 1)]
    size = np.full(len(first), nbytes)
    return Block(stage, nbytes, np.zeros_like(size), size, first, last)


_Overlays = dict[tuple[str, str], tuple[int, Ints]]


def _overlays(shape: Geometry, table: Timetable, alive: Mapping[str, Life]) -> _Overlays:
    """Return, by output and input, the stage and the rows in which one may lie on the other."""
    return {
        (stage.output, name): (number, rows)
        for number, stage in enumerate(shape.network.stages)
        for name, rows in shared(shape, number, table.at[number], alive).items()
        if len(rows)
    }


def _spans(
    blocks: list[Block], overlays: _Overlays, known: Known
) -> dict[tuple[int, int], tuple[Span, ...]]:
    start = np.array([block.first.min() for block in blocks])
    stop = np.array([block.last.max() for block in blocks])
    meet = (start[:, None] <= stop[None, :]) & (start[None, :] <= stop[:, None])
    keys = [(b.name, b.nbytes, b.first.tobytes(), b.last.tobytes()) for b in blocks]
    found = {}
    for i, j in zip(*np.nonzero(np.triu(meet, 1)), strict=True):
        key = (keys[i], keys[j])
        if key not in known:
            known[key] = _forbidden(blocks[i], blocks[j], overlays)
        if known[key]:
            found[int(i), int(j)] = known[key]
    return found


def _forbidden(a: Block, b: Block, overlays: _Overlays) -> tuple[Span, ...]:
    """Return the distances of a from b at which two pieces that live at the same time meet."""
    # Blocks are in the order of their first use: an input comes before the output.
    overlay = None
    if isinstance(a.name, str) and isinstance(b.name, str):
        overlay = overlays.get((b.name, a.name))
    if overlay is None:
        a, b = _joined(a), _joined(b)
    together = (a.first[:, None] <= b.last[None, :]) & (b.first[None, :] <= a.last[:, None])
    i, j = np.nonzero(together)
    apart = b.at[j] - a.at[i]
    low, high = apart - a.size[i] + 1, apart + b.size[j] - 1
    # An output row that works in place only must not start above the input's row.
    if overlay is not None:
        same = (i == j) & np.isin(i, overlay[1])
        high[same] = apart[same] - 1
    return _merged(low, high)


def _joined(block: Block) -> Block:
    """Return the block with neighbours that live equally long as one piece."""
    if len(block.at) == 1:
        return block
    new = (
        (np.diff(block.first) != 0)
        | (np.diff(block.last) != 0)
        | (np.diff(block.at) != block.size[:-1])
    )
    starts = np.append(0, np.flatnonzero(new) + 1)
    size = np.add.reduceat(block.size, starts)
    return Block(
        block.name, block.nbytes, block.at[starts], size, block.first[starts], block.last[starts]
    )


def _merged(low: Ints, high: Ints) -> tuple[Span, ...]:
    keep = low <= high
    if not keep.any():
        return ()
    pairs = np.unique(np.stack([low[keep], high[keep]], axis=1), axis=0)
    top = np.maximum.accumulate(pairs[:, 1])
    starts = np.append(0, np.flatnonzero(pairs[1:, 0] > top[:-1] + 1) + 1)
    ends = np.append(starts[1:] - 1, len(top) - 1)
    return tuple(zip(pairs[starts, 0].tolist(), top[ends].tolist(), strict=True))


def _live(shape: Geometry, blocks: list[Block], table: Timetable, overlays: _Overlays) -> Ints:
    change = np.zeros(table.end + 2, np.int64)
    for block in blocks:
        np.add.at(change, block.first, block.size)
        np.subtract.at(change, block.last + 1, block.size)
    live = np.cumsum(change)[:-1]
    return live - saved(shape, table.at, overlays, len(live))


def saved(shape: Geometry, at: Mapping[int, Ints], overlays: _Overlays, length: int) -> Ints:
    """Return, by time, the bytes of output rows that may lie on input rows of the same step."""
    under = np.zeros(length, np.int64)
    tensors, room = shape.network.tensors, dict[int, Ints]()
    for (_, name), (stage, rows) in overlays.items():
        place = room.setdefault(
            stage, np.zeros(tensors[shape.network.stages[stage].output].rows, np.int64)
        )
        place[rows] += tensors[name].row_bytes
    for stage, place in room.items():
        size = tensors[shape.network.stages[stage].output].row_bytes
        times = at[stage] if shape.network.stages[stage].steps > 1 else at[stage].repeat(len(place))
        np.add.at(under, times, np.minimum(place, size))
    return under
