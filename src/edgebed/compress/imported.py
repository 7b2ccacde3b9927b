"""The whole way of an imported float network: calibrate, quantise within a budget, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgebed.compress.agreement import agreement, measure_of
from edgebed.compress.budget import DEFAULT, Choice, Remedy, within
from edgebed.compress.calibration import calibrate
from edgebed.compress.equalise import equalise, pairs
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import WEIGHTED, Settings
from edgebed.compress.sensitivity import Sensitivity, sensitivities
from edgebed.errors import EdgebedError
from edgebed.events import Listener, Note, ignore
from edgebed.program.run import run
from edgebed.program.types import Array, Program

ACCURACY = "share of samples with the labelled class"
_PROBED = 2  # samples of the sensitivity table: every layer is computed anew for each


@dataclass(frozen=True)
class Data:
    """Samples of a network.

    Attributes:
        calibration: for ranges and mean errors.
        evaluation: for the score; other samples than those where there are enough.
        labels: class of each evaluation sample, or None.
    """

    calibration: Sequence[Mapping[str, Array]]
    evaluation: Sequence[Mapping[str, Array]]
    labels: Sequence[int] | None = None


@dataclass(frozen=True)
class Compressed:
    """What came out.

    Attributes:
        choice: the integer program, its score and its settings.
        measure: what the score is.
        reference: the float network's score.
        table: sensitivity of each layer, the most sensitive first.
        bytes: of all constants, before and after.
        narrow: the integer program with 8 bits everywhere.
    """

    choice: Choice
    measure: str
    reference: float
    table: tuple[Sensitivity, ...]
    bytes: tuple[int, int]
    narrow: Program


def compress(
    program: Program,
    data: Data,
    settings: Settings,
    max_drop: float,
    listener: Listener = ignore,
    remedy: Remedy = DEFAULT,
) -> Compressed:
    """Quantise a float network.

    Args:
        program: float32, passes already run.
        data: samples.
        settings: to begin with.
        max_drop: allowed loss of the score, 0.01 for 1 %.
        listener: hears the steps.
        remedy: what may be done where 8 bits are not enough.

    Raises:
        EdgebedError: nothing to quantise, or the data does not fit.
    """
    _check(program)
    balanced = equalise(program) if settings.equalise else program
    if balanced is not program:
        listener(Note("compress", f"{len(pairs(program))} pairs of layers equalised"))
    seen = calibrate(balanced, data.calibration, listener, len(data.calibration))
    real = [run(program, sample) for sample in data.evaluation]
    measure = ACCURACY if data.labels is not None else measure_of(program)

    def score(candidate: Program) -> float:
        found = [run(candidate, sample) for sample in data.evaluation]
        if data.labels is not None:
            return accuracy(found, data.labels)
        return agreement(measure, real, found)

    table: list[Sensitivity] = []

    def order() -> list[Sensitivity]:
        if not table:
            probes = data.calibration[:_PROBED]
            table.extend(sensitivities(balanced, seen, settings, probes, listener))
        return table

    reference = 1.0 if data.labels is None else accuracy(real, data.labels)
    choice = within(balanced, seen, settings, order, score, reference, max_drop, listener, remedy)
    sizes = (constant_bytes(program), constant_bytes(choice.program))
    narrow = quantise(balanced, seen, settings)
    return Compressed(choice, measure, reference, tuple(order()), sizes, narrow)


def accuracy(outputs: Sequence[Mapping[str, Any]], labels: Sequence[int]) -> float:
    """Return the share of samples whose largest output is the labelled one."""
    hits = [
        int(np.argmax(next(iter(one.values()))) == label)
        for one, label in zip(outputs, labels, strict=True)
    ]
    return float(np.mean(hits))


def constant_bytes(program: Program) -> int:
    """Return the bytes of all constants."""
    return sum(constant.values.nbytes for constant in program.constants.values())


def _check(program: Program) -> None:
    weighted = [op for op in program.ops if op.kind in WEIGHTED]
    if any(program.types[op.output].is_float for op in weighted):
        return
    if weighted:
        raise EdgebedError(
            f"{program.name} is quantised already", try_="edgebed compile, without compress"
        )
    raise EdgebedError(f"{program.name} has no layer with weights")
