"""The rules of the published tool (ML-EXray's code), restated: what they say about two samples."""

from __future__ import annotations

import itertools

import numpy as np
from bug_networks import Array
from bug_pipeline import Bug, Planted

from edgebed.observe.assertions.stages import stages_of
from edgebed.observe.observed import Observed

MATCHES = 0.02
DRIFT = 0.1


def published(reference: Observed, device: Observed) -> set[str]:
    """Return what the published tool's rules say, restated."""
    expected, given = (one.input.stack for one in (reference, device))
    assert expected is not None and given is not None
    found = set()
    if not _same(expected, given):
        found |= _published_input(expected, given)
    else:
        wrong = [one for one in stages_of(reference, device) if one.error > DRIFT]
        found |= {f"drift at {wrong[0].name}"} if wrong else set()
    ratios = {
        layer: np.median([one.value for one in device.layer_figures[layer]["latency"]])
        / np.median([one.value for one in figures["latency"]])
        for layer, figures in reference.layer_figures.items()
    }
    slow = [one for one in ratios if ratios[one] > 3 * np.median(list(ratios.values()))]
    return found | {f"slow {one}" for one in slow}


def _published_input(expected: Array, given: Array) -> set[str]:
    found = set()
    axes = range(1, expected.ndim)
    for order in itertools.permutations(axes):
        if order != tuple(axes):
            turned = expected.transpose(0, *order)
            if turned.shape == given.shape and _same(turned, given):
                found.add("channel")
    rows = [
        one / np.maximum(np.linalg.norm(one, axis=-1, keepdims=True), 1e-9)
        for one in (expected, given)
    ]
    if _same(*rows):
        found.add("normalisation")
    for quarter in (1, 2, 3):
        turned = np.rot90(expected, quarter, (-2, -1))
        if turned.shape == given.shape and _same(turned, given):
            found.add("rotation")
    return found


def _same(one: Array, two: Array) -> bool:
    span = max(np.ptp(one), np.ptp(two)) or 1.0
    return bool(np.sqrt(np.square(one - two).mean()) / span < MATCHES)


WORDS = {
    "channel_order": "channel", "layout": "channel", "transposed": "channel",
    "normalisation": "normalisation", "double_normalisation": "normalisation",
    "rotation": "rotation",
}  # fmt: skip


def published_names(bug: Bug, planted: Planted, said: set[str]) -> bool:
    """Say whether a published rule points at the fault; a layer's place counts as its name."""
    if f"drift at {planted.layer}" in said or f"slow {planted.layer}" in said:
        return True
    return any(WORDS.get(cause) in said for cause in bug.causes)
