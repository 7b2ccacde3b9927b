"""Is the layer named in which a kernel is wrong? One trial: plant, record, compare.

What a defect is depends on the device; how a trial is judged does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from edgebed.observe.departure_verdict import departure_verdict
from edgebed.observe.recorders import reference
from edgebed.observe.recorders.described import manifest_of
from edgebed.observe.trace import Frame
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Program

Array = npt.NDArray[Any]
Inputs = dict[str, Array]
Defect = Literal["overflow", "scale", "rounding", "border", "stale"]
DEFECTS: tuple[Defect, ...] = get_args(Defect)
Watch = Callable[[Mapping[str, Array], int], Frame]
"""Returns the frame of these inputs, with this number."""


@dataclass(frozen=True)
class Said:
    """What a comparison answers.

    Attributes:
        layer: at which the traces part; None where they do not.
        cause: of the verdict; empty without one.
        changed: the tensors with any other value than the reference's.
        evidence: of the verdict.
    """

    layer: str | None
    cause: str
    changed: frozenset[str]
    evidence: str = ""


def judged(
    program: Program, watch: Watch, inputs: Callable[[int], Inputs], folder: Path, *,
    source: str, frames: int = 2,
) -> Said:  # fmt: skip
    """Record the reference and a device on the same inputs and compare the traces.

    Args:
        program: that both compute.
        watch: the device.
        inputs: of the frame of a number.
        folder: for the traces.
        source: name of the device.
        frames: so many.
    """
    paths = folder / "reference.trace", folder / "device.trace"
    manifest = manifest_of(program, source, "full")
    with (
        TraceWriter(paths[0], replace(manifest, source="reference")) as right,
        TraceWriter(paths[1], manifest) as device,
    ):
        for number in range(frames):
            given = inputs(number)
            (known,) = reference.record(program, given)
            right.write(replace(known, number=number))
            device.write(watch(given, number))
    return said(*paths)


def said(reference_trace: Path, device_trace: Path) -> Said:
    """Compare two traces; no value that differs may stay unnoticed."""
    found = compare_traces(reference_trace, device_trace)
    changed = differing(reference_trace, device_trace)
    assert (found.departure is None) == (not changed), (found.departure, changed)
    verdict = departure_verdict(found)
    if found.departure is None or verdict is None:
        return Said(None, "", changed)
    return Said(found.departure.layer, verdict.cause, changed, verdict.evidence)


def differing(reference_trace: Path, device_trace: Path) -> frozenset[str]:
    """Return the tensors with any other value."""
    found = set()
    with TraceReader(reference_trace) as a, TraceReader(device_trace) as b:
        for left, right in zip(a.frames(), b.frames(), strict=True):
            for one in right.tensors:
                known, values = left.named(one.name), one.values
                if known is None or known.values is None or values is None:
                    continue
                if one.layout != known.layout:
                    values = values.transpose([one.layout.index(axis) for axis in known.layout])
                if not np.array_equal(known.values, values):
                    found.add(one.name)
    return frozenset(found)


@dataclass(frozen=True)
class Planted:
    """A defect at its place.

    Attributes:
        layer: the tensor that it makes wrong.
        defect: what kind.
        form: in which way.
        where: what the subject needs to plant it.
    """

    layer: str
    defect: Defect
    form: str
    where: Any = None


class Subject(Protocol):
    """A network on a device, into which defects can be planted."""

    program: Program
    source: str

    def draw(self, defect: Defect, rng: np.random.Generator) -> Planted | None:
        """Return a defect of this kind in some layer; None where no layer can have it."""

    def watch(self, planted: Planted | None, scratch: Path) -> Watch:
        """Return the device with the defect, or as it is."""

    def inputs(self, seed: int) -> Inputs:
        """Return random inputs."""

    def close(self) -> None:
        """Release the device."""


def trial(subject: Subject, planted: Planted | None, seed: int, scratch: Path) -> Said:
    """Plant, record two frames and compare."""
    return judged(
        subject.program, subject.watch(planted, scratch), lambda n: subject.inputs(seed + n),
        scratch, source=subject.source,
    )  # fmt: skip
