"""Class names that are not the network's: another list, another order, or scores in another order.

Thresholds: scores count as permuted when the permutation leaves a quarter of the moved places'
difference and at most a tenth of the range, and the difference is a fiftieth of it. They are held
against the device's own last layer where the reference's output is that layer, or its softmax: so a
class that no frame shows still has its place; then against the reference's. Names reported
by the device count when three frames and more than half of them contradict its own scores.
Settings of the verdicts: the right `classes`, or the `order` of the reference's scores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from edgebed.observe.assertions.explanation import is_clean
from edgebed.observe.assertions.stages import Stage, stages_of
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

GAIN: Final = 4.0
LEFT: Final = 0.1
SMALL: Final = 0.02
ROUNDING: Final = 1e-3
TINY: Final = 1e-6
"""Probabilities below are alike, on two sides."""
LEAST: Final = 1e-30
"""The same of one side's own."""
MOST: Final = 1024
LABELS: Final = ("label", "class")
"""Names of readings that give the class an application showed."""


def class_names(reference: Observed, device: Observed) -> list[Verdict]:
    """Name lists of classes that differ, reported names that contradict scores, permuted scores."""
    listed = _listed(reference, device)
    if listed:
        return listed
    return _reported(reference, device) or _permuted(reference, device)


def _listed(reference: Observed, device: Observed) -> list[Verdict]:
    ours, theirs = reference.classes, device.classes
    if not ours or not theirs or ours == theirs:
        return []
    differ = [at for at in range(min(len(ours), len(theirs))) if ours[at] != theirs[at]]
    at = differ[0] if differ else min(len(ours), len(theirs))
    what = (
        "the same names in another order" if sorted(ours) == sorted(theirs)
        else f"{len(theirs)} names where the reference has {len(ours)}" if len(ours) != len(theirs)
        else "other names"
    )  # fmt: skip
    shown = [one[at] if at < len(one) else "nothing" for one in (theirs, ours)]
    return [
        Verdict(
            "class_names", "", 0.99,
            f"The device lists {what}: class {at} is {shown[0]!r} there and {shown[1]!r} in the"
            " reference.",
            f"Deploy the names that belong to the network: {', '.join(ours[:12])}.",
            settings={"classes": list(ours)},
        )
    ]  # fmt: skip


def _reported(reference: Observed, device: Observed) -> list[Verdict]:
    """Compare names that the application showed with the names of its highest scores."""
    names = reference.classes or device.classes
    scores = device.output
    if not names or scores is None or scores.stack is None:
        return []
    rows = scores.stack.reshape(len(device), -1)
    if rows.shape[1] != len(names):
        return []
    shown = [next((str(one[k]) for k in LABELS if k in one), None) for one in device.sensors]
    told = [(text, names[int(row.argmax())]) for text, row in zip(shown, rows, strict=True) if text]
    wrong = [pair for pair in told if pair[0] != pair[1]]
    if len(wrong) < 3 or 2 * len(wrong) <= len(told):
        return []
    return [
        Verdict(
            "class_names", "", min(0.99, len(wrong) / len(told)),
            f"In {len(wrong)} of {len(told)} frames the device shows another name than that of its"
            f" highest score, as {wrong[0][0]!r} for {wrong[0][1]!r}.",
            f"Use the network's list of names: {', '.join(names[:12])}.",
        )
    ]  # fmt: skip


def _permuted(reference: Observed, device: Observed) -> list[Verdict]:
    if not is_clean(reference, device):
        return []
    for stage in stages_of(reference, device):
        if stage.role != "output" or not 2 <= len(stage.channels(stage.given)) <= MOST:
            continue
        own = _of_last_layer(reference, device, stage)
        order = None if own is None else permutation(own, LEAST)
        order = permutation(stage) if order is None else order
        if order is None:
            continue
        names = reference.classes
        moved = [at for at in range(len(order)) if order[at] != at]
        at = moved[0]
        first = names[order[at]] if len(names) == len(order) else f"class {order[at]}"
        return [
            Verdict(
                "class_names", stage.name, 0.95,
                f"Scores lie in another order: place {at} holds the score of {first}; {len(moved)}"
                " places are moved, and moved back they agree.",
                "Give the head's outputs the order of the names, or the names that of the outputs.",
                settings={"order": [int(one) for one in order]},
            )
        ]  # fmt: skip
    return []


def _of_last_layer(reference: Observed, device: Observed, stage: Stage) -> Stage | None:
    """Return the output beside what the device's own last layer makes it; None if that is unknown.

    The reference tells whether the output is that layer, or its softmax.
    """
    for name in reversed(list(device.layers)):
        ours = reference.layers[name].stack if name in reference.layers else None
        theirs = device.layers[name].stack
        if ours is None or theirs is None or {ours.size, theirs.size} != {stage.expected.size}:
            continue
        for make in (np.asarray, _softmax):
            if np.allclose(make(ours).reshape(stage.expected.shape), stage.expected, 1e-3, 1e-5):
                return replace(stage, expected=make(theirs).reshape(stage.expected.shape))
    return None


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(-1, keepdims=True), dtype=np.float64)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def permutation(stage: Stage, tiny: float = TINY) -> Array | None:
    """Return which of the reference's scores lies at each place of the device; None if in order.

    Args:
        stage: an output.
        tiny: real probabilities below are alike.
    """
    expected, given = _scores(stage, tiny)
    span = float(np.ptp(expected)) or 1.0
    if np.square(given - expected).mean(1).max() < (SMALL * span) ** 2:
        return None  # no class is far enough from its own place
    gaps = np.stack([np.square(expected - one).mean(1) for one in given])
    order = _assigned(gaps)
    moved = np.flatnonzero(order != np.arange(len(order)))
    if not len(moved):
        return None
    straight = np.sqrt(np.diag(gaps)[moved].mean())
    permuted = np.sqrt(gaps[moved, order[moved]].mean())
    if straight < max(GAIN * permuted, SMALL * span) or permuted > LEFT * span:
        return None
    return order


def _scores(stage: Stage, tiny: float) -> tuple[Array, Array]:
    """Return both sides' scores, classes x values; of probabilities the logarithm.

    Classes that no frame shows have probabilities near 0, and logarithms that still tell them
    apart.
    """
    sides = stage.channels(stage.expected), stage.channels(stage.given)
    low, high = min(float(one.min()) for one in sides), max(float(one.max()) for one in sides)
    if low < -ROUNDING or high > 1 + ROUNDING or high <= 0:
        return sides
    least = max(float(one.scale or 0) for one in (stage.reference, stage.device)) or tiny
    expected, given = (np.log(np.maximum(one, least)) for one in sides)
    return np.asarray(expected), np.asarray(given)


def _assigned(gaps: Array) -> Array:
    """Pair places and scores, the closest first; places that fit as they are stay."""
    gaps = gaps - 1e-3 * gaps.mean() * np.eye(len(gaps))
    order = np.full(len(gaps), -1)
    open_ = gaps.copy()
    for _ in range(len(gaps)):
        place, score = np.unravel_index(int(open_.argmin()), open_.shape)
        order[place] = score
        open_[place] = open_[:, score] = np.inf
    return order
