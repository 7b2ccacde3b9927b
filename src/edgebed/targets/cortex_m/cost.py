"""Estimated cost before anything is built: instructions by kernel, from counts of our own."""

from __future__ import annotations

from typing import Final

from edgebed.figures import Figure
from edgebed.targets._shared.arm_cores import Core
from edgebed.targets._shared.rows.emit import Project, weight_bytes
from edgebed.targets._shared.rows.stage import Stage
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.cortex_m.figures import chip, figures

PER_MAC: Final = {"portable": 5.5, "dsp": 1.1, "mve": 0.25}
"""Instructions of a multiply-accumulate of a convolution or dense layer."""
PER_TAP: Final = {"portable": 9.0, "dsp": 2.0, "mve": 0.9}
"""The same of a depthwise layer."""
PER_BYTE: Final = {"portable": 14.0, "dsp": 5.0, "mve": 2.5}
"""Instructions for each byte of output, requantisation and calls included."""
CODE_BYTES: Final = {"portable": 5000, "dsp": 7000, "mve": 7000}
STACK_BYTES: Final = 300
BAND: Final = (0.7, 1.5)
SOURCE: Final = "model: instructions by multiply-accumulate and byte, from counts of four networks"


def estimate(project: Project, core: Core) -> Cost:
    """Return estimated instructions per stage; time, energy, RAM and flash in total."""
    layers = tuple(_layer(project, stage, core) for stage in project.network.stages)
    count = _instructions(sum(one.figures["instructions"].value for one in layers))
    weights = weight_bytes(project.network)
    code, arena = CODE_BYTES[core.isa], project.placement.peak
    total = {
        "instructions": count,
        "ram": Figure(
            arena + STACK_BYTES,
            "bytes",
            "estimated",
            f"arena {arena:,} as planned, stack about {STACK_BYTES}",
        ),
        "flash": Figure(
            weights + code,
            "bytes",
            "estimated",
            f"weights {weights:,} as packed, code about {code:,}",
        ),
        **figures(chip(core.name), count),
    }
    return Cost(layers, total)


def _layer(project: Project, stage: Stage, core: Core) -> LayerCost:
    tensor = project.network.tensors[stage.output]
    rate = PER_TAP if "depthwise" in stage.function else PER_MAC
    value = rate[core.isa] * stage.macs + PER_BYTE[core.isa] * tensor.nbytes
    return LayerCost(stage.name, stage.macs, {"instructions": _instructions(value)})


def _instructions(value: float) -> Figure:
    low, high = (value * one for one in BAND)
    return Figure(value, "instructions", "estimated", SOURCE, low, high)
