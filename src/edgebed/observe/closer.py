"""Questions that need other frames or tensors of two traces than the common sample has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from edgebed.observe.assertions import WEIGHTS
from edgebed.observe.assertions import decode as decoding
from edgebed.observe.assertions import weights as held
from edgebed.observe.observed import Observed
from edgebed.observe.own_program import find_program
from edgebed.observe.recomputed import program_of
from edgebed.observe.trace import Frame, Role
from edgebed.observe.trace_comparison import TraceComparison, paired_frames
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.verdict import Verdict

MANY: Final = 512
"""Frames whose answers are looked at: one box too many in a hundred pictures counts."""
FEW: Final = 4
"""Frames whose layers are computed again, where the common sample has no layers."""
MOST_BYTES: Final = 64_000_000
ANSWERS: Final[tuple[Role, ...]] = ("output", "answer")

Sample = tuple[Observed, Observed]


def looked_closer(
    said: Sequence[Verdict], sample: Sample, comparison: TraceComparison
) -> list[Verdict]:
    """Return verdicts on a sample, those on answers and weights from frames of their own.

    Args:
        said: of the common sample.
        sample: reference and device.
        comparison: of all frames.
    """
    found = [one for one in said if one.cause not in decoding.CAUSES]
    if sample[1].answers:
        found += decoding.decode(*read_again(comparison, MANY, ANSWERS))
    where = comparison.departure
    layers = where is not None and comparison.errors[where.index].pair.role in ("layer", "output")
    if layers and not any(one.cause in WEIGHTS for one in found):
        found += _weights(sample, comparison)
    return found


def _weights(sample: Sample, comparison: TraceComparison) -> list[Verdict]:
    """Look at weights where the sample has no layers, or its trace does not name its program."""
    named = program_of(sample[1])
    if named is not None and sample[1].layers:
        return []  # looked at before
    program = named or find_program(comparison.device.path, comparison.device.manifest)
    if program is None:
        return []
    again = sample if sample[1].layers else read_again(comparison, FEW)
    return held.weights_beside(program, *again)


def read_again(
    comparison: TraceComparison, most: int, roles: Sequence[Role] | None = None
) -> Sample:
    """Read frames of both traces again, evenly drawn.

    Args:
        comparison: names the traces.
        most: so many frames at most, and as many as MOST_BYTES allow; one at least.
        roles: of the tensors that are kept; None for all.
    """
    kept: list[tuple[Frame, Frame]] = []
    paths = comparison.reference.path, comparison.device.path
    with TraceReader(paths[0]) as first, TraceReader(paths[1]) as second:
        stride, held_bytes = -(-max(comparison.frames, 1) // most), 0
        for place, pair in enumerate(_pairs(first, second, comparison)):
            if place % stride == 0:
                left, right = (_only(one, roles) for one in pair)
                held_bytes += max(_bytes(left), _bytes(right))
                if kept and held_bytes > MOST_BYTES:
                    break
                kept.append((left, right))
        manifests = first.manifest, second.manifest
    return (
        Observed.of(manifests[0], [one for one, _ in kept]),
        Observed.of(manifests[1], [one for _, one in kept]),
    )


def _pairs(
    first: TraceReader, second: TraceReader, comparison: TraceComparison
) -> Iterator[tuple[Frame, Frame]]:
    for pair in paired_frames(first, second, [0, 0]):
        if comparison.only in (None, pair[0].number):
            yield pair
        del pair  # or it would stay in memory while the next one is read


def _only(frame: Frame, roles: Sequence[Role] | None) -> Frame:
    if roles is None:
        return frame
    return replace(frame, tensors=tuple(one for one in frame.tensors if one.role in roles))


def _bytes(frame: Frame) -> int:
    return sum(one.values.nbytes for one in frame.tensors if one.values is not None)
