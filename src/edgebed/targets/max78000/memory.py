"""Data memory: a window of processors and an offset for every buffer, by liveness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgebed.targets.max78000.layers import INSTANCE_BYTES, PER_INSTANCE, PROCESSORS

INSTANCES = PROCESSORS // PER_INSTANCE
WORDS = INSTANCE_BYTES // 4


@dataclass(frozen=True)
class Buffer:
    """One piece of data memory with its time of life.

    Attributes:
        name: for messages.
        lanes: processors relative to the window's start; the start is a multiple of 4.
        words: words it takes in every instance of its window.
        first: step in which it is first written; -1 = before the first layer.
        last: step in which it is last read.
        fixed: the window starts at processor 0.
    """

    name: str
    lanes: frozenset[int]
    words: int
    first: int
    last: int
    fixed: bool = False

    @property
    def instances(self) -> frozenset[int]:
        """Instances relative to the window's start."""
        return frozenset(lane // PER_INSTANCE for lane in self.lanes)


@dataclass(frozen=True)
class Tie:
    """Window of `second` starts `distance` instances after that of `first`, because of `layer`."""

    first: str
    second: str
    distance: int
    layer: str


@dataclass(frozen=True)
class Load:
    """Kernel columns that a reader of a buffer needs on each of its lanes."""

    buffer: str
    lanes: frozenset[int]
    columns: int


@dataclass(frozen=True)
class Cluster:
    """Buffers whose windows move together: offset of each in instances."""

    offsets: Mapping[str, int]


def clusters(buffers: Mapping[str, Buffer], ties: Sequence[Tie]) -> list[Cluster] | Tie:
    """Return the clusters, or the first tie that contradicts earlier ones."""
    home = {name: (name, 0) for name in buffers}
    for tie in ties:
        (root_a, at_a), (root_b, at_b) = home[tie.first], home[tie.second]
        if root_a == root_b:
            if at_b - at_a != tie.distance:
                return tie
            continue
        shift = at_a + tie.distance - at_b
        for name, (root, at) in home.items():
            if root == root_b:
                home[name] = (root_a, at + shift)
    return [_cluster(home, root) for root in dict.fromkeys(root for root, _ in home.values())]


def _cluster(home: Mapping[str, tuple[str, int]], root: str) -> Cluster:
    members = {name: at for name, (mine, at) in home.items() if mine == root}
    least = min(members.values())
    return Cluster({name: at - least for name, at in members.items()})


Cost = Callable[[int, int], tuple[int, ...]]  # (most kernel columns, start) -> rank


def place_windows(
    buffers: Mapping[str, Buffer], groups: Sequence[Cluster], loads: Sequence[Load], cost: Cost
) -> dict[str, int] | None:
    """Return the first instance of every buffer's window, or None when one is too wide.

    The widest clusters come first, then those with most kernel columns; each goes where `cost`
    of the fullest processor is least.
    """
    columns = [0] * PROCESSORS
    starts: dict[str, int] = {}
    weight = {name: sum(load.columns for load in loads if load.buffer == name) for name in buffers}

    def rank(group: Cluster) -> tuple[int, int]:
        return -_span(buffers, group), -sum(weight[name] for name in group.offsets)

    for group in sorted(groups, key=rank):
        mine = [load for load in loads if load.buffer in group.offsets]
        room = range(INSTANCES - _span(buffers, group) + 1)
        if any(buffers[name].fixed for name in group.offsets):
            room = range(min(1, len(room)))
        if not room:
            return None
        start = min(room, key=lambda s: cost(_fullest(columns, group, mine, s), s))
        for load in mine:
            for lane in load.lanes:
                columns[(start + group.offsets[load.buffer]) * PER_INSTANCE + lane] += load.columns
        starts |= {name: start + at for name, at in group.offsets.items()}
    return starts


def _span(buffers: Mapping[str, Buffer], group: Cluster) -> int:
    return max(at + max(buffers[name].instances) + 1 for name, at in group.offsets.items())


def _fullest(columns: Sequence[int], group: Cluster, loads: Sequence[Load], start: int) -> int:
    added = dict.fromkeys(range(PROCESSORS), 0)
    for load in loads:
        for lane in load.lanes:
            added[(start + group.offsets[load.buffer]) * PER_INSTANCE + lane] += load.columns
    touched = [columns[p] + extra for p, extra in added.items() if extra]
    return max(touched, default=0)


def place_offsets(buffers: Mapping[str, Buffer], starts: Mapping[str, int]) -> dict[str, int] | str:
    """Return the first word of every buffer, or the name of one that found no room.

    Largest first, then in order of life; each at the lowest word that no buffer alive at the
    same time in the same instance takes.
    """
    failed = ""
    for order in (
        sorted(buffers.values(), key=lambda b: (-b.words, b.first)),
        sorted(buffers.values(), key=lambda b: (b.first, -b.words)),
        sorted(buffers.values(), key=lambda b: (b.first - b.last, -b.words)),
    ):
        words, failed = _lowest(order, starts)
        if not failed:
            return words
    return failed


def _lowest(order: Sequence[Buffer], starts: Mapping[str, int]) -> tuple[dict[str, int], str]:
    words: dict[str, int] = {}
    done: list[Buffer] = []
    for buffer in order:
        taken = [(words[o.name], words[o.name] + o.words) for o in done if clash(buffer, o, starts)]
        places = [0, *sorted(end for _, end in taken)]
        word = next(p for p in places if all(p + buffer.words <= a or p >= b for a, b in taken))
        if word + buffer.words > WORDS:
            return words, buffer.name
        words[buffer.name] = word
        done.append(buffer)
    return words, ""


def clash(one: Buffer, other: Buffer, starts: Mapping[str, int]) -> bool:
    """Return whether two buffers are alive at the same time in the same instance."""
    if one.last < other.first or other.last < one.first:
        return False
    mine = {i + starts[one.name] for i in one.instances}
    return any(i + starts[other.name] in mine for i in other.instances)
