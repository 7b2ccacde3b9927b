"""Frames from the interpreter, the one definition of what a program computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from edgebed.data.preprocess import to_tensor
from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.recorders.described import (
    answer_to,
    manifest_of,
    picture_of,
    samples,
    tensor_of,
)
from edgebed.observe.trace import Frame, Level, Manifest
from edgebed.program.run import trace
from edgebed.program.types import Array, Program

SOURCE = "reference"
SECONDS = "numpy on this computer; says nothing of a device"


def manifest(program: Program, level: Level, **notes: object) -> Manifest:
    """Return what a trace of the interpreter begins with; notes are facts beside, plain data."""
    return manifest_of(program, SOURCE, level, **notes)


def record(program: Program, inputs: Mapping[str, Array], level: Level = "full") -> Iterator[Frame]:
    """Compute one frame a sample and give every tensor that the level asks for.

    Args:
        program: what to compute.
        inputs: by name, N x the program's shapes, or one sample.
        level: `io` leaves out inner tensors; they are never all in memory then.

    Raises:
        EdgebedError: an input is missing, or has another shape or type.
    """
    for number, sample in enumerate(samples(program, inputs)):
        begun, clock = time.time_ns(), time.perf_counter_ns()
        wanted = {*program.inputs, *program.outputs} if level in ("off", "io") else program.types
        found = [(name, values) for name, values in trace(program, sample) if name in wanted]
        spent = (time.perf_counter_ns() - clock) / 1000
        answer = answer_to(program, dict(found))
        yield Frame(
            number,
            (
                *(tensor_of(program, name, values) for name, values in found),
                *(() if answer is None else (answer,)),
            ),
            {"latency": Figure(spent, "us", "measured", SECONDS)},
            time_ns=begun,
        )


def record_pictures(
    program: Program, pictures: Iterable[Array], level: Level = "full"
) -> Iterator[Frame]:
    """Bring pictures into the network's input as the contract says, and compute a frame of each.

    Args:
        program: what to compute; with a contract.
        pictures: uint8, height x width x 3, RGB, of any sizes.
        level: as for `record`.

    Raises:
        EdgebedError: the program has no contract, or something is no picture.
    """
    contract = program.contract
    if contract is None:
        raise EdgebedError(
            "takes tensors only",
            where=program.name,
            why="its program has no contract that says how a picture becomes a tensor",
            try_=f"a tensor (.npy) of {program.input_type}",
        )
    for number, picture in enumerate(pictures):
        tensor = to_tensor(picture, contract.input)
        (frame,) = record(program, dict.fromkeys(program.inputs, tensor), level)
        yield replace(frame, number=number, tensors=(picture_of(picture), *frame.tensors))
