"""Frames from a board: what it answered to a tensor, or saw through its camera."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

import numpy as np

from edgebed.observe.recorders.described import (
    answer_of,
    manifest_of,
    picture_of,
    role_of,
    tensor_of,
)
from edgebed.observe.trace import Frame, Level, Manifest, Tensor
from edgebed.program.types import Array, Program
from edgebed.targets.contract import Machine, Trace

SHOWN: Final = ("statistics", "full")
"""Levels that have inner tensors."""


@runtime_checkable
class KeepsLayers(Protocol):
    """A virtual board that puts inner tensors into its traces when it is told to."""

    keep_layers: bool


@runtime_checkable
class KeepsData(Protocol):
    """A virtual board that puts the network's input, as it came, into its traces when told to."""

    keep_data: bool


def manifest(program: Program, target: str, level: Level, **notes: object) -> Manifest:
    """Return what a trace of a board begins with; notes are facts beside, plain data."""
    return manifest_of(program, target, level, **notes)


def prepare(machine: Machine, level: Level) -> None:
    """Let a board keep the tensors that the level has, where the board can."""
    if isinstance(machine, KeepsLayers):
        machine.keep_layers = level in SHOWN
    if isinstance(machine, KeepsData):
        machine.keep_data = level != "off"


def frame_of(
    program: Program,
    trace: Trace,
    number: int,
    *,
    tensor: Array | None = None,
    picture: Array | None = None,
    answer: Array | None = None,
) -> Frame:
    """Return the frame of one answer.

    Args:
        program: on the board.
        trace: what the board did; inner tensors under other names than the program's are kept
            under their own.
        number: of the frame.
        tensor: the input that the board got, in the program's shape.
        picture: H x W x 3 bytes before its camera.
        answer: rows of class, score, x1, y1, x2, y2 as the board reported them.
    """
    found: list[Tensor] = []
    if picture is not None:
        found.append(picture_of(picture))
    if tensor is not None and not trace.inputs:
        found.append(tensor_of(program, next(iter(program.inputs)), tensor, "input"))
    for name, values in trace.inputs.items():
        found.append(tensor_of(program, name, _shaped(program, name, values), "input"))
    for name, values in trace.layers.items():
        if name not in program.types:
            found.append(Tensor(name, "layer", values.shape, str(values.dtype), values=values))
        elif role_of(program, name) == "layer":
            found.append(tensor_of(program, name, _shaped(program, name, values)))
    for name, values in trace.outputs.items():
        if name in program.types:
            found.append(tensor_of(program, name, _shaped(program, name, values), "output"))
    if answer is not None:
        found.append(answer_of(answer))
    return Frame(number, tuple(found), trace.figures, trace.layer_figures)


def _shaped(program: Program, name: str, values: Array) -> Array:
    """Return values in the program's shape, where they are as many."""
    shape = program.types[name].shape
    return values.reshape(shape) if values.size == int(np.prod(shape, dtype=np.int64)) else values
