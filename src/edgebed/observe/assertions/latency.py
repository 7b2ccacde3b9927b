"""A layer slower than the cost law of its kind.

A layer takes as long as its multiplications, or as reading and writing its values, whichever is
more: the first layers of small networks have few channels, which vectors do not fill, and large
maps. The law is the larger of both at the median rate of the other layers of its kind.

Thresholds: FACTOR 3 over the law that the other layers of its kind obey, EXCESS 5 % of all time,
and the faster half of its frames must agree, so that one interrupted frame accuses nobody.
Sound layers of the public networks in vectors of AVX-512 reach 1.7. Depthwise, pointwise and dense
layers differ by more than 3 between kinds on most processors, so kinds are never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.figures import Figure, number
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict

FACTOR: Final = 3.0
EXCESS: Final = 0.05
PEERS: Final = 3
"""Other layers of its kind that a law needs."""
CLOCKED: Final = 6
"""Frames without which a clock's times say nothing: on a busy computer each may be interrupted."""
CLOCKS: Final = frozenset({"s", "ms", "us", "ns"})
NAMES: Final = ("latency", "cycles", "time", "instructions")


@dataclass(frozen=True)
class Timed:
    """A layer's cost.

    Attributes:
        name: of the layer.
        kind: of its op.
        macs: multiplications with accumulation.
        moved: values read and written; 0 where unknown.
        time: median over frames.
        fast: lower quartile over frames.
        unit: of both.
    """

    name: str
    kind: str
    macs: float
    moved: float
    time: float
    fast: float
    unit: str


def slow_layer(reference: Observed, device: Observed) -> list[Verdict]:
    """Name layers that take several times what their kind's cost law gives them.

    Multiplications come from a layer's figure `macs` or from the manifest's note `macs`, a mapping
    by layer; values read and written from the note `moved`; kinds from the note `kinds` or tensors.
    """
    timed = _timed(device, reference)
    total = sum(one.time for one in timed)
    found = []
    for one in timed:
        peers = [other for other in timed if other is not one and other.kind == one.kind]
        law = _law(one, peers)
        if not law or one.fast < FACTOR * law or one.time - law < EXCESS * total:
            continue
        found.append(
            Verdict(
                "slow_layer", one.name, 0.9,
                f"It takes {number(one.time)} {one.unit}; {len(peers)} other layers of kind"
                f" {one.kind} predict {number(law)} for its {number(one.macs)} multiplications:"
                f" {one.time / law:.1f} times as long.",
                "Look for a fallback kernel, a misaligned buffer or weights in slow memory.",
            )
        )  # fmt: skip
    return sorted(found, key=lambda verdict: -verdict.confidence)


def _law(one: Timed, peers: list[Timed]) -> float:
    """Return the time that the other layers predict; 0 where they are too few."""
    if len(peers) < PEERS:
        return 0.0
    plain = float(np.median([peer.time / peer.macs for peer in peers])) * one.macs
    known = [peer.time / peer.moved for peer in peers if peer.moved]
    plain = max(plain, float(np.median(known)) * one.moved if known else 0.0)
    # Small layers cost what starting costs: never less than the least of the others.
    return max(plain, min(peer.time for peer in peers))


def _timed(device: Observed, reference: Observed) -> list[Timed]:
    name = next((n for n in NAMES if any(n in one for one in device.layer_figures.values())), "")
    found = []
    for layer, figures in device.layer_figures.items():
        # What a model says of a layer is no news of the device.
        values = [one.value for one in figures.get(name, ()) if one.kind != "estimated"]
        macs = _macs(layer, figures, device, reference)
        unit = figures[name][0].unit if values else ""
        if len(values) >= (CLOCKED if unit in CLOCKS else 1) and macs:
            kind = _kind(layer, device, reference)
            middle, fast = np.percentile(values, [50, 25])
            moved = _noted("moved", layer, device, reference)
            found.append(Timed(layer, kind, macs, moved, float(middle), float(fast), unit))
    return found


def _macs(
    layer: str, figures: Mapping[str, tuple[Figure, ...]], device: Observed, reference: Observed
) -> float:
    if "macs" in figures:
        return figures["macs"][0].value
    return _noted("macs", layer, device, reference)


def _noted(what: str, layer: str, device: Observed, reference: Observed) -> float:
    for side in (device, reference):
        known = side.manifest.notes.get(what)
        if isinstance(known, Mapping) and layer in known:
            return float(known[layer])
    return 0.0


def _kind(layer: str, device: Observed, reference: Observed) -> str:
    for side in (device, reference):
        known = side.manifest.notes.get("kinds")
        if isinstance(known, Mapping) and layer in known:
            return str(known[layer])
        if layer in side.layers and side.layers[layer].kind:
            return side.layers[layer].kind
    return "unknown"
