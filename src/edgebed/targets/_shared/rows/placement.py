"""The memory plan of a row-wise network: a schedule, and where everything lies in the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets._shared.rows.overlap import Known, Problem, problem
from edgebed.targets._shared.rows.packing import Packing, meeting, pack
from edgebed.targets._shared.rows.schedule import (
    Geometry,
    Group,
    Timetable,
    geometry,
    layer_by_layer,
    timetable,
)
from edgebed.targets._shared.rows.segments import Choice, choices
from edgebed.targets._shared.rows.stage import Network, Placement

_ENOUGH: Final = 1.15
"""With the goal "balanced" the peak may be so many times the smallest one."""
_GLANCE: Final = 40
_SEARCH: Final = 1500
_TRIED: Final = 6
_TURNS: Final = 1000
_RUN: Final = 2
"""Bytes of the arena that one run less is worth; a run takes six bytes of flash."""
_NEAR: Final = 1.02
"""A peak so close to the lower bound is not worth turning layers for."""
_ESTIMATED: Final = 1.1
"""A placement may need this much less than estimated, where small rings share memory."""


@dataclass(frozen=True)
class _Job:
    """The network and what its placement must keep to; `known` saves work between schedules."""

    shape: Geometry
    alignment: int
    fixed: Mapping[str, int]
    known: Known

    def turns(self) -> int:
        """Return how many directions of layers are tried; a trial takes longer on large ones."""
        return max(6, _TURNS // (len(self.shape.network.stages) + 1))


@dataclass(frozen=True)
class _Draft:
    """A schedule with its placement so far."""

    groups: Sequence[Group]
    descending: frozenset[int]
    table: Timetable
    task: Problem
    packing: Packing


def plan(
    network: Network,
    goal: Goal,
    *,
    alignment: int = 8,
    fixed: Mapping[str, int] | None = None,
) -> Placement:
    """Return when each step of the network runs and where each tensor lies.

    "time" runs layer by layer. "ram" interleaves layers row by row where that lowers the arena's
    peak most. "balanced" takes the schedule with the fewest runs whose peak is within 15 % of
    that. The number of multiply-accumulates is the same with all; only the calls differ.
    Deterministic.

    Args:
        network: what runs; tensors in rows.
        goal: what matters most.
        alignment: of every tensor and scratch memory, in bytes.
        fixed: offsets of tensors that are given, in bytes.

    Raises:
        EdgebedError: the network's stages do not fit its tensors, or fixed places overlap.
    """
    job = _Job(geometry(network), alignment, fixed or {}, {})
    for name in job.fixed:
        if name not in network.tensors:
            raise EdgebedError(f"{name} has a fixed place but is no tensor", where=network.name)
    layers = _draft(job, layer_by_layer(network))
    if goal == "time":
        return _placement(job, _polished(job, _turned(job, layers)))
    found = choices(job.shape)
    ram = _smallest(job, layers, found)
    if goal == "ram":
        return _placement(job, ram)
    return _placement(job, _coarsest(job, found, ram))


def pareto(network: Network, *, alignment: int = 8) -> list[Placement]:
    """Return placements from few runs to little memory, each with a smaller peak than the last.

    Args:
        network: what runs.
        alignment: of every tensor and scratch memory, in bytes.

    Raises:
        EdgebedError: the network's stages do not fit its tensors.
    """
    job = _Job(geometry(network), alignment, {}, {})
    found: list[Placement] = []
    for choice in choices(job.shape):
        placed = _placement(job, _turned(job, _draft(job, choice.groups)))
        if not found or placed.peak < found[-1].peak:
            found.append(placed)
    return found


def _smallest(job: _Job, best: _Draft, found: Sequence[Choice]) -> _Draft:
    """Return the best placement among the schedules with the smallest estimates."""
    for choice in found[: -_TRIED - 1 : -1]:
        if choice.estimate <= _peak(best) * _ESTIMATED:
            best = min(best, _draft(job, choice.groups), key=_peak)
    return _polished(job, _turned(job, best))


def _coarsest(job: _Job, found: Sequence[Choice], ram: _Draft) -> _Draft:
    """Return the placement with the fewest runs whose peak is not far above the smallest."""
    enough = int(_peak(ram) * _ENOUGH)
    best, low, high = ram, 0, len(found)
    while low < high:
        middle = (low + high) // 2
        draft = _polished(job, _draft(job, found[middle].groups), enough)
        if enough < _peak(draft) <= enough * _ESTIMATED:
            draft = _turned(job, draft)
        if _peak(draft) <= enough:
            best = draft if len(draft.table.runs()) <= len(best.table.runs()) else best
            high = middle
        else:
            low = middle + 1
    return best


def _draft(job: _Job, groups: Sequence[Group], descending: frozenset[int] = frozenset()) -> _Draft:
    table = timetable(job.shape, groups, descending)
    task = problem(job.shape, table, job.known)
    return _Draft(groups, descending, table, task, pack(task, job.alignment, job.fixed, _GLANCE))


def _turned(job: _Job, draft: _Draft) -> _Draft:
    """Return the draft with layers that go from the last row to the first, where that helps.

    A layer that reads several rows can write its output over its input if that begins some rows
    lower. Of two such layers in a row the second had to begin lower still; if it runs upwards, it
    returns to where the first began.
    """
    least = draft.task.live.max(initial=0) * _NEAR
    stages = job.shape.network.stages
    able = [
        first
        for first, past in draft.groups
        if past == first + 1
        and stages[first].steps > 1
        and not stages[first].accumulates
        and not stages[first].in_place
        and stages[first].inputs  # rows that a caller brings come in order
        and _crowded(draft, first) > least
    ]
    if draft.packing.peak <= least or not able:
        return draft
    trials = [_draft(job, draft.groups, frozenset(able[odd::2])) for odd in (0, 1)]
    best = _flipped(job, min(draft, *trials, key=_weight), able, least)
    return _straightened(job, best)


def _straightened(job: _Job, best: _Draft) -> _Draft:
    """Return the draft with fewer turned layers, where the memory does not need it."""
    turns, size = job.turns(), max(1, len(best.descending) // 2)
    start = 0
    while turns and best.descending:
        chosen = sorted(best.descending)[start : start + size]
        fewer = _draft(job, best.groups, best.descending.difference(chosen))
        turns -= 1
        if _weight(fewer) <= _weight(best):
            best = fewer
        else:
            start += size
        if start >= len(best.descending):
            if size == 1:
                break
            start, size = 0, size // 2
    return best


def _crowded(draft: _Draft, stage: int) -> int:
    """Return the bytes that the stage would take if nothing lay on anything else."""
    begin, end = draft.table.at[stage].min(), draft.table.at[stage].max()
    return sum(
        block.nbytes
        for block in draft.task.blocks
        if block.first.min() <= end and block.last.max() >= begin
    )


def _flipped(job: _Job, best: _Draft, able: Sequence[int], least: float) -> _Draft:
    """Return the draft after single layers at the peak were turned, while that helps."""
    tried: set[frozenset[int]] = {best.descending}
    turns = job.turns()
    while len(tried) < turns and best.packing.peak > least:
        at_peak = _stages_at_peak(job, best)
        options = [best.descending ^ {stage} for stage in able if stage in at_peak]
        options = [option for option in options if option not in tried][: turns - len(tried)]
        if not options:
            break
        tried.update(options)
        found = min((_draft(job, best.groups, option) for option in options), key=_weight)
        if _weight(found) >= _weight(best):
            break
        best = found
    return best


def _stages_at_peak(job: _Job, draft: _Draft) -> set[int]:
    """Return the stages that write or read a tensor which ends at the arena's end."""
    found: set[int] = set()
    for block, offset in zip(draft.task.blocks, draft.packing.offsets, strict=True):
        if offset + block.nbytes == draft.packing.peak and isinstance(block.name, str):
            found.update(job.shape.readers[block.name])
            found.add(job.shape.writer.get(block.name, 0))
    return found


def _polished(job: _Job, draft: _Draft, goal: int = 0) -> _Draft:
    if draft.packing.peak <= goal:
        return draft
    packing = pack(draft.task, job.alignment, job.fixed, _SEARCH, goal)
    return replace(draft, packing=min(packing, draft.packing, key=lambda found: found.peak))


def _peak(draft: _Draft) -> int:
    return draft.packing.peak


def _weight(draft: _Draft) -> int:
    return draft.packing.peak + _RUN * len(draft.table.runs())


def _placement(job: _Job, draft: _Draft) -> Placement:
    clash = meeting(draft.task, job.fixed)
    if clash:
        raise EdgebedError(
            f"the fixed places of {clash[0]} and {clash[1]} overlap",
            where=job.shape.network.name,
            why="both are in use at the same time",
            try_="fix only one of them",
        )
    offsets = dict.fromkeys(job.shape.network.tensors, 0)
    rings = {name: tensor.rows for name, tensor in job.shape.network.tensors.items()}
    scratch: dict[int, int] = {}
    for block, offset in zip(draft.task.blocks, draft.packing.offsets, strict=True):
        if isinstance(block.name, int):
            scratch[block.name] = offset
        else:
            offsets[block.name] = offset
            rings[block.name] = draft.task.alive[block.name].ring
    live = draft.task.live
    top = int(live.argmax()) if len(live) else 0
    stage = next((s for s, at in draft.table.at.items() if top in at), 0)
    return Placement(
        runs=draft.table.runs(),
        offsets=offsets,
        rings=rings,
        scratch=scratch,
        peak=draft.packing.peak,
        lower_bound=int(live.max(initial=0)),
        peak_stage=stage,
    )
