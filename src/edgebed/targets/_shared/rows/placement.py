"""The memory plan of a row-wise network: a schedule, and where everything lies in the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets._shared.rows.overlap import Problem, problem
from edgebed.targets._shared.rows.packing import Packing, pack
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


@dataclass(frozen=True)
class _Draft:
    """A schedule with its placement so far."""

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
    shape = geometry(network)
    pins = fixed or {}
    if goal == "time":
        draft = _draft(shape, layer_by_layer(network), alignment, pins)
        return _placement(shape, _polished(draft, alignment, pins))
    found = choices(shape)
    ram = _smallest(shape, found, alignment, pins)
    if goal == "ram":
        return _placement(shape, ram)
    enough = int(ram.packing.peak * _ENOUGH)
    for choice in found:
        if choice.estimate <= enough:
            draft = _draft(shape, choice.groups, alignment, pins)
            draft = _polished(draft, alignment, pins, enough)
            if draft.packing.peak <= enough:
                return _placement(shape, draft)
    return _placement(shape, ram)


def pareto(network: Network, *, alignment: int = 8) -> list[Placement]:
    """Return placements from few runs to little memory, none of them worse in both.

    Args:
        network: what runs.
        alignment: of every tensor and scratch memory, in bytes.
    """
    shape = geometry(network)
    found: list[Placement] = []
    for choice in choices(shape):
        draft = _draft(shape, choice.groups, alignment, {})
        placed = _placement(shape, draft)
        if not found or placed.peak < found[-1].peak:
            found.append(placed)
    return found


def _smallest(
    shape: Geometry, found: Sequence[Choice], alignment: int, fixed: Mapping[str, int]
) -> _Draft:
    """Return the best placement among the schedules with the smallest estimates."""
    best = _draft(shape, layer_by_layer(shape.network), alignment, fixed)
    for choice in found[: -_TRIED - 1 : -1]:
        if choice.estimate < best.packing.peak:
            draft = _draft(shape, choice.groups, alignment, fixed)
            best = min(best, draft, key=lambda it: it.packing.peak)
    return _polished(best, alignment, fixed)


def _draft(
    shape: Geometry, groups: Sequence[Group], alignment: int, fixed: Mapping[str, int]
) -> _Draft:
    table = timetable(shape, groups)
    task = problem(shape, table)
    return _Draft(table, task, pack(task, alignment, fixed, _GLANCE))


def _polished(draft: _Draft, alignment: int, fixed: Mapping[str, int], goal: int = 0) -> _Draft:
    packing = pack(draft.task, alignment, fixed, _SEARCH, goal)
    best = min(packing, draft.packing, key=lambda found: found.peak)
    return _Draft(draft.table, draft.task, best)


def _placement(shape: Geometry, draft: _Draft) -> Placement:
    offsets = dict.fromkeys(shape.network.tensors, 0)
    rings = {name: tensor.rows for name, tensor in shape.network.tensors.items()}
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
