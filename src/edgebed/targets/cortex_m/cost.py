"""Estimated cost before anything is built: instructions by kernel, from counts of our own."""

from __future__ import annotations

from typing import Final

from edgebed.figures import Figure
from edgebed.targets._shared.arm_cores import Core
from edgebed.targets._shared.rows.emit import Project, weight_bytes
from edgebed.targets._shared.rows.stage import Stage
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.cortex_m.figures import chip, figures

PER_MAC: Final = {"portable": 5.2, "dsp": 0.95, "mve": 0.2}
"""Instructions of a multiply-accumulate of a convolution or dense layer."""
PER_TAP: Final = {"portable": 18.0, "dsp": 2.8, "mve": 1.0}
"""The same of a depthwise layer."""
PER_BYTE: Final = {"portable": 8.0, "dsp": 3.0, "mve": 1.5}
"""Instructions for each byte of output, requantisation and calls included."""
CODE_BYTES: Final = {"portable": 6500, "dsp": 9500, "mve": 8500}
STACK_BYTES: Final = 300
BAND: Final = (0.8, 1.3)
SOURCE: Final = "model: by multiply-accumulate and byte; within 20 % of the counts of four networks"


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
