"""Which consecutive stages to interleave: every choice that trades calls against memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from edgebed.targets._shared.rows.overlap import saved
from edgebed.targets._shared.rows.schedule import (
    Geometry,
    Group,
    Ints,
    Life,
    growing,
    lives,
    shared,
)

_FINENESS: Final = 0.99
"""From one choice to the next, the estimate falls at least to this share."""
_LONGEST: Final = 32
"""Stages in a group at most."""


@dataclass(frozen=True)
class Choice:
    """A partition of the stages into groups.

    Attributes:
        groups: in order.
        estimate: bytes in use at most; a placement may need more.
        runs: of the schedule, at most.
    """

    groups: tuple[Group, ...]
    estimate: int
    runs: int


@dataclass(frozen=True)
class _Cost:
    nbytes: int
    runs: int


def choices(shape: Geometry) -> list[Choice]:
    """Return partitions from layer by layer to the least memory, by falling estimate.

    Each has the fewest runs of those with at most its estimate. The bytes in use in a group
    depend on this group only, so the best partition is a shortest path over group boundaries.
    """
    costs = _costs(shape)
    found: list[Choice] = []
    limit = max((cost.nbytes for cost in costs.values()), default=0)
    least = _least(costs, len(shape.network.stages))
    while limit >= least:
        choice = _path(costs, len(shape.network.stages), limit)
        found.append(choice)
        limit = min(choice.estimate - 1, max(least, int(choice.estimate * _FINENESS)))
    return found


def _path(costs: Mapping[Group, _Cost], stages: int, limit: int) -> Choice:
    """Return the partition with the fewest runs among those below the limit."""
    best: list[tuple[int, int, int] | None] = [(0, 0, 0)] + [None] * stages
    for (first, past), cost in sorted(costs.items(), key=lambda item: item[0][::-1]):
        before = best[first]
        if cost.nbytes <= limit and before is not None:
            runs, peak = before[0] + cost.runs, max(before[1], cost.nbytes)
            now = best[past]
            if now is None or (runs, peak) < now[:2]:
                best[past] = (runs, peak, first)
    cuts = [stages]
    while cuts[-1]:
        step = best[cuts[-1]]
        assert step is not None
        cuts.append(step[2])
    last = best[stages]
    assert last is not None
    return Choice(tuple(pairwise(reversed(cuts))), last[1], last[0])


def _least(costs: Mapping[Group, _Cost], stages: int) -> int:
    best = [0] + [-1] * stages
    for (first, past), cost in sorted(costs.items(), key=lambda item: item[0][::-1]):
        peak = max(best[first], cost.nbytes)
        if best[past] < 0 or peak < best[past]:
            best[past] = peak
    return best[stages]


def _costs(shape: Geometry) -> dict[Group, _Cost]:
    """Return what each group that may make sense needs."""
    stages = shape.network.stages
    crossing = _Crossing.of(shape)
    found: dict[Group, _Cost] = {}
    for past in range(1, len(stages) + 1):
        for first, times in growing(shape, past, max(0, past - _LONGEST)):
            if past - first > 1 and _waits(shape, first, past):
                break
            cost = _cost(shape, times, first, past, crossing)
            alone = max((found[s, s + 1].nbytes for s in range(first, past - 1)), default=0)
            if past - first == 1 or cost.nbytes < max(alone, _alone(found, past)):
                found[first, past] = cost
    return found


def _alone(found: Mapping[Group, _Cost], past: int) -> int:
    cost = found.get((past - 1, past))
    return cost.nbytes if cost else 0


def _waits(shape: Geometry, first: int, past: int) -> bool:
    """Return whether nothing is gained when this stage joins the group at its front."""
    stage = shape.network.stages[first]
    if stage.steps == 1 or shape.network.stages[past - 1].steps == 1:
        return True
    inside = [reader for reader in shape.readers[stage.output] if reader < past]
    return bool(inside) and (
        stage.accumulates
        or any(
            window.whole
            for reader in inside
            for window in shape.network.stages[reader].inputs
            if window.tensor == stage.output
        )
    )


@dataclass(frozen=True)
class _Crossing:
    """Tensors by number: stage that writes, last stage that reads, bytes."""

    number: Mapping[str, int]
    birth: Ints
    death: Ints
    nbytes: Ints

    @staticmethod
    def of(shape: Geometry) -> _Crossing:
        tensors = shape.network.tensors
        stages = len(shape.network.stages)
        birth = [shape.writer.get(name, -1 if shape.is_input(name) else stages) for name in tensors]
        death = [
            stages if shape.is_output(name) else max(shape.readers[name], default=-1)
            for name in tensors
        ]
        nbytes = [tensor.nbytes for tensor in tensors.values()]
        number = {name: i for i, name in enumerate(tensors)}
        return _Crossing(number, np.array(birth), np.array(death), np.array(nbytes))

    def over(self, first: int, past: int, touched: Mapping[str, Life]) -> int:
        """Return the bytes of tensors that outlast these stages and are not used by them."""
        crosses = (self.birth < first) & (self.death >= past)
        crosses[[self.number[name] for name in touched]] = False
        return int(self.nbytes[crosses].sum())


def _cost(
    shape: Geometry, times: Mapping[int, Ints], first: int, past: int, crossing: _Crossing
) -> _Cost:
    at = {stage: steps + 1 for stage, steps in times.items()}
    end = sum(len(steps) for steps in at.values()) + 1
    alive = lives(shape, at, end, past)
    change, owner = np.zeros(end + 2, np.int64), np.zeros(end + 1, np.int64)
    for name, life in alive.items():
        tensor = shape.network.tensors[name]
        # A ring of one row is free between two rows; of a larger one that is of little use.
        if 1 < life.ring < tensor.rows:
            change[life.first.min()] += life.ring * tensor.row_bytes
            change[life.last.max() + 1] -= life.ring * tensor.row_bytes
        else:
            change += tensor.row_bytes * np.bincount(life.first, minlength=end + 2)
            change -= tensor.row_bytes * np.bincount(life.last + 1, minlength=end + 2)
    live = np.cumsum(change)[:-1]
    overlays = {}
    for stage, steps in at.items():
        owner[steps] = stage
        live[steps] += shape.network.stages[stage].scratch_bytes
        for name, rows in shared(shape, stage, steps, alive).items():
            pair = (alive[name], alive[shape.network.stages[stage].output])
            if all(life.ring in (1, len(life.first)) for life in pair):
                overlays[shape.network.stages[stage].output, name] = (stage, rows)
    live -= saved(shape, at, overlays, len(live))
    runs = int(np.count_nonzero(np.diff(owner[1:end]))) + 1
    return _Cost(int(live[1:end].max()) + crossing.over(first, past, alive), runs)
