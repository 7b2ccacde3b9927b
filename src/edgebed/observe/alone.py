"""What one trace says by itself, without another to compare with; with its program, more.

Without a reference only gross faults are certain, so the thresholds are wide: a sound network in
sound surroundings raises nothing. With the program, the trace's own inputs go through the reference
interpreter, and every assertion on two traces applies to the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import number
from edgebed.observe.assertions import examine
from edgebed.observe.assertions.latency import NAMES, slow_layer
from edgebed.observe.assertions.weights import weights_beside
from edgebed.observe.axes import rearrangements
from edgebed.observe.comparability import OWN_KERNELS
from edgebed.observe.drift_certain import CertainFaults
from edgebed.observe.drift_stream import is_watched, key_of, observations
from edgebed.observe.observed import Observed, paired
from edgebed.observe.parts import parts
from edgebed.observe.recorders.described import digest, tensor_of
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.verdict import Verdict
from edgebed.program.costs import costs_of
from edgebed.program.run import trace as run_trace
from edgebed.program.types import Array, Program

LEAST: Final = 8
"""Frames that must agree before a tensor is called constant, stuck or badly scaled."""
SATURATED: Final = 0.25
"""Share of a layer's values at its largest integer."""
USED: Final = 0.05
"""Share of a layer's integers that its values use at least; of an input's, USED_INPUT."""
USED_INPUT: Final = 0.2
WANTED_ENDS: Final = (0.0, 1.0, 6.0)
"""Real values at which activations are meant to stop."""
SLOW: Final = 3.0
"""Times the median latency that make a frame late."""
LATE: Final = 0.01
"""Share of late frames that is a fault, at least three."""
GROWS: Final = 1.5
"""Latency of the last third of the frames over that of the first."""
SLICE_MS: Final = 50.0
"""So long a busy operating system lets a frame wait, whatever computes it."""
JITTER_MS: Final = 1.0
"""By so much medians differ on a busy computer."""
MILLISECONDS: Final = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
REPLAYED: Final = 16
"""Frames that go through the interpreter at most."""
REPLAYED_BYTES: Final = 60_000_000


@dataclass(frozen=True)
class Alone:
    """What was found in one trace.

    Attributes:
        verdicts: one a fault.
        frames: that were read.
        cut: why the trace ends before its end; empty while it does not.
        notes: what a reader must know, as sentences.
    """

    verdicts: tuple[Verdict, ...]
    frames: int
    cut: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class _Range:
    """Of one tensor over all frames; real values but for the share at the upper end."""

    tensor: Tensor
    frames: int = 0
    low: float = np.inf
    high: float = -np.inf
    at_high: float = 0.0

    def add(self, tensor: Tensor) -> None:
        known = tensor.statistics
        if tensor.values is not None:
            low, high, share = self._of(tensor, tensor.values)
        elif known is not None and known.count > known.bad:
            low, high, share = known.low, known.high, known.at_high
        else:
            return
        self.frames += 1
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.at_high += share

    def _of(self, tensor: Tensor, values: Array) -> tuple[float, float, float]:
        """Return lowest and highest real value, and the share at the largest integer."""
        low, high, count = np.inf, -np.inf, 0
        same = self.limits is not None and tensor.dtype == self.tensor.dtype
        most = np.iinfo(tensor.dtype).max if same else None
        for part in parts(values):
            real = replace(tensor, values=part, shape=part.shape).real
            good = real[np.isfinite(real)]
            if good.size:
                low, high = min(low, float(good.min())), max(high, float(good.max()))
            count += int((part == most).sum()) if most is not None else 0
        return low, high, count / max(values.size, 1)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Real values of the type's ends; None for real numbers and integers without a scale."""
        one = self.tensor
        if one.scale is None or np.dtype(one.dtype).kind not in "iu":
            return None
        info = np.iinfo(one.dtype)
        low, high = ((int(q) - one.zero_point) * one.scale for q in (info.min, info.max))
        return low, high


@dataclass
class _Tally:
    """Everything that one pass over a trace collects."""

    certain: CertainFaults = field(default_factory=CertainFaults)
    ranges: dict[str, _Range] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    unit: str = ""
    is_clock: bool = False
    frames: int = 0
    still: int = 0

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass on the inputs of frames, for their features; layers would cost most of the time."""
        for frame in frames:
            self.frames += 1
            for tensor in frame.tensors:
                if is_watched(tensor) and int(np.prod(tensor.shape, dtype=np.int64)) > 1:
                    self.ranges.setdefault(key_of(tensor), _Range(tensor)).add(tensor)
            figure = next((frame.figures[n] for n in NAMES if n in frame.figures), None)
            if figure is not None:
                self.latencies.append(figure.value)
                self.unit = figure.unit
                self.is_clock = figure.kind == "measured"
            yield frame


def alone(path: Path, program: Program | None = None) -> Alone:
    """Examine one trace.

    Args:
        path: of the trace; read frame by frame.
        program: that it is of; None leaves out what needs one.

    Raises:
        EdgebedError: the file is no trace, or another program's.
    """
    tally = _Tally()
    with TraceReader(path) as reader:
        frames = tally.watch(reader.frames())
        for one in observations(frames, roles=frozenset({"input"}), what_if=None):
            tally.certain.add(one)
            tally.still += one.still
        cut, manifest = reader.cut, reader.manifest
    notes = [] if tally.frames else ["The trace has no whole frame."]
    found = [*tally.certain.verdicts(), *_ranges(tally), *_late(tally)]
    if tally.frames:
        sample, _ = paired(path, path, REPLAYED, REPLAYED_BYTES)
        if program is not None:
            sample = replace(sample, manifest=replace(
                manifest, notes=_with_costs(manifest, program)
            ))  # fmt: skip
            replayed = _replayed(sample, program, path)
            if replayed is None:
                notes.append("Not replayed: the trace lacks values of the program's inputs.")
            elif not any(one.cause == "bad_values" for one in found):
                found += _against(replayed, sample, program)
        found += slow_layer(sample, sample)
    return Alone(tuple(_once(found)), tally.frames, cut, tuple(notes))


def _once(found: Iterable[Verdict]) -> Iterator[Verdict]:
    """Give the first verdict on each layer and cause."""
    seen = set()
    for one in found:
        if (one.cause, one.layer) not in seen:
            seen.add((one.cause, one.layer))
            yield one


def _ranges(tally: _Tally) -> Iterator[Verdict]:
    """Name the first layer of each kind of fault: the later ones follow from it."""
    done: set[str] = set()
    for key, one in tally.ranges.items():
        if one.frames < LEAST or one.frames < tally.frames:
            continue
        found = _fault(one, varied=tally.still < one.frames - 1)
        if found is not None and found[0] not in done:
            done.add(found[0])
            yield Verdict(found[0], key, *found[1:])


def _fault(one: _Range, varied: bool) -> tuple[str, float, str, str] | None:
    role, frames = one.tensor.role, f"in all {one.frames} frames"
    if role != "input" and one.low == one.high and varied and not _is_constant(one.tensor):
        return (
            "constant_layer", 0.9, f"All its values are {number(one.low)} {frames}.",
            "Look at weights, bias and scale of this layer and whether its kernel writes at all.",
        )  # fmt: skip
    limits, step = one.limits, one.tensor.scale or 0.0
    if limits is None or "softmax" in one.tensor.kind.lower():
        return None
    share, used = one.at_high / one.frames, (one.high - one.low) / (limits[1] - limits[0])
    wanted = any(abs(limits[1] - end) <= max(step, 0.01 * end) for end in WANTED_ENDS)
    if share > SATURATED and (role == "input" or not wanted):
        return (
            "saturation", 0.85,
            f"{share:.0%} of its values are the largest integer, {number(limits[1])}.",
            "Lower exposure or gain; check the normalisation." if role == "input" else
            "Calibrate again with a wider range.",
        )  # fmt: skip
    least = USED_INPUT if role == "input" else USED
    if one.low < one.high and used < least and role != "output":
        return (
            "range_unused", 0.8,
            f"Its values lie from {number(one.low)} to {number(one.high)} {frames}; the integers"
            f" reach from {number(limits[0])} to {number(limits[1])}: {used:.1%} is used.",
            "Check whether the input is normalised twice, or to another range." if role == "input"
            else "Calibrate again without outliers.",
        )  # fmt: skip
    return None


def _is_constant(tensor: Tensor) -> bool:
    return any(word in tensor.kind.lower() for word in ("constant", "shape", "fill", "prior"))


def _late(tally: _Tally) -> Iterator[Verdict]:
    times = np.array(tally.latencies[1:])  # the first frame pays for caches and pages
    if len(times) < 3 * LEAST:
        return
    middle = float(np.median(times))
    spread = float(np.median(np.abs(times - middle)))
    # Counts of cycles have no jitter; a clock's times have that of the whole computer.
    unit = MILLISECONDS.get(tally.unit, 0.0) if tally.is_clock else 0.0
    wait, jitter = (SLICE_MS / unit, JITTER_MS / unit) if unit else (0.0, 0.0)
    late = np.flatnonzero(times > max(SLOW * middle, middle + 8 * spread, middle + wait))
    if len(late) >= max(3, LATE * len(times)):
        yield Verdict(
            "late_frames", "", 0.9,
            f"{len(late)} of {len(times)} frames take over {SLOW:g} times the median of"
            f" {number(middle)} {tally.unit}, up to {number(float(times.max()))}; the first is"
            f" frame {late[0] + 1}.",
            "Look at other work on the processor, its clock, swapping and garbage collection.",
        )  # fmt: skip
    third = len(times) // 3
    first, last = float(np.median(times[:third])), float(np.median(times[-third:]))
    if first > 0 and last > max(GROWS * first, first + jitter):
        yield Verdict(
            "latency_grows", "", 0.9,
            f"The last third of the frames takes {number(last)} {tally.unit}, the first"
            f" {number(first)}: {last / first:.1f} times as long.",
            "Look for a clock that is lowered by heat, and for memory that grows.",
        )  # fmt: skip


def _with_costs(manifest: Manifest, program: Program) -> Mapping[str, object]:
    """Return the notes with what the cost law needs, unless they have it or are of another form.

    What was compiled may have fewer channels than the file: its own manifest knows best.
    """
    same = not manifest.digest or manifest.digest == digest(program)
    return {**(costs_of(program) if same else {}), **manifest.notes}


def _replayed(sample: Observed, program: Program, path: Path) -> Observed | None:
    """Return what the interpreter makes of the trace's inputs; None where it has not all of them.

    Raises:
        EdgebedError: an input does not fit the program.
    """
    shared = set(sample.layers) & set(program.types)
    if sample.layers and sample.manifest.network != program.name and not shared:
        raise EdgebedError(
            f"is a trace of {sample.manifest.network or 'another network'}", where=str(path),
            why=f"none of its layers is in {program.name}", try_="--program of the same network",
        )  # fmt: skip
    if any(name not in sample.inputs for name in program.inputs):
        if sample.inputs and sample.manifest.network not in ("", program.name):
            raise EdgebedError(
                f"is a trace of {sample.manifest.network}", where=str(path),
                why=f"it has no input {' or '.join(map(repr, program.inputs))} of {program.name}",
                try_="--program of the same network",
            )  # fmt: skip
        return None
    frames = []
    own = sample.manifest.source not in OWN_KERNELS
    for at, frame in enumerate(sample.frames):
        inputs = {
            name: _shaped(sample.inputs[name].stored[at], program, name, path)
            for name in program.inputs
        }
        values = dict(run_trace(program, inputs))
        frames.append(
            replace(frame, tensors=tuple(_as(t, values, program, own) for t in frame.tensors))
        )
    return Observed.of(replace(sample.manifest, source="reference"), frames)


def _against(replayed: Observed, sample: Observed, program: Program) -> list[Verdict]:
    """Name the first layer with other integers than the interpreter's, or what assertions see."""
    if sample.manifest.source not in OWN_KERNELS:
        for name, mine in {**replayed.layers, **replayed.outputs}.items():
            theirs = {**sample.layers, **sample.outputs}[name]
            if mine.is_even and theirs.is_even and np.dtype(mine.dtype).kind in "iu":
                gap = np.stack(theirs.stored).astype(np.int64) - np.stack(mine.stored)
                if gap.any():
                    return weights_beside(program, replayed, sample) or [_kernel(name, gap)]
    return [one for one in examine(replayed, sample) if one.cause != "slow_layer"]


def _kernel(name: str, gap: Array) -> Verdict:
    rows = int(np.any(gap.reshape(len(gap), -1), axis=1).sum())
    return Verdict(
        "kernel", name, 0.98,
        f"{np.count_nonzero(gap) / gap.size:.1%} of its integers differ from the interpreter's, by"
        f" up to {np.abs(gap).max()}, in {rows} of {len(gap)} frames; the layers before it agree.",
        "Look at this layer's kernel, weights and scales on the device.",
    )  # fmt: skip


def _shaped(values: Array, program: Program, name: str, path: Path) -> Array:
    kind = program.types[name]
    if values.size != np.prod(kind.shape, dtype=np.int64) or str(values.dtype) != kind.dtype:
        raise EdgebedError(
            f"has {values.dtype} input {name!r} of shape {values.shape}", where=str(path),
            why=f"{program.name} takes {kind.dtype} of {kind.shape}",
            try_="--program of the same network",
        )  # fmt: skip
    return values.reshape(kind.shape)


def _as(tensor: Tensor, values: Mapping[str, Array], program: Program, named: bool) -> Tensor:
    """Return a recorded layer or output with the interpreter's values in its place, axes and type.

    A runtime may hold real numbers where the program has steps of them, and the reverse; of bare
    integers it does not say what they mean, only their type. Axes are believed where our own
    recorders have `named` them; other runtimes keep the file's order.
    """
    mine = values.get(tensor.name)
    fits = mine is not None and tensor.values is not None and mine.size == tensor.values.size
    if tensor.role not in ("layer", "output") or not fits or mine is None:
        return tensor
    own = tensor_of(program, tensor.name, mine)
    layouts = (tensor.layout, own.layout) if named else ("", "")
    order = rearrangements(tensor.shape, own.shape, *layouts)[0]

    def turned(values: Array) -> Array:
        return order.of(values).reshape(tensor.shape)

    steps = (tensor.scale, tensor.zero_point)
    if own.dtype == tensor.dtype and steps in ((own.scale, own.zero_point), (None, 0)):
        return replace(tensor, values=turned(mine))
    return replace(
        tensor, values=turned(own.real), dtype="float32", scale=None, zero_point=0
    )  # fmt: skip
