"""Verdicts on a deployment: the first departure, and what every assertion says, one a fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from edgebed.observe.assertions import INPUT, LAYERS, Assertion, examine
from edgebed.observe.departure_verdict import command, departure_verdict
from edgebed.observe.layer_error import LayerError
from edgebed.observe.observed import Observed, Signal, paired
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.verdict import Verdict, ranked

MOST_BYTES: Final = 60_000_000
"""Of values of either trace that assertions get to see at once."""
UNEXPLAINED: Final = "input_unexplained"


def verdicts_on(comparison: TraceComparison, more: Iterable[Assertion] = ()) -> tuple[Verdict, ...]:
    """Return every verdict on a comparison, the surest first.

    Where an assertion says what is wrong with the network's input, the departure that it causes is
    no second fault. Where an assertion and the departure name the same layer, the more particular
    cause stays. Differing integers of one program name their layer beyond doubt, so there no
    assertion may blame another one.

    Args:
        comparison: of two traces.
        more: assertions of the user.

    Raises:
        EdgebedError: an assertion of the user fails, or gives something else than verdicts.
    """
    departure = departure_verdict(comparison)
    sample = paired(comparison.reference.path, comparison.device.path, most_bytes=MOST_BYTES)
    said = examine(sample[0], _renamed(sample[1], comparison), more)
    said = [one if one.command else _with_command(one, comparison) for one in said]
    return ranked(_merged(departure, said, comparison))


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
    if comparison.departure.rule == "exact" or not particular:
        return [departure, *rest]
    best = max(particular, key=lambda one: one.confidence)
    return [replace(best, evidence=f"{best.evidence} {departure.evidence}"), *rest]


def _with_command(one: Verdict, comparison: TraceComparison) -> Verdict:
    """Return the verdict with the command that shows its tensor in the worst frame."""
    error = comparison.error_of(one.layer)
    if error is None or error.worst_frame < 0:
        return replace(one, command=command(comparison))
    return replace(one, command=command(comparison, one.layer, error.worst_frame))


def _renamed(device: Observed, comparison: TraceComparison) -> Observed:
    """Return the device's layers by the reference's names, order and axes where they differ."""
    layers: dict[str, Signal] = {}
    taken = set()
    for error in comparison.errors:
        key = error.pair.device
        if error.pair.role != "layer" or key[0] != "layer" or key[1] not in device.layers:
            continue
        layers[error.name] = _as_reference(device.layers[key[1]], error)
        taken.add(key[1])
    rest = {n: s for n, s in device.layers.items() if n not in taken and n not in layers}
    figures = {e.pair.device[1]: e.name for e in comparison.errors if e.pair.role == "layer"}
    renamed = {figures.get(name, name): value for name, value in device.layer_figures.items()}
    return replace(device, layers={**layers, **rest}, layer_figures=renamed)


def _as_reference(signal: Signal, error: LayerError) -> Signal:
    order = error.pair.order
    if signal.name == error.name and not order.moves:
        return signal
    stored = tuple(order.of(one) if order.moves else one for one in signal.stored)
    return replace(signal, name=error.name, stored=stored)
