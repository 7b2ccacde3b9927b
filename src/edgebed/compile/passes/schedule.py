"""An order of the ops in which fewer bytes are alive at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edgebed.program.ops.constant import Constant
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.types import Program


@dataclass(frozen=True)
class Schedule:
    """Order the ops so that the tensors alive together have as few bytes as was found.

    Attributes:
        states: so many sets of finished ops are looked at in the exact search; where a program
            has more, the op that leaves the fewest bytes alive goes first.
    """

    name: ClassVar[str] = "schedule"
    states: int = 20_000

    def run(self, program: Program) -> Program:
        """Return the program in the better order, or as it was where none was better."""
        graph = _Graph(program)
        now = graph.peak(range(len(program.ops)))
        order = graph.exact(self.states) or graph.greedy()
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
        return [i for i, needs in enumerate(self.needs) if not done >> i & 1 and not needs & ~done]

    def peak(self, order: Sequence[int]) -> int:
        """Return the most bytes alive at once."""
        done, live = 0, self.start()
        most = live
        for op in order:
            during, live = self.step(done, live, op)
            most, done = max(most, during), done | 1 << op
        return most

    def greedy(self) -> list[int]:
        """Run first what leaves the fewest bytes alive, and of those what needs the fewest."""
        done, live, order = 0, self.start(), list[int]()
        while done != self.all:
            steps = {op: self.step(done, live, op) for op in self.ready(done)}
            op = min(steps, key=lambda one: (steps[one][1], steps[one][0], one))
            live, done = steps[op][1], done | 1 << op
            order.append(op)
        return order

    def exact(self, limit: int) -> list[int] | None:
        """Return an order of least peak; None where more than `limit` sets had to be looked at.

        Sets of finished ops of one size after the other; the bytes alive depend on the set only.
        """
        level = {0: (self.start(), self.start())}  # set -> (peak until then, bytes alive)
        came: dict[int, tuple[int, int]] = {}
        while self.all not in level:
            following: dict[int, tuple[int, int]] = {}
            for done, (most, live) in level.items():
                for op in self.ready(done):
                    during, after = self.step(done, live, op)
                    then, peak = done | 1 << op, max(most, during)
                    if then not in following or peak < following[then][0]:
                        following[then], came[then] = (peak, after), (done, op)
            if len(came) > limit:
                return None
            level = following
        return _path(came, self.all)


def _path(came: dict[int, tuple[int, int]], end: int) -> list[int]:
    order: list[int] = []
    while end:
        end, op = came[end]
        order.append(op)
    return order[::-1]
