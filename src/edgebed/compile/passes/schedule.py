"""An order of the ops in which fewer bytes are alive at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from edgebed.program.ops.constant import Constant
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.types import Program

MOST_READY: Final = 32
"""So many of the ops that could run next are tried, those that come first in the program."""


@dataclass(frozen=True)
class Schedule:
    """Order the ops so that the tensors alive together have as few bytes as was found.

    Attributes:
        width: so many sets of finished ops are followed at once. Where a program never has more
            of one size, the order is the best there is; else it is the best that was found.
    """

    name: ClassVar[str] = "schedule"
    width: int = 64

    def run(self, program: Program) -> Program:
        """Return the program in the better order, or as it was where none was better."""
        graph = _Graph(program)
        now = graph.peak(range(len(program.ops)))
        if now <= graph.least():
            return program
        order = graph.order(self.width)
        if graph.peak(order) >= now:
            return program
        return replace(program, ops=tuple(program.ops[i] for i in order))


def peak_live_bytes(program: Program) -> int:
    """Return the largest sum of the sizes of the tensors that are alive while an op runs.

    A tensor lives from the op that writes it to the last one that reads it, inputs from the
    beginning and outputs to the end. Reshapes share their input's bytes; constants have none.
    """
    return _Graph(program).peak(range(len(program.ops)))


class _Graph:
    """The ops as numbers, with the buffers that they write and read."""

    def __init__(self, program: Program) -> None:
        owner = {name: name for name in program.inputs}
        for op in program.ops:
            shares = isinstance(op, Reshape | Identity)
            owner[op.output] = owner[op.inputs[0]] if shares else op.output
        self.size = {name: program.types[name].nbytes for name in set(owner.values())}
        self.size.update({op.output: 0 for op in program.ops if isinstance(op, Constant)})
        self.inputs = tuple(program.inputs)
        self.writes = [owner[op.output] for op in program.ops]
        self.reads = [{owner[name] for name in op.inputs} for op in program.ops]
        writer = {op.output: i for i, op in enumerate(program.ops)}
        self.needs = [
            sum(1 << writer[name] for name in set(op.inputs) if name in writer)
            for op in program.ops
        ]
        self.users = dict.fromkeys(self.size, 0)
        for i, (write, reads) in enumerate(zip(self.writes, self.reads, strict=True)):
            for name in reads | {write}:
                self.users[name] |= 1 << i
        self.kept = {owner[name] for name in program.outputs}
        self.all = (1 << len(program.ops)) - 1

    def least(self) -> int:
        """Return bytes that any order needs: what one op reads and writes."""
        pairs = zip(self.writes, self.reads, strict=True)
        return max(
            (sum(self.size[n] for n in reads | {write}) for write, reads in pairs), default=0
        )

    def start(self) -> int:
        """Return the bytes of the inputs."""
        return sum(self.size[name] for name in self.inputs)

    def step(self, done: int, live: int, op: int) -> tuple[int, int]:
        """Return bytes alive while an op runs after the set `done`, and after it."""
        write = self.writes[op]
        fresh = not self.users[write] & done and write not in self.inputs
        during = live + (self.size[write] if fresh else 0)
        after, then = during, done | 1 << op
        for name in self.reads[op] | {write}:
            if name not in self.kept and not self.users[name] & ~then:
                after -= self.size[name]
        return during, after

    def ready(self, done: int) -> list[int]:
        """Return the ops that can run next."""
        left, found = self.all & ~done, list[int]()
        while left and len(found) < MOST_READY:
            lowest = left & -left
            op = lowest.bit_length() - 1
            if not self.needs[op] & ~done:
                found.append(op)
            left ^= lowest
        return found

    def peak(self, order: Sequence[int]) -> int:
        """Return the most bytes alive at once."""
        done, live = 0, self.start()
        most = live
        for op in order:
            during, live = self.step(done, live, op)
            most, done = max(most, during), done | 1 << op
        return most

    def order(self, width: int) -> list[int]:
        """Return an order of a low peak; of the lowest where no level had more than `width` sets.

        Level after level of sets of finished ops of one size; how many bytes are alive depends
        on the set only. Of a level the sets with the lowest peaks, then fewest bytes, go on.
        """
        level = {0: (self.start(), self.start())}  # set -> (peak until then, bytes alive)
        came: dict[int, tuple[int, int]] = {}
        for _ in self.needs:
            following: dict[int, tuple[int, int]] = {}
            for done, (most, live) in level.items():
                for op in self.ready(done):
                    during, after = self.step(done, live, op)
                    then, peak = done | 1 << op, max(most, during)
                    if then not in following or peak < following[then][0]:
                        following[then], came[then] = (peak, after), (done, op)
            best = sorted(following.items(), key=lambda item: item[1])[:width]
            level = dict(best)
        return _path(came, self.all)


def _path(came: dict[int, tuple[int, int]], end: int) -> list[int]:
    order: list[int] = []
    while end:
        end, op = came[end]
        order.append(op)
    return order[::-1]
