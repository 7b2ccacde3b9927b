"""Frames from the interpreter, the one definition of what a program computes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from edgebed.figures import Figure
from edgebed.observe.recorders.described import manifest_of, samples, tensor_of
from edgebed.observe.trace import Frame, Level, Manifest
from edgebed.program.run import trace
from edgebed.program.types import Array, Program

SOURCE = "reference"
SECONDS = "numpy on this computer; says nothing of a device"


def manifest(program: Program, level: Level) -> Manifest:
    """Return what a trace of the interpreter begins with."""
    return manifest_of(program, SOURCE, level)


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
        yield Frame(
            number,
            tuple(tensor_of(program, name, values) for name, values in found),
            {"latency": Figure(spent, "us", "measured", SECONDS)},
            time_ns=begun,
        )
