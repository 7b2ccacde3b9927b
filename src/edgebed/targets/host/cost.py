"""Estimated time of a program on this kind of computer: arithmetic plus memory traffic."""

from __future__ import annotations

from typing import Final

from edgebed.figures import Figure
from edgebed.program.types import Op, Program
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.host.wishes import VIEWS

MACS_PER_CYCLE: Final = 64.0
"""int8, one 512-bit dot product a cycle."""
FLOAT_MACS_PER_CYCLE: Final = 16.0
BYTES_PER_CYCLE: Final = 16.0
CYCLES_PER_LAYER: Final = 60.0
SHARE: Final = 0.6
"""Of the peak that a layer reaches."""

_SOURCE: Final = (
    "model: 60 % of 64 int8 multiply-accumulates a cycle (AVX-512 VNNI), 16 bytes a cycle"
)


def cost_of(program: Program) -> Cost:
    """Return estimated cycles per layer and in total."""
    layers = tuple(_layer(program, op) for op in program.ops)
    total = sum(layer.figures["cycles"].value for layer in layers)
    figures = {
        "cycles": Figure(total, "cycles", "estimated", _SOURCE),
        "time": Figure(total / 3000.0, "us", "estimated", f"{_SOURCE}; at 3 GHz"),
    }
    return Cost(layers, figures)


def _layer(program: Program, op: Op) -> LayerCost:
    out = program.types[op.output]
    inputs = [program.types[name] for name in op.inputs]
    macs = op.macs(out, program.constants, inputs)
    rate = FLOAT_MACS_PER_CYCLE if out.is_float else MACS_PER_CYCLE
    moved = out.nbytes + sum(kind.nbytes for kind in inputs)
    moved += sum(program.constants[name].values.nbytes for name in op.constants)
    cycles = 0.0
    if op.kind not in VIEWS:
        cycles = CYCLES_PER_LAYER + max(macs / (rate * SHARE), moved / BYTES_PER_CYCLE)
    return LayerCost(op.name, macs, {"cycles": Figure(cycles, "cycles", "estimated", _SOURCE)})
