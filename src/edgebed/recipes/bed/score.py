"""Scores the same test pictures three ways: float network, integer program, virtual board."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.events import Listener, Progress
from edgebed.figures import Figure
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets.contract import Machine
from edgebed.train.evaluate import Split, evaluate
from edgebed.train.metrics import DetectionMetrics

BATCH: Final = 8
CURVE_POINTS: Final = 200

IntArray = npt.NDArray[Any]


class Clock:
    """Measures a known amount of work and says how long the rest will take."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._started

    def progress(self, stage: str, done: int, unit: str) -> Progress:
        """Return the event for `done` finished units of the work."""
        left = self.seconds() / done * (self.total - done)
        return Progress(stage, done, self.total, unit, left)


@dataclass(frozen=True)
class BoardRun:
    """What the board answered for the first pictures of a split.

    Attributes:
        outputs: first output tensor of each picture, n x C x H x W.
        compared: integers compared with the interpreter.
        figures: of the last picture.
        seconds: per picture, measured here.
    """

    outputs: IntArray
    compared: int
    figures: Mapping[str, Figure]
    seconds: float


def interpret(program: Program, tensors: IntArray, listener: Listener) -> dict[str, IntArray]:
    """Return every output of the program for n input tensors, n x C x H x W each."""
    parts: list[dict[str, IntArray]] = []
    clock = Clock(len(tensors))
    for start in range(0, len(tensors), BATCH):
        parts.append(run(program, tensors[start : start + BATCH]))
        done = min(start + BATCH, len(tensors))
        listener(clock.progress("score", done, "pictures in the interpreter"))
    return {name: np.concatenate([part[name] for part in parts]) for name in program.outputs}


def on_board(
    machine: Machine,
    tensors: IntArray,
    expected: Mapping[str, IntArray],
    listener: Listener,
) -> BoardRun:
    """Run tensors on a device and compare every output integer with the interpreter's.

    Raises:
        EdgebedError: an integer differs; picture, tensor and place are named.
    """
    outputs: list[IntArray] = []
    compared, figures, clock = 0, {}, Clock(len(tensors))
    for index, tensor in enumerate(tensors):
        trace = machine.run(tensor)
        for name, values in expected.items():
            compared += _compare(index, name, trace.outputs[name], values[index])
        outputs.append(trace.outputs[next(iter(expected))])
        figures = dict(trace.figures)
        listener(clock.progress("score", index + 1, "pictures on the board"))
    seconds = clock.seconds() / len(tensors)
    return BoardRun(np.stack(outputs), compared, figures, seconds)


def judged(program: Program, outputs: IntArray, split: Split, *, coco: bool) -> DetectionMetrics:
    """Score output integers that belong to the pictures of a split.

    Args:
        program: gives the contract and the output's scale.
        outputs: n x C x H x W.
        split: pictures and annotations, in the same order.
        coco: whether COCO mAP is computed too.
    """
    if program.contract is None:
        raise EdgebedError("the program has no contract", where=program.name)
    scale = program.types[program.outputs[0]].scale
    answered = replace(split, tensors=outputs)
    return evaluate(lambda integers: integers * scale, answered, program.contract, coco=coco)


def plain(metrics: DetectionMetrics) -> dict[str, Any]:
    """Return metrics as plain JSON types, each curve thinned to what a drawing shows."""
    curves = {
        name: {"recall": _thin(curve.recall), "precision": _thin(curve.precision)}
        for name, curve in metrics.curves.items()
    }
    return {**metrics.to_json(), "curves": curves}


def _compare(index: int, name: str, got: IntArray, wanted: IntArray) -> int:
    if got.shape == wanted.shape and np.array_equal(got, wanted):
        return int(wanted.size)
    wrong = int(np.sum(got != wanted)) if got.shape == wanted.shape else wanted.size
    raise EdgebedError(
        f"the board's output {name!r} differs from the interpreter's in {wrong} of {wanted.size}",
        where=f"test picture {index}",
        why="both must give the same integers, so one of them has a bug",
        try_="report it with the run folder",
    )


def _thin(values: tuple[float, ...]) -> list[float]:
    if not values:
        return []
    places = np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).round().astype(int))
    return [round(float(values[i]), 5) for i in places]
