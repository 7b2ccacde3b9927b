"""When each row is computed: layer by layer, or several layers interleaved row by row.

Time 0 is before the first step, step t of the schedule runs at time t >= 1, and `end` comes after
the last one. A row of a tensor is live from the step that writes it to the last one that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.stage import Network, Run, Stage, Tensor, Window

Ints = npt.NDArray[np.int64]
Group = tuple[int, int]
"""Consecutive stages that are interleaved: the first, and one past the last."""


@dataclass(frozen=True)
class Reads:
    """What a stage reads of one operand.

    Attributes:
        tensor: which.
        position: of the operand.
        steps: the steps and
        rows: the row that each reads, one entry for each pair; of an operand that is read whole
            only the last step's, since nothing dies before.
        reach: by step, how many rows from the top must exist.
    """

    tensor: str
    position: int
    steps: Ints = field(repr=False)
    rows: Ints = field(repr=False)
    reach: Ints = field(repr=False)


@dataclass(frozen=True)
class Geometry:
    """A network's dependences, row by row, worked out once.

    Attributes:
        network: which.
        reads: by stage, one entry for each operand.
        writer: stage that writes a tensor; inputs have none.
        readers: stages that read a tensor, in order.
    """

    network: Network
    reads: tuple[tuple[Reads, ...], ...]
    writer: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]

    def is_input(self, tensor: str) -> bool:
        """Return whether the tensor is there before the first step."""
        return tensor in self.network.inputs or self.network.tensors[tensor].role == "input"

    def is_output(self, tensor: str) -> bool:
        """Return whether the tensor is kept to the end."""
        return tensor in self.network.outputs or self.network.tensors[tensor].role == "output"

    def steps_for(self, stage: int, rows: Ints) -> Ints:
        """Return how many steps of the stage make so many rows of its output."""
        it = self.network.stages[stage]
        if it.accumulates or it.steps == 1:
            return np.where(rows > 0, it.steps, 0)
        return rows


@dataclass(frozen=True)
class Timetable:
    """When each step runs.

    Attributes:
        at: time of each step, by stage.
        end: time after the last step.
    """

    at: Mapping[int, Ints]
    end: int

    def runs(self) -> tuple[Run, ...]:
        """Return the schedule; steps of one stage that follow each other are one run."""
        owner, step = np.zeros(self.end - 1, np.int64), np.zeros(self.end - 1, np.int64)
        for stage, at in self.at.items():
            owner[at - 1], step[at - 1] = stage, np.arange(len(at))
        breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(step) != 1)) + 1
        starts = [0, *breaks.tolist()] if len(owner) else []
        ends = [*breaks.tolist(), len(owner)]
        return tuple(
            Run(int(owner[a]), int(step[a]), b - a) for a, b in zip(starts, ends, strict=False)
        )


@dataclass(frozen=True)
class Life:
    """When the rows of a tensor are live.

    Attributes:
        first: time, by row.
        last: time, by row, included.
        ring: rows that must be kept at once, if row r lies at r modulo this.
    """

    first: Ints = field(repr=False)
    last: Ints = field(repr=False)
    ring: int


def geometry(network: Network) -> Geometry:
    """Return the row-wise dependences of a network.

    Raises:
        EdgebedError: the number of steps of a stage does not fit its output, a tensor is written
            twice or read before it is written.
    """
    writer: dict[str, int] = {}
    readers: dict[str, tuple[int, ...]] = dict.fromkeys(network.tensors, ())
    reads = []
    for number, stage in enumerate(network.stages):
        _check(network, stage, writer)
        windows = enumerate(stage.inputs)
        reads.append(tuple(_reads(w, p, stage, network.tensors[w.tensor]) for p, w in windows))
        writer[stage.output] = number
        for name in {window.tensor for window in stage.inputs}:
            readers[name] = (*readers[name], number)
    return Geometry(network, tuple(reads), writer, readers)


def _check(network: Network, stage: Stage, written: Mapping[str, int]) -> None:
    rows = network.tensors[stage.output].rows
    if stage.output in written:
        what, why = f"{stage.output} is written twice", "a tensor has one stage that writes it"
    elif stage.steps < 1 or (stage.steps not in (1, rows) and not stage.accumulates):
        what = f"{stage.steps} steps do not make {rows} rows"
        why = "a stage writes one row a step, or all rows in one step"
    else:
        there = {*written, *network.inputs}
        there |= {name for name, tensor in network.tensors.items() if tensor.role == "input"}
        late = [window.tensor for window in stage.inputs if window.tensor not in there]
        if not late:
            return
        what, why = f"{late[0]} is read before it is written", "stages are in the order of use"
    raise EdgebedError(what, where=stage.name, why=why)


def _reads(window: Window, position: int, stage: Stage, tensor: Tensor) -> Reads:
    if window.whole:
        rows = np.arange(tensor.rows)
        steps = np.full(tensor.rows, stage.steps - 1)
        reach = np.full(stage.steps, tensor.rows)
        return Reads(window.tensor, position, steps, rows, reach)
    starts = np.arange(stage.steps)[:, None] * window.stride - window.pad
    grid = starts + np.arange(window.rows)[None, :] * window.dilation
    inside = (grid >= 0) & (grid < tensor.rows)
    steps, _ = np.nonzero(inside)
    reach = np.maximum.accumulate(np.where(inside, grid + 1, 0).max(axis=1))
    return Reads(window.tensor, position, steps, grid[inside], reach)


def layer_by_layer(network: Network) -> tuple[Group, ...]:
    """Return the groups of a schedule that interleaves nothing."""
    return tuple((number, number + 1) for number in range(len(network.stages)))


def timetable(
    shape: Geometry, groups: Sequence[Group], descending: frozenset[int] = frozenset()
) -> Timetable:
    """Return when each step runs if the groups are interleaved, one group after the other.

    Args:
        shape: the network's dependences.
        groups: cover all stages, in order.
        descending: stages, each a group of its own, that go from the last row to the first.
    """
    at: dict[int, Ints] = {}
    now = 1
    for first, past in groups:
        *_, (_, times) = growing(shape, past, first)
        for stage, steps in times.items():
            at[stage] = steps + now
        if first in descending and past == first + 1:
            at[first] = at[first][::-1]
        now += sum(len(steps) for steps in times.values())
    return Timetable(at, now)


def growing(shape: Geometry, past: int, first: int = 0) -> Iterator[tuple[int, dict[int, Ints]]]:
    """Yield ever larger groups that end before stage `past`, with the times of their steps from 0.

    Each stage that joins at the front has its steps put as late as its readers allow: row k comes
    directly before the first step that needs it. Rows that no stage of the group needs come last;
    a stage without readers in the group keeps pace with the group's last stage.
    """
    driver = past - 1
    at = {driver: np.arange(shape.network.stages[driver].steps)}
    total = len(at[driver])
    yield driver, at
    for stage in range(driver - 1, first - 1, -1):
        steps = shape.network.stages[stage].steps
        where = _latest(shape, stage, at, total, driver)
        at = {s: old + np.searchsorted(where, old, side="right") for s, old in at.items()}
        at[stage] = where + np.arange(steps)
        total += steps
        yield stage, at


def _latest(shape: Geometry, stage: int, at: Mapping[int, Ints], total: int, driver: int) -> Ints:
    """Return, by step of the stage, the place in the order before which it must run."""
    output = shape.network.stages[stage].output
    count = np.arange(shape.network.stages[stage].steps)
    readers = [reader for reader in shape.readers[output] if reader in at]
    if not readers:
        pace = -(-(count + 1) * len(at[driver]) // len(count)) - 1
        return at[driver][pace] + 1
    where = np.full(len(count), total)
    for reader in readers:
        places = np.append(at[reader], total)
        for reads in shape.reads[reader]:
            if reads.tensor == output:
                needed = shape.steps_for(stage, reads.reach)
                where = np.minimum(where, places[np.searchsorted(needed, count, side="right")])
    return where


def lives(shape: Geometry, at: Mapping[int, Ints], end: int, past: int) -> dict[str, Life]:
    """Return when the rows of the tensors live that the given stages write or read.

    Args:
        shape: the network's dependences.
        at: times of the steps of consecutive stages; what was written earlier is there at time 0.
        end: time after the last of these steps; what is read later lives to then.
        past: one past the last of these stages.
    """
    touched = dict.fromkeys(
        name
        for stage in sorted(at)
        for name in (
            *(reads.tensor for reads in shape.reads[stage]),
            shape.network.stages[stage].output,
        )
    )
    return {name: _life(shape, name, at, end, past) for name in touched}


def _life(shape: Geometry, name: str, at: Mapping[int, Ints], end: int, past: int) -> Life:
    rows = shape.network.tensors[name].rows
    first, last = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    writer = shape.writer.get(name)
    if writer in at and writer is not None:
        times, stage = at[writer], shape.network.stages[writer]
        one = stage.accumulates or stage.steps == 1
        first = np.full(rows, times.min()) if one else times.copy()
        last = np.full(rows, times.max()) if one else times.copy()
    readers = shape.readers[name]
    if shape.is_output(name) or (readers and readers[-1] >= past):
        last = np.full(rows, end)
    else:
        for reader in readers:
            for reads in shape.reads[reader] if reader in at else ():
                if reads.tensor == name:
                    times = at[reader]
                    whole = shape.network.stages[reader].inputs[reads.position].whole
                    when = np.full(rows, times.max()) if whole else times[reads.steps]
                    np.maximum.at(last, reads.rows, when)
    return Life(first, last, _ring(first, last))


def _ring(first: Ints, last: Ints) -> int:
    """Return the largest span of rows that are live at once; all, if not made in order."""
    if first[0] > first[-1]:
        return len(first)
    oldest = np.maximum.accumulate(last).searchsorted(first)
    return int((np.arange(1, len(first) + 1) - oldest).max())


def shared(shape: Geometry, stage: int, at: Ints, alive: Mapping[str, Life]) -> dict[str, Ints]:
    """Return, by input, the rows that the same row of the stage's output may lie on.

    That is so where the stage works in place, reads this row through such operands only, and no
    later step needs it.
    """
    it = shape.network.stages[stage]
    if not it.in_place or it.accumulates:
        return {}
    out = shape.network.tensors[it.output]
    found: dict[str, Ints] = {}
    for name in dict.fromkeys(it.inputs[position].tensor for position in it.in_place):
        tensor = shape.network.tensors[name]
        rows = np.arange(min(out.rows, tensor.rows))
        if tensor.row_bytes < out.row_bytes or (it.steps == 1 and out.rows != tensor.rows):
            continue
        when = np.full(len(rows), at[0]) if it.steps == 1 else at[rows]
        free = (alive[name].last[rows] == when) & (alive[name].first[rows] < when)
        for reads in shape.reads[stage]:
            if reads.tensor == name and reads.position not in it.in_place:
                if it.inputs[reads.position].whole:
                    free[:] = False
                step = np.zeros_like(rows) if it.steps == 1 else rows
                taken = set(zip(reads.steps.tolist(), reads.rows.tolist(), strict=True))
                free &= np.array([(s, r) not in taken for s, r in zip(step, rows, strict=True)])
        found[name] = rows[free]
    return found
