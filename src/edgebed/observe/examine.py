"""Verdicts on a deployment: the first departure, and what every assertion says, one a fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edgebed.observe.assertions import INPUT, LAYERS, WEIGHTS, Assertion, examine
from edgebed.observe.closer import looked_closer
from edgebed.observe.comparability import HIDDEN
from edgebed.observe.departure import INPUT_LIMIT
from edgebed.observe.departure_verdict import command, departure_verdict, shown
from edgebed.observe.layer_error import LayerError
from edgebed.observe.observed import MOST_FRAMES, Observed, Signal
from edgebed.observe.own_program import Recomputed, judged, recomputed
from edgebed.observe.trace import Frame
from edgebed.observe.trace_comparison import TraceComparison, paired_frames
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.verdict import Verdict, ranked
from edgebed.program.types import Program

MOST_BYTES: Final = 12_000_000
"""Of values of either trace that assertions see at once; they work on several copies of them."""
LEAST: Final = 4
"""Frames that have to fit with their layers; else assertions see inputs and outputs alone."""
UNEXPLAINED: Final = "input_unexplained"


@dataclass(frozen=True)
class Examination:
    """What is wrong with a deployment.

    Attributes:
        verdicts: the surest first.
        notes: what a reader must know before believing them, as sentences; those of the
            comparison among them.
    """

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def verdicts_on(comparison: TraceComparison, more: Iterable[Assertion] = ()) -> tuple[Verdict, ...]:
    """Return every verdict on a comparison, the surest first; see `examined`."""
    return examined(comparison, more).verdicts


def examined(
    comparison: TraceComparison, more: Iterable[Assertion] = (), program: Program | None = None
) -> Examination:
    """Return every verdict on a comparison, and what they rest on.

    Where an assertion says what is wrong with the network's input, the departure that it causes is
    no second fault. Where an assertion and the departure name the same layer, the more particular
    cause stays. Differing integers of one program name their layer beyond doubt, so there no
    assertion may blame another one. Where the device's own program is known, its ops are computed
    again from what the device recorded, and that decides whether a kernel is at fault.

    Args:
        comparison: of two traces.
        more: assertions of the user.
        program: the device's; None takes the one that its trace names or that lies beside it.

    Raises:
        EdgebedError: an assertion of the user fails, or gives something else than verdicts.
    """
    departure = departure_verdict(comparison)
    sample = _sampled(comparison)
    reference = _meant(sample[0], comparison)
    device = _renamed(reference, sample[1], comparison)
    said = examine(reference, device, more)
    said = looked_closer(said, (reference, device), comparison)
    said = [one if one.command else _with_command(one, comparison) for one in said]
    merged = _merged(departure, said, comparison)
    again = recomputed(comparison, program)
    merged = judged(merged, again, comparison)
    merged = [one if one.command else _with_command(one, comparison) for one in merged]
    return Examination(ranked(merged), tuple(_notes(comparison, sample[1], again)))


def _notes(
    comparison: TraceComparison, sample: Observed, again: Recomputed | None
) -> Iterator[str]:
    yield from (text for text in comparison.notes if again is None or text != HIDDEN)
    part = []
    if len(sample) < comparison.frames:
        part.append(f"{len(sample)} of {comparison.frames:,} frames")
    if not sample.layers and any(one.pair.role == "layer" for one in comparison.errors):
        part.append("inputs and outputs alone, because a frame's layers are large")
    if part:
        yield f"Assertions looked at {', '.join(part)}; the table is of all."
    if again is not None:
        frames = f"{again.frames} frame{'' if again.frames == 1 else 's'}"
        right = "all right" if again.wrong is None else f"wrong first at {again.wrong.name}"
        yield f"The device's own program gave {again.ops} ops again in {frames}: {right}."


def _sampled(comparison: TraceComparison) -> tuple[Observed, Observed]:
    """Read some of the paired frames again, evenly drawn, as many as memory allows."""
    wanted: list[tuple[Frame, Frame]] = []
    paths = comparison.reference.path, comparison.device.path
    with TraceReader(paths[0]) as first, TraceReader(paths[1]) as second:
        most, layers, stride = 0, True, 1
        pairs = (
            pair for pair in paired_frames(first, second, [0, 0])
            if comparison.only in (None, pair[0].number)
        )  # fmt: skip
        for place, pair in enumerate(pairs):
            if not place:
                most, layers = _room(pair)
                stride = -(-comparison.frames // most)
            if place % stride == 0:
                wanted.append((_kept(pair[0], layers), _kept(pair[1], layers)))
        manifests = first.manifest, second.manifest
    reference = Observed.of(manifests[0], [a for a, _ in wanted])
    return reference, Observed.of(manifests[1], [b for _, b in wanted])


def _room(pair: tuple[Frame, Frame]) -> tuple[int, bool]:
    """Return how many frames fit, and whether with their layers."""
    for layers in (True, False):
        size = max(_bytes(_kept(one, layers)) for one in pair)
        fitting = min(MOST_FRAMES, MOST_BYTES // max(size, 1))
        if fitting >= LEAST:
            return fitting, layers
    return max(fitting, 1), False


def _kept(frame: Frame, layers: bool) -> Frame:
    if layers:
        return frame
    return replace(frame, tensors=tuple(one for one in frame.tensors if one.role != "layer"))


def _bytes(frame: Frame) -> int:
    return sum(one.values.nbytes for one in frame.tensors if one.values is not None)


def _merged(
    departure: Verdict | None, said: Sequence[Verdict], comparison: TraceComparison
) -> list[Verdict]:
    if departure is None or comparison.departure is None:
        return list(said)
    if departure.cause == "different_raw_data":
        return [departure]  # every other difference follows from it
    if any(one.cause in INPUT and one.cause != UNEXPLAINED for one in said):
        return [one for one in said if one.cause != UNEXPLAINED]
    if departure.cause == "preprocessing":
        return [departure, *(one for one in said if one.cause != UNEXPLAINED)]
    same = [o for o in said if o.layer in (departure.layer, comparison.departure.device_layer)]
    particular = [one for one in same if one.cause in LAYERS and one.cause != "kernel"]
    rest = [one for one in said if one.cause not in (*LAYERS, UNEXPLAINED)]
    proven = [one for one in said if one.cause in WEIGHTS]
    if proven:
        return [*proven[:1], *rest]
    if comparison.departure.rule == "exact" or not particular:
        return [departure, *rest]
    best = max(particular, key=lambda one: one.confidence)
    return [replace(best, evidence=f"{best.evidence} {departure.evidence}"), *rest]


def _with_command(one: Verdict, comparison: TraceComparison) -> Verdict:
    """Return the verdict with the command that shows its tensor in the worst frame."""
    error = comparison.error_of(one.layer)
    return replace(one, command=shown(comparison, error) if error else command(comparison))


def _renamed(reference: Observed, device: Observed, comparison: TraceComparison) -> Observed:
    """Return the device's inputs and layers by the reference's names, order, shapes and axes.

    The frames are left out: they know nothing of the new names.
    Inputs of the reference's shape stay as they are: their values may lie wrong, and that is for
    the assertions to find.
    """
    layers: dict[str, Signal] = {}
    inputs: dict[str, Signal] = {}
    taken = set()
    for error in comparison.errors:
        role, name = error.pair.device
        signals, found = (device.inputs, inputs) if role == "input" else (device.layers, layers)
        known = reference.inputs if role == "input" else reference.layers
        if role not in ("input", "layer") or name not in signals or error.name not in known:
            continue
        found[error.name] = _as_reference(known[error.name], signals[name], error)
        taken.add((role, name))
    _keep_others(inputs, device.inputs, {name for role, name in taken if role == "input"})
    _keep_others(layers, device.layers, {name for role, name in taken if role == "layer"})
    names = {e.pair.device[1]: e.name for e in comparison.errors if e.pair.role == "layer"}
    figures = {names.get(name, name): value for name, value in device.layer_figures.items()}
    notes = {
        key: {names.get(name, name): value for name, value in note.items()}
        if isinstance(note, Mapping) else note
        for key, note in device.manifest.notes.items()
    }  # fmt: skip
    manifest = replace(device.manifest, notes=notes)
    return replace(
        device, inputs=inputs, layers=layers, layer_figures=figures, manifest=manifest, frames=()
    )  # fmt: skip


def _meant(reference: Observed, comparison: TraceComparison) -> Observed:
    """Return the reference in the device's terms.

    Bare integers get the step that was fitted, and channels that a converter has scaled on purpose
    are scaled likewise, so that the device's ranges meet what they were made for.
    """
    layers = dict(reference.layers)
    for error in comparison.errors:
        pair = error.pair
        if pair.reference_step is not None and pair.name in layers:
            known = layers[pair.name]
            layers[pair.name] = _real(known, pair.reference_step, pair.reference_zero)
        if error.factors and pair.name in layers:
            layers[pair.name] = _scaled(layers[pair.name], error)
    return replace(reference, layers=layers)


def _scaled(signal: Signal, error: LayerError) -> Signal:
    shape = error.pair.order.shape
    along = [-1 if axis == error.factor_axis else 1 for axis in range(len(shape))]
    factors = np.array(error.factors, np.float32).reshape(along)
    stored = tuple((one.reshape(shape) * factors).reshape(one.shape) for one in signal.real)
    return replace(signal, stored=stored, dtype="float32", scale=None, zero_point=0)


def _real(signal: Signal, step: float, zero: float) -> Signal:
    stored = tuple(one * np.float32(step) + np.float32(zero) for one in signal.real)
    return replace(signal, stored=stored, dtype="float32", scale=None, zero_point=0)


def _keep_others(found: dict[str, Signal], signals: Mapping[str, Signal], taken: set[str]) -> None:
    for name, signal in signals.items():
        if name not in taken:
            found.setdefault(name, signal)


def _as_reference(known: Signal, signal: Signal, error: LayerError) -> Signal:
    shape, order = known.stored[0].shape, error.pair.order
    same = shape == signal.stored[0].shape
    if error.pair.step is not None:
        signal = _real(signal, error.pair.step, error.pair.zero)
    if error.pair.role == "input" and same:
        agree = error.nrmse <= INPUT_LIMIT  # then both lie alike, whatever a recorder wrote
        return replace(signal, name=error.name, layout=known.layout if agree else signal.layout)
    if not known.is_even or not signal.is_even or (same and not order.moves):
        return replace(signal, name=error.name)
    stored = tuple(order.of(one).reshape(shape) for one in signal.stored)
    return replace(signal, name=error.name, stored=stored, layout=known.layout)
