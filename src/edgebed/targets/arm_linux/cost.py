"""Estimated cost before anything is built: instructions by kernel, from counts of our own."""

from __future__ import annotations

from typing import Final

from edgebed.figures import Figure
from edgebed.targets._shared.rows.emit import Project, weight_bytes
from edgebed.targets._shared.rows.stage import Stage
from edgebed.targets.arm_linux.cores import Core
from edgebed.targets.contract import Cost, LayerCost

_BAND: Final = (0.6, 1.7)
_PER_BYTE: Final = 3.0
"""Instructions for each byte of output, requantisation and calls included."""
_SOURCE: Final = "model: instructions by multiply-accumulate and byte, from counts of own kernels"


def estimate(project: Project, core: Core) -> Cost:
    """Return estimated instructions per stage; instructions, RAM and weights in total."""
    layers = tuple(_layer(project, stage, core) for stage in project.network.stages)
    total = {
        "instructions": _figure(sum(one.figures["instructions"].value for one in layers)),
        "ram": Figure(project.placement.peak, "bytes", "measured", "the plan; inputs included"),
        "weights": Figure(weight_bytes(project.network), "bytes", "measured", "the plan"),
    }
    return Cost(layers, total)


def _layer(project: Project, stage: Stage, core: Core) -> LayerCost:
    output = project.network.tensors[stage.output].nbytes
    count = stage.macs * _per_mac(stage, core) + output * _PER_BYTE
    return LayerCost(stage.name, stage.macs, {"instructions": _figure(count)})


def _per_mac(stage: Stage, core: Core) -> float:
    """Return the instructions of a multiply-accumulate."""
    if "portable" in stage.function:
        return 9.0
    if "depthwise" in stage.function:
        return 0.8 if core.bits == 64 else 1.3
    if core.kernels.dot:
        return 0.085
    return 0.235 if core.bits == 64 else 0.33


def _figure(count: float) -> Figure:
    low, high = (count * factor for factor in _BAND)
    return Figure(count, "instructions", "estimated", _SOURCE, low, high)
