"""What quantising one layer alone costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgebed.compress.agreement import noise_db
from edgebed.compress.calibration import Statistics
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import COMBINED, RULED, TABLED, WEIGHTED, Settings
from edgebed.events import Listener, Progress, ignore
from edgebed.program.types import Array, Program

Outputs = list[dict[str, Array]]
Evaluate = Callable[[Program, Sequence[Mapping[str, Array]]], Outputs]
"""Computes a program's outputs for samples: the interpreter, or something faster."""


@dataclass(frozen=True)
class Sensitivity:
    """One layer's share in the loss.

    Attributes:
        layer: the op's name.
        kind: of the op.
        noise_db: outputs over their error when this layer alone is quantised, in decibels, the
            mean over samples of the worst output.
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
    evaluate: Evaluate,
    listener: Listener = ignore,
) -> tuple[Sensitivity, ...]:
    """Return every layer's sensitivity, the most sensitive first."""
    real = evaluate(program, samples)
    macs = program.macs()
    layers = [
        op
        for op in program.ops
        if op.kind in (*WEIGHTED, *COMBINED, *RULED, *TABLED) and program.types[op.output].is_float
    ]
    found = []
    for index, op in enumerate(layers, start=1):
        alone = quantise(program, statistics, replace(settings, only=frozenset({op.name})))
        noise = noise_between(real, evaluate(alone, samples))
        found.append(Sensitivity(op.name, op.kind, noise, macs[op.name]))
        listener(Progress("sensitivity", index, len(layers), "layers"))
    return tuple(sorted(found, key=lambda one: one.noise_db))


def noise_between(real: Outputs, other: Outputs) -> float:
    """Return the mean over samples of the noisiest output's signal-to-noise ratio, at most 200."""
    worst = [
        min(min(noise_db(one[name], two[name]), 200.0) for name in one)
        for one, two in zip(real, other, strict=True)
    ]
    return float(np.mean(worst))
