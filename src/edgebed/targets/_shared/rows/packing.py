"""Where blocks lie, so that no two of them are at a forbidden distance, in little memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgebed.targets._shared.rows.overlap import Block, Problem, Span

_SEED: Final = 4


IMPOSSIBLE: Final = 1 << 62
"""Bytes of an arena that cannot be."""


@dataclass(frozen=True)
class Packing:
    """Offsets by block, and the bytes of the arena."""

    offsets: tuple[int, ...]
    peak: int
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Board:
    """The problem as the search reads it.

    Attributes:
        sizes: bytes, by block.
        near: by block, the blocks it may meet, with the forbidden distances from them.
        pinned: offsets that are given.
        alignment: of offsets.
    """

    sizes: tuple[int, ...]
    near: tuple[tuple[tuple[int, tuple[Span, ...]], ...], ...]
    pinned: Mapping[int, int]
    alignment: int


def pack(
    task: Problem, alignment: int, fixed: Mapping[str, int], tries: int, goal: int = 0
) -> Packing:
    """Return a small arena: several orders of first fit, then a random search with a fixed seed.

    Args:
        task: blocks and forbidden distances.
        alignment: of every offset, in bytes.
        fixed: offsets by tensor that are given.
        tries: orders that the search looks at.
        goal: a peak in bytes that is good enough.

    Returns:
        The best arena found; one of `IMPOSSIBLE` bytes if the fixed places overlap.
    """
    if meeting(task, fixed):
        return Packing((0,) * len(task.blocks), IMPOSSIBLE)
    board = _board(task, alignment, fixed)
    bound = max(int(task.live.max(initial=0)), goal)
    best: Packing | None = None
    for order in _orders(task.blocks):
        found = _fit(board, order)
        best = found if best is None or found.peak < best.peak else best
    assert best is not None
    return _search(board, best, bound, tries)


def meeting(task: Problem, fixed: Mapping[str, int]) -> tuple[str, str] | None:
    """Return two tensors whose fixed places overlap while both are in use."""
    for (i, j), spans in task.spans.items():
        a, b = task.blocks[i].name, task.blocks[j].name
        if isinstance(a, str) and isinstance(b, str) and a in fixed and b in fixed:
            apart = fixed[a] - fixed[b]
            if any(low <= apart <= high for low, high in spans):
                return a, b
    return None


def _board(task: Problem, alignment: int, fixed: Mapping[str, int]) -> _Board:
    number = {block.name: i for i, block in enumerate(task.blocks)}
    near: list[list[tuple[int, tuple[Span, ...]]]] = [[] for _ in task.blocks]
    for (i, j), spans in task.spans.items():
        near[i].append((j, spans))
        near[j].append((i, tuple((-high, -low) for low, high in reversed(spans))))
    pinned = {number[name]: offset for name, offset in fixed.items() if name in number}
    sizes = tuple(block.nbytes for block in task.blocks)
    return _Board(sizes, tuple(tuple(n) for n in near), pinned, alignment)


def _orders(blocks: Sequence[Block]) -> list[tuple[int, ...]]:
    born = [int(block.first.min()) for block in blocks]
    dies = [int(block.last.max()) for block in blocks]
    area = [int(((block.last - block.first + 1) * block.size).sum()) for block in blocks]
    keys: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-blocks[i].nbytes, born[i]),
        lambda i: (-blocks[i].nbytes, -born[i]),
        lambda i: (-area[i], born[i]),
        lambda i: (born[i] - dies[i], -blocks[i].nbytes),
        lambda i: (born[i], -blocks[i].nbytes),
        lambda i: (-dies[i], -blocks[i].nbytes),
    ]
    return [tuple(sorted(range(len(blocks)), key=lambda i, k=key: (*k(i), i))) for key in keys]  # type: ignore[misc]


def _fit(board: _Board, order: Sequence[int]) -> Packing:
    """Put each block, in this order, at the lowest place that the placed ones allow."""
    offsets = [-1] * len(board.sizes)
    for i, offset in board.pinned.items():
        offsets[i] = offset
    step = board.alignment
    for i in order:
        if offsets[i] >= 0:
            continue
        taken = []
        for j, spans in board.near[i]:
            base = offsets[j]
            if base >= 0:
                taken += [(base + low, base + high) for low, high in spans if base + high >= 0]
        taken.sort()
        at = 0
        for low, high in taken:
            if low > at:
                break
            if high >= at:
                at = -(-(high + 1) // step) * step
        offsets[i] = at
    peak = max(map(int.__add__, offsets, board.sizes), default=0)
    return Packing(tuple(offsets), peak, tuple(order))


def _search(board: _Board, best: Packing, bound: int, tries: int) -> Packing:
    """Move blocks at the top, or any, earlier in the order; keep what is not worse."""
    chance = random.Random(_SEED)
    bound = -(-bound // board.alignment) * board.alignment
    current = best
    for count in range(tries):
        if best.peak <= bound or len(best.order) < 2:
            break
        if count % 200 == 199:
            current = best
        order = list(current.order)
        for _ in range(chance.choice((1, 1, 2, 3))):
            _move(board, current, order, chance)
        found = _fit(board, order)
        if found.peak <= current.peak or chance.random() < 0.02:
            current = found
        if found.peak < best.peak:
            best = found
    return best


def _move(board: _Board, current: Packing, order: list[int], chance: random.Random) -> None:
    if chance.random() < 0.6:
        tops = [i for i in order if current.offsets[i] + board.sizes[i] == current.peak]
        at = order.index(chance.choice(tops))
    else:
        at = chance.randrange(len(order))
    to = chance.randrange(at + 1) if chance.random() < 0.8 else chance.randrange(len(order))
    order.insert(to, order.pop(at))
