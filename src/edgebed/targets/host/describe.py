"""A project as a table of layers and a map of its arena."""

from __future__ import annotations

from edgebed.targets.host.arena import lifetimes
from edgebed.targets.host.emit import Project
from edgebed.targets.layout import Layout, MemoryMap, Region


def layout(project: Project) -> Layout:
    """Return the layers, and which bytes of the arena belong to what during which steps."""
    rows = tuple(
        {
            "layer": layer.name,
            "kind": layer.kind,
            "output": " x ".join(map(str, layer.shape)) or "1",
            "multiply-accumulates": f"{layer.macs:,}",
            "bytes": f"{layer.nbytes:,}",
        }
        for layer in project.lowered.layers
    )
    return Layout(rows, (_arena_map(project),))


def _arena_map(project: Project) -> MemoryMap:
    steps = project.lowered.steps
    lives = lifetimes(steps)
    regions = []
    for number, offset in project.arena.offsets.items():
        first, last = lives[number]
        layer = steps[first].layer
        size = project.lowered.stores[number].nbytes
        name = project.lowered.layers[layer].name if layer >= 0 else "input"
        regions.append(
            Region(name, layer, (float(first), float(last + 1)), (offset, offset + size))
        )
    height = float(max(project.arena.plan.peak, 1))
    plan = project.arena.plan
    title = f"arena of {plan.peak:,} bytes (no placement needs less than {plan.lower_bound:,})"
    return MemoryMap(
        title, "step", "byte", (0.0, float(max(len(steps), 1))), (0.0, height), tuple(regions)
    )
