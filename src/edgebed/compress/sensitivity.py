"""What quantising one layer alone costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgebed.compress.agreement import noise_db
from edgebed.compress.calibration import Statistics
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import COMBINED, RULED, TABLED, WEIGHTED, Settings
from edgebed.events import Listener, Progress, ignore
from edgebed.program.run import trace
from edgebed.program.types import Array, Op, Program

Outputs = Sequence[Mapping[str, Array]]


@dataclass(frozen=True)
class Sensitivity:
    """One layer's share in the loss.

    Attributes:
        layer: the op's name.
        kind: of the op.
        noise_db: outputs over their error when this layer alone is quantised, in decibels from -200
            to 200, the mean over samples of the worst output.
        macs: of the layer.
    """

    layer: str
    kind: str
    noise_db: float
    macs: int


def sensitivities(
    program: Program,
    statistics: Mapping[str, Statistics],
    settings: Settings,
    samples: Sequence[Mapping[str, Array]],
    listener: Listener = ignore,
) -> tuple[Sensitivity, ...]:
    """Return every layer's sensitivity, the most sensitive first.

    All tensors of the float network are kept for all samples, and only what a layer changes is
    computed anew, so a few samples are meant.
    """
    known = [dict(trace(program, sample)) for sample in samples]
    real = [{name: one[name] for name in program.outputs} for one in known]
    macs = program.macs()
    layers = [op for op in program.ops if _counts(program, op)]
    found = []
    for index, op in enumerate(layers, start=1):
        alone = quantise(program, statistics, replace(settings, only=frozenset({op.name})))
        changed = [_anew(alone, one, op) for one in known]
        found.append(Sensitivity(op.name, op.kind, noise_between(real, changed), macs[op.name]))
        listener(Progress("sensitivity", index, len(layers), "layers"))
    return tuple(sorted(found, key=lambda one: one.noise_db))


def _counts(program: Program, op: Op) -> bool:
    kinds = (*WEIGHTED, *COMBINED, *RULED, *TABLED)
    return op.kind in kinds and program.types[op.output].is_float


def _anew(program: Program, known: Mapping[str, Array], layer: Op) -> dict[str, Array]:
    """Return the outputs where one layer differs from a network whose tensors are known."""
    stale = {layer.output}
    values: dict[str, Array] = {}
    for op in program.ops:
        fresh = op.output not in known or stale.intersection(op.inputs)
        if not fresh and op.output not in stale:
            continue
        types = [program.types[name] for name in op.inputs]
        inputs = [values[name] if name in values else known[name][None] for name in op.inputs]
        values[op.output] = op.run(inputs, program.constants, types)
        stale.add(op.output)
    return {name: values[name][0] if name in values else known[name] for name in program.outputs}


def noise_between(real: Outputs, other: Outputs) -> float:
    """Return the mean over samples of the noisiest output's signal-to-noise ratio in decibels.

    Each one counts as -200 to 200.
    """
    worst = [
        min(max(-200.0, min(noise_db(one[name], two[name]), 200.0)) for name in one)
        for one, two in zip(real, other, strict=True)
    ]
    return float(np.mean(worst))
