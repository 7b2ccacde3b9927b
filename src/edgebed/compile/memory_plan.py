"""Where blocks of memory lie in one arena, so that those in use at the same time never overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_PASSES: Final = 60


@dataclass(frozen=True)
class Block:
    """Memory that is needed for some steps.

    Attributes:
        size: bytes.
        first: first step that needs it.
        last: last step that needs it, included.
    """

    size: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Return whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of blocks in an arena.

    Attributes:
        offsets: bytes from the arena's start, in the order of the blocks.
        peak: bytes of the arena.
        lower_bound: the largest sum of blocks that are needed at the same time; no plan needs
            less.
    """

    offsets: tuple[int, ...]
    peak: int
    lower_bound: int


def place(blocks: Sequence[Block], alignment: int = 64) -> MemoryPlan:
    """Return a small arena for the blocks.

    Several orders (by size, by lifetime, by area, by time) each put block after block at the
    lowest free place; the best one is then improved by placing blocks at the top earlier, until
    the lower bound is met or that stops to help. Deterministic.

    Args:
        blocks: what to place.
        alignment: of every offset, in bytes; sizes are rounded up to it.
    """
    rounded = [
        Block(-(-block.size // alignment) * alignment, block.first, block.last) for block in blocks
    ]
    bound = lower_bound(rounded)
    best = min((_fit(rounded, order) for order in _orders(rounded)), key=lambda fit: fit.peak)
    for _ in range(_PASSES):
        if best.peak <= bound:
            break
        better = _fit(rounded, best.top_first(rounded))
        if better.peak >= best.peak:
            better = min(
                (_fit(rounded, order) for order in best.swaps(rounded)),
                key=lambda fit: fit.peak,
                default=best,
            )
        if better.peak >= best.peak:
            break
        best = better
    return MemoryPlan(best.offsets, best.peak, bound)


def lower_bound(blocks: Sequence[Block]) -> int:
    """Return the largest sum of blocks that are needed at one time."""
    change: dict[int, int] = {}
    for block in blocks:
        change[block.first] = change.get(block.first, 0) + block.size
        change[block.last + 1] = change.get(block.last + 1, 0) - block.size
    live = most = 0
    for step in sorted(change):
        live += change[step]
        most = max(most, live)
    return most


@dataclass(frozen=True)
class _Fit:
    offsets: tuple[int, ...]
    peak: int
    order: tuple[int, ...]

    def top_first(self, blocks: Sequence[Block]) -> tuple[int, ...]:
        """Return the order with the blocks that reach the peak moved to the front."""
        tops = [i for i in self.order if self.offsets[i] + blocks[i].size == self.peak]
        return (*tops, *(i for i in self.order if i not in tops))

    def swaps(self, blocks: Sequence[Block]) -> list[tuple[int, ...]]:
        """Return orders in which a block at the peak trades places with an earlier one."""
        tops = [i for i in self.order if self.offsets[i] + blocks[i].size == self.peak]
        found = []
        for top in tops:
            at = self.order.index(top)
            for other in range(max(0, at - 12), at):
                order = list(self.order)
                order[at], order[other] = order[other], order[at]
                found.append(tuple(order))
        return found


def _orders(blocks: Sequence[Block]) -> list[tuple[int, ...]]:
    def length(block: Block) -> int:
        return block.last - block.first + 1

    keys: list[Callable[[Block], tuple[int, ...]]] = [
        lambda b: (-b.size, b.first),
        lambda b: (-length(b), -b.size),
        lambda b: (-b.size * length(b), b.first),
        lambda b: (b.first, -b.size),
        lambda b: (-b.last, -b.size),
    ]
    return [
        tuple(sorted(range(len(blocks)), key=lambda i, key=key: (*key(blocks[i]), i)))  # type: ignore[misc]
        for key in keys
    ]


def _fit(blocks: Sequence[Block], order: Sequence[int]) -> _Fit:
    """Put each block, in this order, at the lowest place where it meets no placed one."""
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for i in order:
        near = sorted(
            (offsets[j], offsets[j] + blocks[j].size) for j in placed if blocks[i].meets(blocks[j])
        )
        at = 0
        for start, end in near:
            if start - at >= blocks[i].size:
                break
            at = max(at, end)
        offsets[i] = at
        placed.append(i)
    peak = max((offsets[i] + blocks[i].size for i in range(len(blocks))), default=0)
    return _Fit(tuple(offsets), peak, tuple(order))
