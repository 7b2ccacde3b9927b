"""A placed network for people: a row a stage, and a map of the arena over time."""

from __future__ import annotations

from edgebed.targets._shared.rows.emit import Project
from edgebed.targets._shared.rows.stage import Placement, Stage
from edgebed.targets.layout import Layout, MemoryMap, Region


def layout(project: Project) -> Layout:
    """Return the table of stages and the map of the arena."""
    stages = project.network.stages
    rows = tuple(_row(project, number, stage) for number, stage in enumerate(stages))
    return Layout(layers=rows, maps=(_arena(project),))


def _row(project: Project, number: int, stage: Stage) -> dict[str, str]:
    tensors, placement = project.network.tensors, project.placement
    out = tensors[stage.output]
    kept = placement.rings[stage.output]
    return {
        "stage": str(number),
        "layer": stage.name,
        "kind": stage.kind,
        "kernel": stage.function,
        "reads": ", ".join(w.tensor for w in stage.inputs) or "-",
        "writes at": f"{placement.offsets[stage.output]:#06x}",
        "rows": f"{out.rows}" if kept == out.rows else f"{kept} of {out.rows}",
        "row bytes": str(out.row_bytes),
        "scratch": str(stage.scratch_bytes),
        "MACs": str(stage.macs),
        "weights": str(sum(len(t.data) for t in stage.tables if t.weights)),
        "runs": str(sum(run.stage == number for run in placement.runs)),
    }


def _arena(project: Project) -> MemoryMap:
    """Return what lies where, over the entries of the schedule."""
    placement, network = project.placement, project.network
    regions = []
    for name, tensor in network.tensors.items():
        first, last = _life(project, name)
        size = placement.rings[name] * tensor.row_bytes
        start = placement.offsets[name]
        layer = _writer(project, name)
        regions.append(Region(name, layer, (first, last + 1), (start, start + size)))
    for number, start in placement.scratch.items():
        first, last = _busy(placement, number)
        size = network.stages[number].scratch_bytes
        label = f"scratch of {network.stages[number].name}"
        regions.append(Region(label, number, (first, last + 1), (start, start + size)))
    return MemoryMap(
        "arena", "entry of the schedule", "bytes",
        (0, max(len(placement.runs), 1)), (0, max(placement.peak, 1)), tuple(regions),
    )  # fmt: skip


def _life(project: Project, name: str) -> tuple[int, int]:
    stages, runs = project.network.stages, project.placement.runs
    touching = [
        i for i, run in enumerate(runs)
        if stages[run.stage].output == name
        or any(w.tensor == name for w in stages[run.stage].inputs)
    ]  # fmt: skip
    role = project.network.tensors[name].role
    first = 0 if role == "input" or not touching else touching[0]
    last = len(runs) - 1 if role == "output" or not touching else touching[-1]
    return first, last


def _busy(placement: Placement, number: int) -> tuple[int, int]:
    found = [i for i, run in enumerate(placement.runs) if run.stage == number]
    return found[0], found[-1]


def _writer(project: Project, name: str) -> int:
    for number, stage in enumerate(project.network.stages):
        if stage.output == name:
            return number
    return -1
