"""A device beside its own program: each op computed again from the tensors the device recorded.

Beside a float network, faults smaller than quantisation stay unseen. But a trace that names its
program, or a program beside it, gives a third side: what the reference interpreter makes of the
device's own recorded input, op by op. There every integer has to be equal, so the smallest fault of
a kernel is found in its own layer, whatever the layers before it did; and where all are equal no
kernel is at fault, however far the device is from the float network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.axes import rearrangements
from edgebed.observe.comparability import OWN_KERNELS
from edgebed.observe.recorders.described import MEANINGLESS, digest, own_layout
from edgebed.observe.signature import FIXES, Signature, signature
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.verdict import Verdict
from edgebed.program.read import read_model
from edgebed.program.types import Array, Op, Program

FRAMES: Final = 4
"""Frames computed again, evenly drawn, and the WORST beside them."""
WORST: Final = 2
MOST_BYTES: Final = 64_000_000
"""Of a frame that is computed again; the interpreter holds several times as much."""
NAME: Final = "program.onnx"
KERNELS: Final = frozenset({"kernel", "op_quantisation", "operator_definition"})
"""Causes that what the program gives decides about, beside `kernel_...`."""


@dataclass(frozen=True, eq=False)
class WrongOp:
    """The first op whose integers are not what its program gives for its recorded input.

    Attributes:
        name: of the tensor that it writes.
        frame: number of the first frame with a difference.
        differing: integers that differ, over the frames looked at.
        values: integers looked at.
        steps: largest difference.
        seen: what the differences in that frame have in common.
    """

    name: str
    frame: int
    differing: int
    values: int
    steps: int
    seen: Signature | None


@dataclass(frozen=True)
class Recomputed:
    """What computing a trace's ops again says.

    Attributes:
        wrong: the first in the order of execution; None where all are right.
        ops: that could be computed from recorded tensors.
        frames: looked at.
    """

    wrong: WrongOp | None
    ops: int
    frames: int


def find_program(trace: Path, manifest: Manifest) -> Program | None:
    """Return the program of a trace: the one it names, or one beside it, of the same digest."""
    named = manifest.notes.get("model")
    places = [Path(named)] if isinstance(named, str) else []
    places += [folder / NAME for folder in trace.resolve().parents[:2]]
    for place in places if manifest.digest else ():
        try:
            program = read_model(place) if place.is_file() else None
        except EdgebedError:
            continue
        if program is not None and digest(program) == manifest.digest:
            return program
    return None


def recomputed(comparison: TraceComparison, program: Program | None = None) -> Recomputed | None:
    """Compute the device's ops again; None where there is no program or nothing to compute.

    Args:
        comparison: of the device's trace with any reference.
        program: the device's; None looks for it.
    """
    device = comparison.device
    if device.manifest.source in OWN_KERNELS:
        return None  # nobody promised their integers
    program = program or find_program(device.path, device.manifest)
    if program is None:
        return None
    sums: dict[str, WrongOp] = {}
    ops: set[str] = set()
    frames = 0
    for frame in _drawn(comparison):
        frames += 1
        for op, given, seen in _pairs(program, frame):
            ops.add(op.output)
            if not np.array_equal(given, seen):
                sums[op.output] = _more(sums.get(op.output), op, frame.number, given, seen)
    first = next((sums[op.output] for op in program.ops if op.output in sums), None)
    return Recomputed(first, len(ops), frames) if ops else None


def judged(
    said: list[Verdict], found: Recomputed | None, comparison: TraceComparison
) -> list[Verdict]:
    """Return verdicts after what the device's program says about its kernels.

    Args:
        said: on the comparison with the reference.
        found: None changes nothing.
        comparison: gives the reference's names.
    """
    if found is None:
        return said
    others = [one for one in said if not _on_kernel(one)]
    if found.wrong is not None:
        if any(one.cause in ("missing_biases", "stale_weights") for one in others):
            return others  # what the kernel is given is wrong
        return [_verdict(found.wrong, comparison), *others]
    blamed = [one for one in said if _on_kernel(one)]
    return [*(_cleared(one, found) for one in blamed), *others]


def _on_kernel(one: Verdict) -> bool:
    return one.cause in KERNELS or one.cause.startswith("kernel_") or one.cause == "stale_buffer"


def _verdict(wrong: WrongOp, comparison: TraceComparison) -> Verdict:
    defect = wrong.seen.defect if wrong.seen is not None else "spread"
    cause = "kernel" if defect == "spread" else f"kernel_{defect}"
    cause = "stale_buffer" if defect == "stale_buffer" else cause
    error = next((e for e in comparison.errors if e.pair.device[1] == wrong.name), None)
    text = f" In frame {wrong.frame} {wrong.seen.text}." if wrong.seen is not None else ""
    return Verdict(
        cause, error.name if error is not None else wrong.name, 0.99,
        f"{wrong.differing:,} of {wrong.values:,} integers are not what its program gives for the"
        f" input that the device recorded, by at most {wrong.steps} steps; every layer before it"
        f" is right.{text}",
        FIXES[defect],
    )  # fmt: skip


def _cleared(one: Verdict, found: Recomputed) -> Verdict:
    return Verdict(
        "operator_definition", one.layer, one.confidence,
        f"{one.evidence} But all {found.ops} ops give the integers that the device's program gives"
        f" for the same input ({found.frames} frames computed again): no kernel is at fault, the"
        " program itself differs from the reference here.",
        "Quantise this layer otherwise, keep it in real numbers, or compare how its file defines"
        " it.",
    )  # fmt: skip


def _drawn(comparison: TraceComparison) -> Iterator[Frame]:
    """Give frames of the device: evenly drawn ones and the worst."""
    stride = -(-max(comparison.frames, 1) // FRAMES)
    worst = {number for number, _ in comparison.worst[:WORST]}
    with TraceReader(comparison.device.path) as reader:
        for place, frame in enumerate(reader.frames()):
            wanted = comparison.only in (None, frame.number)
            size = sum(t.values.nbytes for t in frame.tensors if t.values is not None)
            wanted = wanted and size <= MOST_BYTES
            if wanted and (place % stride == 0 or frame.number in worst):
                yield frame
            del frame  # or it would stay in memory while the next one is read


def _pairs(program: Program, frame: Frame) -> Iterator[tuple[Op, Array, Array]]:
    """Give each op whose integers were recorded, what it gives for recorded inputs, and they.

    Where an input was not recorded, the ops before it are computed from what was.
    """
    known = dict(_recorded(program, frame))
    for op in program.ops:
        kind = program.types[op.output]
        if not all(name in known for name in op.inputs):
            continue
        types = [program.types[name] for name in op.inputs]
        given = op.run([known[name][None] for name in op.inputs], program.constants, types)[0]
        if op.output not in known:
            known[op.output] = given
        elif not kind.is_float and kind.dtype not in MEANINGLESS:
            yield op, given, known[op.output]


def _recorded(program: Program, frame: Frame) -> Iterator[tuple[str, Array]]:
    """Give the tensors of a frame that are the program's own, in its shapes and axes."""
    for tensor in frame.tensors:
        kind = program.types.get(tensor.name)
        if kind is None or tensor.values is None or tensor.role not in ("input", "layer", "output"):
            continue
        if tensor.dtype == kind.dtype and tensor.values.size == np.prod(kind.shape, dtype=np.int64):
            yield tensor.name, _own_axes(program, tensor)


def _own_axes(program: Program, tensor: Tensor) -> Array:
    shape = program.types[tensor.name].shape
    own = own_layout(program, tensor.name)
    order = rearrangements(shape, tensor.shape, own, tensor.layout)[0]
    assert tensor.values is not None  # as its caller has made sure
    return order.of(tensor.values).reshape(shape)


def _more(known: WrongOp | None, op: Op, number: int, given: Array, seen: Array) -> WrongOp:
    gap = np.abs(given.astype(np.int64) - seen)
    count, largest = int(np.count_nonzero(gap)), int(gap.max())
    if known is None:
        sides = given.astype(np.int64), seen.astype(np.int64)
        found = signature(*sides, step=1.0)
        return WrongOp(op.output, number, count, gap.size, largest, found)
    return WrongOp(
        op.output, known.frame, known.differing + count, known.values + gap.size,
        max(known.steps, largest), known.seen,
    )  # fmt: skip
